//! Publishes what is to be announced, keeps account of what is confirmed, and pauses when the broker wants it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use nightread_domain::{ErrorCode, JobError, Stage};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::Checkpoint;
use super::item::Work;
use super::pace::Pace;
use super::progress::{Progress, State};
use super::source::Position;
use super::work::{Counts, PreparedBatch, Template};
use crate::adapters::amqp::{BulkLink, RabbitOptions, Sent, hosts};
use crate::cli::announce::PATIENCE_SECONDS;

/// Announcements on their way at once. A quorum queue confirms in batches of what one disk write takes.
const WINDOW: usize = 2_000;

/// How long confirmations may take after a signal to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A link on which nothing was confirmed for so long, though it is not blocked, is given up.
const STALLED: Duration = Duration::from_secs(90);

const TICK: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = std::result::Result<u32, JobError>> + Send>>;
type InFlight = FuturesUnordered<Pin<Box<dyn Future<Output = (u64, Sent)> + Send>>>;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishEnd {
    Finished,
    Stopped,
}

/// Where the progress is kept.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    pub path: PathBuf,
    pub fingerprint: String,
}

/// One run.
pub(super) struct AnnouncementPublisher {
    pub options: RabbitOptions,
    pub template: Template,
    pub pace: Pace,
    pub keep: Option<Keep>,
    pub stop: CancellationToken,
    pub progress: Progress,
    pub ledger: Ledger,
    /// How long a broker may answer nothing.
    pub patience: Duration,
    link: Option<BulkLink>,
    /// Something was refused on the channel of the link.
    refused: bool,
    /// The broker has let us in once: what it refuses from then on may pass.
    stood: bool,
    in_flight: InFlight,
    asking: Option<Asking>,
    writing: Option<JoinHandle<Result<()>>>,
    last_confirm: Instant,
    /// When the broker answered last, or nothing was asked of it.
    last_answer: Instant,
    /// Why there is no link.
    trouble: Option<JobError>,
    next_connect: Instant,
    connect_wait: Duration,
}

/// What is handed over and not confirmed, and where the source stands.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub position: Position,
    pub counts: Counts,
    held: Vec<Work>,
    open: BTreeMap<u64, Work>,
    ready: VecDeque<u64>,
    next: u64,
    changed: bool,
}

impl Ledger {
    /// Goes on from a checkpoint, whose open names are held until they come through the filter.
    pub fn new(position: Position, counts: Counts, held: Vec<Work>) -> Self {
        Self { position, counts, held, ..Self::default() }
    }

    pub fn take(&mut self, prepared: PreparedBatch) {
        self.counts.add(prepared.counts);
        self.held = prepared.held;
        if let Some(position) = prepared.position {
            self.position = position;
        }
        for work in prepared.announce {
            self.open.insert(self.next, work);
            self.ready.push_back(self.next);
            self.next += 1;
        }
        self.changed = true;
    }

    fn confirmed(&mut self, id: u64) {
        if self.open.remove(&id).is_some() {
            self.counts.announced += 1;
            self.changed = true;
        }
    }

    /// Nothing that is on its way counts any more.
    fn all_again(&mut self) {
        self.ready = self.open.keys().copied().collect();
    }

    /// For a dry run: as if all were confirmed.
    pub fn confirm_all(&mut self) {
        self.counts.announced += self.open.len() as u64;
        self.open.clear();
        self.ready.clear();
    }

    fn snapshot(&self, fingerprint: &str) -> Checkpoint {
        let open = self.held.iter().chain(self.open.values());
        Checkpoint::new(fingerprint, self.position.clone(), self.counts, open)
    }
}

impl AnnouncementPublisher {
    pub fn new(
        options: RabbitOptions,
        template: Template,
        pace: Pace,
        keep: Option<Keep>,
        stop: CancellationToken,
        progress: Progress,
        ledger: Ledger,
    ) -> Self {
        let now = Instant::now();
        Self {
            options,
            template,
            pace,
            keep,
            stop,
            progress,
            ledger,
            patience: Duration::from_secs(PATIENCE_SECONDS),
            link: None,
            refused: false,
            stood: false,
            in_flight: FuturesUnordered::new(),
            asking: None,
            writing: None,
            last_confirm: now,
            last_answer: now,
            trouble: None,
            next_connect: now,
            connect_wait: Duration::from_millis(250),
        }
    }

    /// Until the source ends and everything is confirmed, or until it is told to stop. The checkpoint then tells exactly
    /// what is confirmed.
    pub async fn run(&mut self, prepared: &mut mpsc::Receiver<Result<PreparedBatch>>) -> Result<PublishEnd> {
        let ended = self.publish_all(prepared).await;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        self.progress.close();
        self.save_now().await?;
        ended
    }

    async fn publish_all(
        &mut self,
        prepared: &mut mpsc::Receiver<Result<PreparedBatch>>,
    ) -> Result<PublishEnd> {
        let mut ticks = tokio::time::interval(TICK);
        let stop = self.stop.clone();
        let mut last_chance: Option<Instant> = None;
        let mut source_ended = false;
        loop {
            if source_ended && self.ledger.open.is_empty() {
                return Ok(PublishEnd::Finished);
            }
            if last_chance.is_none() && stop.is_cancelled() {
                last_chance = Some(Instant::now() + STOP_PATIENCE);
            }
            let stopping = last_chance.is_some();
            if last_chance.is_some_and(|at| self.in_flight.is_empty() || Instant::now() >= at) {
                return Ok(PublishEnd::Stopped);
            }
            if !stopping {
                self.connect().await?;
                self.renew().await;
                self.fill();
            }
            let wake = last_chance.unwrap_or_else(|| self.wake());
            tokio::select! {
                Some((id, sent)) = self.in_flight.next() => {
                    self.settle(id, sent);
                    while let Some(Some((id, sent))) = self.in_flight.next().now_or_never() {
                        self.settle(id, sent);
                    }
                }
                next = prepared.recv(), if !source_ended && !stopping && self.ledger.ready.len() < WINDOW => {
                    match next {
                        Some(next) => self.ledger.take(next?),
                        None => source_ended = true,
                    }
                }
                depth = answer(&mut self.asking) => self.depth(depth)?,
                _ = ticks.tick() => self.tick().await?,
                () = tokio::time::sleep_until(wake) => {}
                () = stop.cancelled(), if !stopping => {}
            }
        }
    }

    /// When the loop has to look again though nothing happened.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        if self.link.is_none() {
            return self.next_connect.max(now);
        }
        if self.ledger.ready.is_empty() || self.in_flight.len() >= self.pace.window(WINDOW) {
            return now + TICK;
        }
        self.pace.next_turn().unwrap_or(now + TICK).max(now)
    }

    async fn connect(&mut self) -> Result<()> {
        if self.link.is_some() || Instant::now() < self.next_connect || self.ledger.ready.is_empty() {
            return Ok(());
        }
        let opened = tokio::select! {
            opened = BulkLink::open(&self.options, self.template.lane) => opened,
            () = self.stop.cancelled() => return Ok(()),
        };
        match opened {
            Ok(link) => {
                self.link = Some(link);
                self.last_confirm = Instant::now();
                self.pace.ask_now();
            }
            Err(error) if error.code == ErrorCode::BrokerRejected && !self.stood => return Err(error.into()),
            Err(error) => self.wait_for_broker(&error),
        }
        Ok(())
    }

    /// After a refusal, once nothing is on its way any more.
    async fn renew(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| self.in_flight.is_empty() && !link.is_blocked())
        else {
            return;
        };
        if std::mem::take(&mut self.refused)
            && let Err(error) = link.renew().await
        {
            self.drop_link(&error.message);
        }
    }

    fn wait_for_broker(&mut self, error: &JobError) {
        tracing::warn!(%error, wait_ms = self.connect_wait.as_millis() as u64, "no link to the broker; trying again");
        self.progress.state(State::NoBroker);
        self.trouble = Some(error.clone());
        self.next_connect = Instant::now() + self.connect_wait;
        self.connect_wait = (self.connect_wait * 2).min(Duration::from_secs(15));
    }

    fn fill(&mut self) {
        let Some(link) = &self.link else { return };
        if link.is_blocked() {
            return self.progress.state(State::Blocked);
        }
        while self.in_flight.len() < self.pace.window(WINDOW)
            && let Some(id) = self.ledger.ready.front().copied()
            && let Some(work) = self.ledger.open.get(&id)
            && self.pace.may_send()
        {
            self.ledger.ready.pop_front();
            let sent = link.send(&self.template.message(work));
            self.in_flight.push(Box::pin(sent.map(move |sent| (id, sent))));
        }
        if self.asking.is_none() && !self.ledger.ready.is_empty() && self.pace.wants_depth() {
            self.asking = Some(Box::pin(link.depth()));
        }
    }

    /// An error once the broker has answered nothing for too long. One that is short of memory, or whose queue is full, is
    /// there: it is waited for without an end.
    fn still_answers(&mut self) -> Result<()> {
        let blocked = self.link.as_ref().is_some_and(|link| link.is_up() && link.is_blocked());
        if blocked || self.ledger.open.is_empty() {
            self.last_answer = Instant::now();
        }
        if self.last_answer.elapsed() < self.patience {
            return Ok(());
        }
        let (hosts, seconds) = (hosts(&self.options), self.patience.as_secs());
        let mut text = format!("no answer from the broker at {hosts} for {seconds} s, so it is given up");
        if let Some(trouble) = self.trouble.take() {
            text = format!("{text}: {}", trouble.in_full());
        }
        Err(JobError::new(Stage::Announce, ErrorCode::BrokerUnavailable, text).into())
    }

    fn settle(&mut self, id: u64, sent: Sent) {
        if sent != Sent::Lost {
            self.last_answer = Instant::now();
            self.trouble = None;
        }
        match sent {
            Sent::Confirmed => {
                self.ledger.confirmed(id);
                self.last_confirm = Instant::now();
                self.connect_wait = Duration::from_millis(250);
                self.pace.confirmed();
                self.progress.state(State::Running);
            }
            Sent::Refused => {
                self.refused = true;
                self.ledger.ready.push_front(id);
                self.pace.refused();
                self.progress.state(State::Refused);
            }
            Sent::Lost => self.drop_link("the link to the broker broke"),
        }
    }

    /// What was on its way goes again on the next link; what arrived all the same is a repeat, and harmless.
    fn drop_link(&mut self, why: &str) {
        if self.link.take().is_some() {
            self.in_flight = FuturesUnordered::new();
            self.asking = None;
            self.ledger.all_again();
            let error = JobError::new(Stage::Settle, ErrorCode::BrokerUnavailable, why);
            self.wait_for_broker(&error);
        }
    }

    fn depth(&mut self, depth: std::result::Result<u32, JobError>) -> Result<()> {
        match depth {
            Ok(depth) => {
                self.stood = true;
                self.last_answer = Instant::now();
                if !self.pace.depth(u64::from(depth), self.in_flight.len() as u64) {
                    self.progress.state(State::Backlog(depth));
                }
                Ok(())
            }
            Err(error) if error.code == ErrorCode::BrokerRejected && !self.stood => {
                let hint = "; `nightread topology` declares it";
                Err(JobError::new(error.stage, error.code, format!("{}{hint}", error.message)).into())
            }
            Err(error) => {
                self.drop_link(&error.message);
                Ok(())
            }
        }
    }

    async fn tick(&mut self) -> Result<()> {
        let waiting = self.ledger.open.len();
        self.progress.show(&self.ledger.counts, waiting);
        let silent = !self.in_flight.is_empty() && self.last_confirm.elapsed() > STALLED;
        if self.in_flight.is_empty() {
            self.last_confirm = Instant::now();
        }
        if silent && self.link.as_ref().is_some_and(|link| !link.is_blocked()) {
            self.drop_link("the broker has confirmed nothing for a while");
        }
        if self.link.as_ref().is_some_and(|link| !link.is_up()) {
            self.drop_link("the link to the broker broke");
        }
        self.still_answers()?;
        self.save().await
    }

    /// Writes the checkpoint beside the work, unless the last one is still being written.
    async fn save(&mut self) -> Result<()> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.written().await?;
        if let (Some(keep), true) = (&self.keep, self.ledger.changed) {
            let checkpoint = self.ledger.snapshot(&keep.fingerprint);
            let path = keep.path.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || checkpoint.write(&path)));
            self.ledger.changed = false;
        }
        Ok(())
    }

    async fn save_now(&mut self) -> Result<()> {
        self.written().await?;
        self.save().await?;
        self.written().await
    }

    async fn written(&mut self) -> Result<()> {
        match self.writing.take() {
            Some(writing) => writing.await?,
            None => Ok(()),
        }
    }
}

/// The answer to a question, if one was asked; otherwise never.
async fn answer(asking: &mut Option<Asking>) -> std::result::Result<u32, JobError> {
    let Some(question) = asking else { return std::future::pending().await };
    let answer = question.await;
    *asking = None;
    answer
}
