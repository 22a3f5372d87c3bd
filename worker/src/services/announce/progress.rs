//! What a person or a journal sees while names are announced: hours may pass, so it is said here and not by the command in
//! the end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::work::Counts;
use crate::console::say;

/// A journal gets a line this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// What it is doing, or waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// The lane holds so many.
    Backlog(u32),
    Refused,
    Blocked,
    NoBroker,
}

/// Said before the first announcement of a run that has a checkpoint.
pub(super) fn goes_on_after(announced: u64) {
    say(&format!("going on after {announced} announcements"));
}

/// Said once, beside the line that moves.
pub(super) fn says(line: &str) {
    say(line);
}

/// A line that moves on a terminal, and a line now and then elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    state: State,
    started: Instant,
    last: (Instant, u64),
    rate: f64,
    next_line: Instant,
    /// Pauses since the start.
    pub pauses: u64,
    verb: &'static str,
}

impl Progress {
    pub fn new(already: u64, verb: &'static str) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            state: State::Running,
            started: now,
            last: (now, already),
            rate: 0.0,
            next_line: now + LINE_EVERY,
            pauses: 0,
            verb,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn state(&mut self, state: State) {
        let paused = |state| !matches!(state, State::Running);
        if paused(state) && !paused(self.state) {
            self.pauses += 1;
        }
        self.state = state;
    }

    /// About once a second.
    pub fn show(&mut self, counts: &Counts, waiting: usize) {
        let now = Instant::now();
        let seconds = (now - self.last.0).as_secs_f64();
        if seconds > 0.0 {
            let lately = counts.announced.saturating_sub(self.last.1) as f64 / seconds;
            // Smoothed over about ten seconds.
            self.rate = if self.rate == 0.0 { lately } else { 0.9 * self.rate + 0.1 * lately };
        }
        self.last = (now, counts.announced);
        if let Some(bar) = &self.bar {
            bar.set_message(self.line(counts, waiting));
            bar.tick();
        } else if now >= self.next_line {
            say(&self.line(counts, waiting));
            self.next_line = now + LINE_EVERY;
        }
    }

    fn line(&self, counts: &Counts, waiting: usize) -> String {
        let state = match self.state {
            State::Running => String::new(),
            State::Backlog(depth) => format!("; paused: the lane holds {}", HumanCount(u64::from(depth))),
            State::Refused => "; paused: the broker refuses (queue full or missing)".to_owned(),
            State::Blocked => "; paused: the broker is short of memory or disk".to_owned(),
            State::NoBroker => "; paused: no broker".to_owned(),
        };
        format!(
            "{} {} ({}/s), {} seen, {} done already, {} on their way{state}",
            HumanCount(counts.announced),
            self.verb,
            HumanCount(self.rate.round() as u64),
            HumanCount(counts.seen),
            HumanCount(counts.done),
            HumanCount(waiting as u64),
        )
    }

    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
