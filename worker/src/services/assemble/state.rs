//! What is known of one series: its instances so far, when the last one came, and what was announced. Pure: no clock, no store.
//!
//! Whatever the order of events, repeats and restarts, the same instances are the same set, and so the same version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nightread_domain::set::{SCHEMA as SET_SCHEMA, SetDocument, SetInstance};
use nightread_domain::study::MAX_MEMBERS;
use nightread_domain::{BlobRef, ETag, JobError};
use serde::{Deserialize, Serialize};

use crate::readings::instance::SeriesMember;

/// The form that is written and read.
pub(super) const SCHEMA: &str = "nightread.series.v1";

/// Milliseconds since 1970.
pub(super) type Moment = u64;

/// One series, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeriesState {
    pub schema: String,
    /// `container/name` that its results are called by.
    pub name: String,
    pub series_uid: String,
    #[serde(default)]
    pub modality: Option<String>,
    /// The most that an instance said of (0020,1209).
    #[serde(default)]
    pub expected: Option<u32>,
    /// By their names in the container.
    pub instances: BTreeMap<String, Held>,
    /// When the last change came.
    pub changed_at: Moment,
    /// More came than one series may have: it is not announced, because it would not be whole.
    #[serde(default)]
    pub overfull: bool,
    /// Who announces which version now.
    #[serde(default)]
    pub announcing: Option<Announcing>,
    /// The version whose announcement the broker has.
    #[serde(default)]
    pub announced: Option<Announced>,
}

/// A version whose announcement the broker has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announced {
    pub version: String,
    /// How often it was begun: as often at most it came.
    pub tries: u32,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub etag: ETag,
    #[serde(default)]
    pub instance_uid: Option<String>,
}

/// An announcement that is being made. Another may make it when its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcing {
    pub version: String,
    pub until: Moment,
    /// How often this version's announcement was begun: more than once, and it may have come more than once.
    pub tries: u32,
}

/// What is to be done about a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its newest version is announced, or it never will be.
    Settled,
    /// Not before then.
    Wait(Moment),
    /// This version is whole, as far as anybody knows.
    Announce(String),
}

/// What became of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Added,
    /// It was there in this version.
    Known,
    TooMany,
}

impl SeriesState {
    pub fn new(name: &BlobRef, series_uid: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            name: name.to_string(),
            series_uid: series_uid.to_owned(),
            modality: None,
            expected: None,
            instances: BTreeMap::new(),
            changed_at: 0,
            overfull: false,
            announcing: None,
            announced: None,
        }
    }

    /// The version in which a blob is held.
    pub fn held(&self, name: &str) -> Option<&ETag> {
        self.instances.get(name).map(|held| &held.etag)
    }

    /// Takes an instance in. Its version is the one that its blob has now: whoever finds another one held has asked again.
    pub fn put(&mut self, name: &str, etag: &ETag, key: &SeriesMember, now: Moment) -> Put {
        if self.held(name) == Some(etag) {
            return Put::Known;
        }
        if !self.instances.contains_key(name) && self.instances.len() >= MAX_MEMBERS {
            self.overfull = true;
            return Put::TooMany;
        }
        let held = Held { etag: etag.clone(), instance_uid: key.instance_uid.clone() };
        self.instances.insert(name.to_owned(), held);
        self.modality = self.modality.take().or_else(|| key.modality.clone());
        self.expected = self.expected.max(key.expected);
        self.changed_at = self.changed_at.max(now);
        Put::Added
    }

    /// Instances with UIDs of their own; a blob without one counts as one.
    fn distinct(&self) -> usize {
        let uids: BTreeSet<_> =
            self.instances.values().filter_map(|held| held.instance_uid.as_deref()).collect();
        uids.len() + self.instances.values().filter(|held| held.instance_uid.is_none()).count()
    }

    /// Whether all that should come has come. Later changes wait for quiet: a series that is sent again is one new version and
    /// not one for each file.
    fn is_complete(&self) -> bool {
        self.announced.is_none() && self.expected.is_some_and(|expected| expected as usize == self.distinct())
    }

    /// The set as its document names it.
    pub fn set(&self) -> SetDocument {
        let instances = self.instances.iter().map(|(name, held)| SetInstance {
            name: name.clone(),
            etag: held.etag.clone(),
            instance_uid: held.instance_uid.clone(),
        });
        SetDocument {
            schema: SET_SCHEMA.to_owned(),
            name: self.name.clone(),
            series_uid: self.series_uid.clone(),
            modality: self.modality.clone(),
            expected: self.expected,
            instances: instances.collect(),
        }
    }

    /// The version of the set as workers reckon it.
    ///
    /// # Errors
    /// Those of a set without instances.
    pub fn version(&self) -> Result<String, JobError> {
        self.set().series().map(|series| series.version().0)
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// Those of [`Self::version`].
    pub fn step(&self, now: Moment, quiet: Duration) -> Result<Step, JobError> {
        if self.overfull || self.instances.is_empty() {
            return Ok(Step::Settled);
        }
        let version = self.version()?;
        if self.announced.as_ref().is_some_and(|announced| announced.version == version) {
            return Ok(Step::Settled);
        }
        let quiet_at = self.changed_at.saturating_add(quiet.as_millis() as u64);
        let due = if self.is_complete() { self.changed_at.min(now) } else { quiet_at };
        let held = self.announcing.as_ref().filter(|held| held.version == version).map(|held| held.until);
        let at = due.max(held.unwrap_or_default());
        Ok(if now >= at { Step::Announce(version) } else { Step::Wait(at) })
    }

    /// This version's announcement begins, and is its beginner's until then.
    pub fn begin(&mut self, version: &str, until: Moment) {
        let before = self.announcing.as_ref().filter(|held| held.version == version);
        let tries = before.map_or(0, |held| held.tries) + 1;
        self.announcing = Some(Announcing { version: version.to_owned(), until, tries });
    }

    /// The broker has this version's announcement. Where another version's was begun meanwhile, that one is recorded when it is
    /// made: an older version never goes over it.
    pub fn record(&mut self, version: &str) {
        if let Some(Announcing { version, tries, .. }) =
            self.announcing.take_if(|held| held.version == version)
        {
            self.announced = Some(Announced { version, tries });
        }
    }

    /// It was not published, and is free again at once.
    pub fn give_up(&mut self, version: &str) {
        if let Some(held) = self.announcing.as_mut().filter(|held| held.version == version) {
            held.until = 0;
        }
    }
}
