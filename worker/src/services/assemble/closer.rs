//! Announces the series that are whole, as far as anybody knows: each version of each set once.
//!
//! Whoever announces first takes the announcement by a change of the series' state, for a while; then the set document is
//! written, the announcement published and confirmed, and that recorded. Killed between the broker's confirmation and the
//! record, the same announcement is made once more, with the same id, when that while is over: no two changes in two systems are
//! one. Wherever else it is killed, there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use nightread_domain::announcement::NativeSeries;
use nightread_domain::{Attributes, BlobRef, ErrorCode, JobError, Lane, Message, Stage};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::shelf::Shelf;
use super::state::{Moment, SeriesState, Step};
use crate::adapters::amqp::Publisher;
use crate::services::events::vitals::RelayVitals;
use crate::telemetry::metrics;

/// Between two looks for series that others opened, at most and at least.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Between two looks at what was kept lately: marks that were lost with a process are made again. At the start everything that
/// was ever kept is looked at.
const BETWEEN_SWEEPS: Duration = Duration::from_hours(1);
const LATELY: Duration = Duration::from_hours(48);

/// States that are looked at together.
const AT_ONCE: usize = 16;

/// Changes of others that one step is begun anew for.
const ROUNDS: u32 = 8;

/// After a failure a series is looked at again so much later.
const PATIENCE: Duration = Duration::from_secs(2);

/// Announces what is whole.
#[derive(Debug)]
pub(super) struct Closer {
    pub shelf: Shelf,
    pub publisher: Arc<Publisher>,
    pub vitals: Arc<RelayVitals>,
    pub quiet: Duration,
    /// How long an announcement that is begun is its beginner's.
    pub lease: Duration,
}

/// When the open series that are known are looked at next.
#[derive(Debug, Default)]
struct Agenda(BTreeMap<BlobRef, Moment>);

impl Closer {
    /// Until it is told to stop, or, when nothing more `comes`, until nothing is open. Gives how many it announced.
    pub async fn run(
        &self,
        mut changed: mpsc::Receiver<BlobRef>,
        finish: &CancellationToken,
        stop: &CancellationToken,
    ) -> u64 {
        let mut agenda = Agenda::default();
        let mut announced = 0;
        let (mut next_sweep, mut next_look, mut lately) = (0, 0, None);
        let every = (self.quiet / 10).clamp(LOOKS.0, LOOKS.1);
        let mut open = false;
        while !stop.is_cancelled() {
            if now() >= next_sweep {
                match self.sweep(lately).await {
                    Ok(()) => (next_sweep, lately) = (now() + milliseconds(BETWEEN_SWEEPS), Some(LATELY)),
                    Err(error) => {
                        tracing::warn!(%error, "kept series cannot be looked through; trying again");
                    }
                }
            }
            if now() >= next_look {
                open = self.look(&mut agenda).await;
                next_look = now() + milliseconds(every);
            }
            metrics::open_series(agenda.0.len() as u64);
            announced += self.work_through(&mut agenda, stop).await;
            if open && agenda.0.is_empty() && finish.is_cancelled() && changed.is_empty() {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(every) => {}
                Some(series) = changed.recv() => {
                    agenda.0.insert(series, 0);
                    while let Ok(series) = changed.try_recv() {
                        agenda.0.insert(series, 0);
                    }
                }
            }
        }
        announced
    }

    /// Marks that should be there and are not: a process was killed just when it took one away.
    async fn sweep(&self, lately: Option<Duration>) -> Result<(), JobError> {
        let all = self.shelf.all(lately).await?;
        let looked = stream::iter(all).map(|series| async move { self.mark_if_open(&series).await });
        looked.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn mark_if_open(&self, series: &BlobRef) -> Result<(), JobError> {
        if let Some((state, _)) = self.shelf.state(series).await?
            && state.step(now(), self.quiet)? != Step::Settled
        {
            self.shelf.open(series).await?;
        }
        Ok(())
    }

    /// Puts the open series onto the agenda; `false` when storage does not say which they are.
    async fn look(&self, agenda: &mut Agenda) -> bool {
        match self.open_series(agenda).await {
            Ok(open) => {
                agenda.0.retain(|series, at| *at == 0 || open.contains(series));
                for series in open {
                    agenda.0.entry(series).or_insert(0);
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "open series cannot be listed; trying again");
                false
            }
        }
    }

    async fn open_series(&self, agenda: &Agenda) -> Result<BTreeSet<BlobRef>, JobError> {
        let known: BTreeMap<BlobRef, &BlobRef> = agenda
            .0
            .keys()
            .map(|series| Ok((self.shelf.mark(series)?, series)))
            .collect::<Result<_, JobError>>()?;
        let mut open = BTreeSet::new();
        for mark in self.shelf.marks().await? {
            let series = match known.get(&mark) {
                Some(series) => Some((*series).clone()),
                None => self.shelf.marked(&mark).await?,
            };
            open.extend(series);
        }
        Ok(open)
    }

    /// Everything whose time has come.
    async fn work_through(&self, agenda: &mut Agenda, stop: &CancellationToken) -> u64 {
        let due: Vec<_> =
            agenda.0.iter().filter(|(_, at)| **at <= now()).map(|(series, _)| series.clone()).collect();
        let mut announced = 0;
        for series in due {
            if stop.is_cancelled() {
                break;
            }
            match self.step(&series).await {
                Ok(Done::Announced) => {
                    announced += 1;
                    agenda.0.insert(series, now() + 1);
                }
                Ok(Done::Wait(at)) => _ = agenda.0.insert(series, at.max(1)),
                Ok(Done::Settled) => _ = agenda.0.remove(&series),
                Err(error) => {
                    tracing::warn!(%error, "a series cannot be announced now; trying again");
                    agenda.0.insert(series, now() + milliseconds(PATIENCE));
                }
            }
        }
        announced
    }

    /// One series, as far as it goes now.
    async fn step(&self, series: &BlobRef) -> Result<Done, JobError> {
        for _ in 0..ROUNDS {
            // Before the state: whoever changes the state after us has seen a later document than we have.
            let seen_set = self.shelf.set_seen(series).await?;
            let Some((mut state, etag)) = self.shelf.state(series).await? else {
                // Somebody removed what was kept.
                self.settle(series).await?;
                return Ok(Done::Settled);
            };
            let version = match state.step(now(), self.quiet)? {
                Step::Settled => {
                    self.settle(series).await?;
                    return Ok(Done::Settled);
                }
                Step::Wait(at) => return Ok(Done::Wait(at)),
                Step::Announce(version) => version,
            };
            state.begin(&version, now() + milliseconds(self.lease));
            if !self.shelf.keep(series, &state, &Some(etag)).await? {
                continue;
            }
            if !self.shelf.keep_set(series, &state.set(), &seen_set).await? {
                self.change(series, |state| state.give_up(&version)).await?;
                continue;
            }
            return self.announce(series, &state, &version).await;
        }
        let text = "others kept changing what is kept of a series";
        Err(JobError::new(Stage::Store, ErrorCode::ResultContended, text))
    }

    async fn announce(&self, series: &BlobRef, state: &SeriesState, version: &str) -> Result<Done, JobError> {
        let message = announcement(&self.shelf.set_name(series)?, version);
        // Some of the time is for the record.
        let published = tokio::time::timeout(self.lease * 3 / 4, self.publisher.announce(&message)).await;
        let published = published.unwrap_or_else(|_| {
            let text = "the broker did not confirm an announcement in time";
            Err(JobError::new(Stage::Settle, ErrorCode::BrokerUnavailable, text))
        });
        if let Err(error) = published {
            metrics::publish_failed();
            self.vitals.published(Some(error.message.clone()));
            self.change(series, |state| state.give_up(version)).await?;
            return Err(error);
        }
        self.vitals.published(None);
        self.change(series, |state| state.record(version)).await?;
        let tries = state.announcing.as_ref().map_or(1, |held| held.tries);
        metrics::set_announced(tries > 1);
        tracing::info!(
            instances = state.instances.len(),
            expected = state.expected,
            tries,
            "a series is announced"
        );
        Ok(Done::Announced)
    }

    /// Changes the state, whatever others change beside it.
    async fn change(&self, series: &BlobRef, change: impl Fn(&mut SeriesState)) -> Result<(), JobError> {
        loop {
            let Some((mut state, etag)) = self.shelf.state(series).await? else { return Ok(()) };
            change(&mut state);
            if self.shelf.keep(series, &state, &Some(etag)).await? {
                return Ok(());
            }
        }
    }

    /// Takes the mark away, and makes it again where something came meanwhile.
    async fn settle(&self, series: &BlobRef) -> Result<(), JobError> {
        self.shelf.close(series).await?;
        self.mark_if_open(series).await
    }
}

/// How far a series went.
enum Done {
    Announced,
    Settled,
    Wait(Moment),
}

/// The announcement of a version of a set. Its id is the same each time, so that repeats can be told.
fn announcement(set: &BlobRef, version: &str) -> Message {
    let native = NativeSeries::of_set(set.to_string());
    // A struct of texts always serialises.
    let body = Bytes::from(serde_json::to_vec(&native).unwrap_or_default());
    let mut attributes = Attributes::for_lane(Lane::Volumes);
    attributes.message_id = Some(hex::encode(&Sha256::digest(format!("{set}\0{version}"))[..16]));
    attributes.content_type = Some("application/json".to_owned());
    Message { body, attributes }
}

fn milliseconds(time: Duration) -> Moment {
    time.as_millis() as Moment
}

/// Milliseconds since 1970.
pub(super) fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as Moment)
}
