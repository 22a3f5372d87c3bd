//! What became of the events.

use serde_json::{Value, json};

/// What became of one event, or of a message of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Its file is kept with its series.
    Added,
    /// Its file was kept already, in this version.
    Known,
    /// No file on a route of instances, or no DICOM: published for the workers.
    PassedOn,
    /// No study: an event of another kind, or of a result.
    Ignored,
    /// Its file is gone, or stands for a folder.
    Gone,
    DeadLettered,
    /// The message is no event at all, or was taken too often.
    Poisoned,
    /// Done with, and meanwhile no longer ours: it may come once more.
    Late,
    /// It comes again.
    Left,
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Added,
        Self::Known,
        Self::PassedOn,
        Self::Ignored,
        Self::Gone,
        Self::DeadLettered,
        Self::Poisoned,
        Self::Late,
        Self::Left,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Known => "known",
            Self::PassedOn => "passed_on",
            Self::Ignored => "ignored",
            Self::Gone => "gone",
            Self::DeadLettered => "dead_lettered",
            Self::Poisoned => "poisoned",
            Self::Late => "late",
            Self::Left => "left",
        }
    }
}

/// The account of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    events: [u64; Outcome::ALL.len()],
    pub(super) announced: u64,
}

impl Account {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.events[outcome as usize] += 1;
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.into_iter().map(Outcome::as_str).zip(self.events)
    }

    pub fn as_text(&self) -> String {
        let events: Vec<_> = self
            .each()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {}", what.replace('_', " ")))
            .collect();
        let events = if events.is_empty() { "none".to_owned() } else { events.join(", ") };
        format!("events: {events}; sets announced: {}", self.announced)
    }

    pub fn as_json(&self) -> Value {
        let events: serde_json::Map<_, _> =
            self.each().map(|(what, count)| (what.to_owned(), json!(count))).collect();
        json!({ "events": events, "announced": self.announced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_own_name() {
        for outcome in Outcome::ALL {
            let mut account = Account::default();
            account.add(outcome);
            assert_eq!(account.as_json()["events"][outcome.as_str()], 1);
            assert!(account.as_text().contains(&outcome.as_str().replace('_', " ")));
        }
    }
}
