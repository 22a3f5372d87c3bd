//! How much of a processor a child was given, so that no image is blamed for a machine that has more to do than it can.

use std::fs;
use std::time::Duration;

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// It waits for nothing but a processor, for a disk, or to be let go on.
    wants_to_run: bool,
    /// Processor time since it began.
    used: Duration,
}

impl Load {
    /// Of the process `pid`; nothing where the kernel does not tell.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parsed(&stat, rustix::param::clock_ticks_per_second())
    }

    /// Fields of proc_pid_stat(5): the third is the state, the fourteenth and fifteenth are ticks in user and kernel mode.
    fn parsed(stat: &str, ticks_per_second: u64) -> Option<Self> {
        // The second is a name in brackets, and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let wants_to_run = matches!(fields.next()?, "R" | "D" | "T" | "t");
        let mut times = fields.skip(10).map(str::parse::<u64>);
        let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
        let used = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(ticks_per_second)?);
        Some(Self { wants_to_run, used })
    }

    /// The processor time since `before`, where it is less than half of `timeout` though the process wanted more.
    pub(super) fn starved(self, before: Option<Self>, timeout: Duration) -> Option<Duration> {
        let had = self.used.saturating_sub(before.map_or(Duration::ZERO, |before| before.used));
        (self.wants_to_run && had < timeout / 2).then_some(had)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(state: &str, user: u64, system: u64) -> Load {
        let stat = format!("7 (a) b (c) {state} 1 2 3 4 5 6 7 8 9 10 {user} {system} 0 0 20 0 1 0");
        Load::parsed(&stat, 100).expect("a sound line")
    }

    #[test]
    fn only_who_wanted_to_run_and_could_not_is_starved() {
        let timeout = Duration::from_secs(30);
        assert_eq!(load("R", 200, 110).starved(None, timeout), Some(Duration::from_millis(3100)));
        assert_eq!(load("T", 0, 0).starved(None, timeout), Some(Duration::ZERO));
        assert_eq!(load("R", 1400, 100).starved(None, timeout), None, "it had its half");
        assert_eq!(load("S", 1, 0).starved(None, timeout), None, "it waited for something else");
        let before = Some(load("S", 5000, 0));
        assert_eq!(load("R", 5100, 0).starved(before, timeout), Some(Duration::from_secs(1)));
        for torn in ["", "7 (a", "7 (a) R 1 2", "7 (a) R 1 2 3 4 5 6 7 8 9 10 x y"] {
            assert_eq!(Load::parsed(torn, 100), None, "{torn:?}");
        }
        assert!(Load::of(std::process::id()).is_some());
    }
}
