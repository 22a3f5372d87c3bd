//! Sorts files into series: an event is done with when what it tells is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use nightread_domain::announcement::{AllowedSources, Announced, Resolved, parse, split};
use nightread_domain::routing::{Routing, Rule};
use nightread_domain::set::too_many;
use nightread_domain::{BlobKind, BlobRef, BlobStore, ETag, ErrorCode, JobError, Lane, Message, Stage};
use tokio::sync::mpsc;

use super::account::Outcome;
use super::closer::now;
use super::shelf::{Seen, Shelf};
use super::state::{Put, SeriesState, Step};
use crate::adapters::amqp::Publisher;
use crate::readings::instance::{Instance, SeriesMember, instance};
use crate::services::events::envelope::lane_of;
use crate::services::events::vitals::RelayVitals;
use crate::telemetry::metrics;

/// Headers that are read at a time.
const AT_ONCE: usize = 8;

/// Changes of others before the events of one series are left for later.
const ROUNDS: u32 = 24;

/// Sorts what events tell of.
#[derive(Debug)]
pub(super) struct Collector {
    pub source: Arc<dyn BlobStore>,
    pub shelf: Shelf,
    pub publisher: Arc<Publisher>,
    pub vitals: Arc<RelayVitals>,
    pub allowed: AllowedSources,
    pub routing: Routing,
    pub quiet: Duration,
    /// Series that were changed here.
    pub changed: mpsc::Sender<BlobRef>,
}

/// What one event turned out to be.
enum Event {
    /// Done with, or left.
    Done(Outcome),
    Found(Box<Found>),
}

/// An instance whose header was read.
struct Found {
    series: BlobRef,
    blob: BlobRef,
    etag: ETag,
    key: SeriesMember,
    message: Message,
}

impl Collector {
    /// What became of each message: that of its last event to be done with. Events of one series are one change of its state.
    pub async fn take(&self, messages: Vec<Message>, deadline: Instant) -> Vec<Vec<Outcome>> {
        let mut outcomes: Vec<Vec<Outcome>> = messages.iter().map(|_| Vec::new()).collect();
        let events = messages.into_iter().enumerate().flat_map(|(at, message)| {
            let parts = split(&message).ok().flatten().unwrap_or_else(|| vec![message]);
            parts.into_iter().map(move |part| (at, part))
        });
        let seen: Vec<_> = stream::iter(events)
            .map(|(at, event)| async move { (at, self.look_at(event, deadline).await) })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut series: BTreeMap<BlobRef, Vec<(usize, Found)>> = BTreeMap::new();
        for (at, seen) in seen {
            match seen {
                Event::Done(outcome) => outcomes[at].push(outcome),
                Event::Found(found) => series.entry(found.series.clone()).or_default().push((at, *found)),
            }
        }
        let filed = series.into_iter().map(|(series, found)| async move {
            let (at, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            (at, self.file(&series, &found, deadline).await)
        });
        for (at, filed) in join_all(filed).await {
            for (at, outcome) in at.into_iter().zip(filed) {
                outcomes[at].push(outcome);
            }
        }
        outcomes
    }

    /// One event, up to the series that its file belongs to.
    async fn look_at(&self, event: Message, deadline: Instant) -> Event {
        let announced = match parse(&event).map(|mut announced| announced.pop()) {
            Ok(Some(Announced::Job(announcement))) => announcement,
            Ok(Some(Announced::Ignored { .. }) | None) => return Event::Done(Outcome::Ignored),
            // Neither form nor place of an event is judged here: the worker does, and says so.
            Err(_) => return Event::Done(self.pass_on(&event, deadline).await),
        };
        let blob = match announced.resolve(&self.allowed) {
            Ok(Resolved::Blob(blob)) => blob,
            Ok(Resolved::OwnResult) => return Event::Done(Outcome::Ignored),
            Ok(Resolved::Series(_)) | Err(_) => return Event::Done(self.pass_on(&event, deadline).await),
        };
        let Some(rule) = self.routing.of_instances(&blob) else {
            return Event::Done(self.pass_on(&event, deadline).await);
        };
        match self.series_of(&blob, rule).await {
            Ok(File::Of(series, etag, key)) => {
                Event::Found(Box::new(Found { series, blob, etag, key, message: event }))
            }
            Ok(File::Gone) => Event::Done(Outcome::Gone),
            Ok(File::NotDicom) => Event::Done(self.pass_on(&event, deadline).await),
            Err(error) if error.is_transient() || error.is_fatal() => {
                tracing::warn!(%error, "a file cannot be looked at now; its event comes again");
                Event::Done(Outcome::Left)
            }
            Err(error) => Event::Done(self.dead_letter(&event, &error, deadline).await),
        }
    }

    /// The series that a file belongs to, by its header.
    async fn series_of(&self, blob: &BlobRef, rule: &Rule) -> Result<File, JobError> {
        let properties = match self.source.properties(blob).await {
            Ok(properties) => properties,
            Err(error) if error.code == ErrorCode::BlobNotFound => return Ok(File::Gone),
            Err(error) => return Err(error),
        };
        match properties.kind {
            BlobKind::Directory => return Ok(File::Gone),
            BlobKind::Archived => {
                let text = "the file is in the archive tier; the event of its return files it";
                return Err(JobError::new(Stage::Fetch, ErrorCode::BlobArchived, text));
            }
            BlobKind::Content => {}
        }
        if properties.bytes == 0 {
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobEmpty, "the file has no bytes"));
        }
        match instance(blob, &properties, &*self.source).await? {
            Instance::NotDicom => Ok(File::NotDicom),
            Instance::WithoutSeries => {
                let text = "the file has no Series Instance UID (0020,000E) and belongs to no series";
                Err(JobError::new(Stage::Decode, ErrorCode::HeaderInvalid, text))
            }
            Instance::Of(key) => {
                let series = BlobRef::new(blob.container(), name_of(&rule.prefix, &key.series_uid))?;
                Ok(File::Of(series, properties.etag, key))
            }
        }
    }

    /// Takes instances into the state of their series, durably; what became of each.
    async fn file(&self, series: &BlobRef, found: &[Found], deadline: Instant) -> Vec<Outcome> {
        let filed = self.filed(series, found).await;
        let puts = match filed {
            Ok(puts) => puts,
            Err(error) => {
                tracing::warn!(%error, "files cannot be kept with their series now; their events come again");
                return vec![Outcome::Left; found.len()];
            }
        };
        // Whoever closes series looks for open ones by itself, later.
        let _told = self.changed.try_send(series.clone());
        let mut outcomes = Vec::with_capacity(found.len());
        for (found, put) in found.iter().zip(puts) {
            outcomes.push(match put {
                Some(Put::Added) => Outcome::Added,
                Some(Put::Known) => Outcome::Known,
                Some(Put::TooMany) => self.dead_letter(&found.message, &too_many(), deadline).await,
                None => Outcome::Left,
            });
        }
        outcomes
    }

    /// `None` for a file that was replaced meanwhile.
    async fn filed(&self, series: &BlobRef, found: &[Found]) -> Result<Vec<Option<Put>>, JobError> {
        for round in 0..ROUNDS {
            let kept = self.shelf.state(series).await?;
            let seen: Seen = kept.as_ref().map(|(_, etag)| etag.clone());
            let before = kept.map(|(state, _)| state);
            let mut state = match &before {
                Some(state) => state.clone(),
                None => SeriesState::new(series, found.first().map_or("", |found| &found.key.series_uid)),
            };
            let mut puts = Vec::with_capacity(found.len());
            for found in found {
                puts.push(self.put(&mut state, found).await?);
            }
            let changed = before.as_ref() != Some(&state);
            let is_open = state.step(now(), self.quiet)? != Step::Settled;
            if !changed || self.shelf.keep(series, &state, &seen).await? {
                if is_open {
                    // After the state, so that whoever settles the series meanwhile sees it, and always, so that an event which
                    // comes again after a death makes it too.
                    self.shelf.open(series).await?;
                }
                return Ok(puts);
            }
            let longest = 20 << round.min(5);
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..longest))).await;
        }
        let text = "others kept changing what is kept of a series";
        Err(JobError::new(Stage::Store, ErrorCode::ResultContended, text))
    }

    /// A file that is held in another version is asked for again, after the state was read: whatever another wrote there it had
    /// seen before. So an old version never goes over a newer one.
    async fn put(&self, state: &mut SeriesState, found: &Found) -> Result<Option<Put>, JobError> {
        let name = found.blob.name();
        if state.held(name).is_some_and(|held| *held != found.etag) {
            let current = match self.source.properties(&found.blob).await {
                Ok(properties) => properties.etag,
                Err(error) if error.code == ErrorCode::BlobNotFound => return Ok(Some(Put::Known)),
                Err(error) => return Err(error),
            };
            if state.held(name) == Some(&current) {
                return Ok(Some(Put::Known));
            }
            if current != found.etag {
                return Ok(None);
            }
        }
        Ok(Some(state.put(name, &found.etag, &found.key, now())))
    }

    /// On to the workers, as the relay carries everything.
    async fn pass_on(&self, event: &Message, deadline: Instant) -> Outcome {
        let mut event = event.clone();
        event.attributes.lane = lane_of(&event);
        self.published(deadline, Outcome::PassedOn, || self.publisher.announce(&event)).await
    }

    async fn dead_letter(&self, event: &Message, error: &JobError, deadline: Instant) -> Outcome {
        let mut event = event.clone();
        event.attributes.lane = Lane::Volumes;
        tracing::warn!(%error, "a file belongs to no series that can be read; its event is dead-lettered");
        self.published(deadline, Outcome::DeadLettered, || self.publisher.dead_letter(&event, error)).await
    }

    /// Publishes until it is done or the message is no longer ours.
    async fn published<F: Future<Output = Result<(), JobError>>>(
        &self,
        deadline: Instant,
        done: Outcome,
        publish: impl Fn() -> F,
    ) -> Outcome {
        let mut wait = Duration::from_millis(200);
        loop {
            match publish().await {
                Ok(()) => {
                    self.vitals.published(None);
                    return done;
                }
                Err(error) => {
                    metrics::publish_failed();
                    self.vitals.published(Some(error.message.clone()));
                    if Instant::now() + wait >= deadline {
                        tracing::error!(%error, "an event stays in its queue and comes again");
                        return Outcome::Left;
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
            }
        }
    }
}

/// What a blob on a route of instances is.
enum File {
    Of(BlobRef, ETag, SeriesMember),
    NotDicom,
    /// It is no more, or stands for a folder.
    Gone,
}

/// What the results of a series are called by: its UID, below the prefix of the route that carries it. So the same route leads
/// it to its model, and files that come later, from wherever below the prefix, change nothing.
fn name_of(prefix: &str, series_uid: &str) -> String {
    let joint = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    format!("{prefix}{joint}{series_uid}")
}
