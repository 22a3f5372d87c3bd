//! What `nightread announce` shows in the end.

use std::time::Duration;

use serde_json::json;

use super::publisher::PublishEnd;
use super::work::Counts;
use crate::services::simulate::outlook::{Night, Outlook};

/// The account at the end.
pub(crate) struct Summary {
    pub(super) counts: Counts,
    /// Announced by the runs before this one.
    pub(super) before: u64,
    pub(super) elapsed: Duration,
    pub(super) pauses: u64,
    pub(super) resumed: bool,
    /// Messages that an earlier night had parked, and those that this one did.
    pub(super) brought_back: u64,
    pub(super) parked: u64,
    pub ended: PublishEnd,
    pub(super) dry_run: bool,
    pub(super) is_a_list: bool,
    /// Whether the fleet is done in time, where that was asked.
    pub(super) outlook: Option<Outlook>,
}

impl Summary {
    /// Names that people wrote, and that no worker would take.
    pub fn list_has_mistakes(&self) -> bool {
        self.is_a_list && self.counts.refused > 0
    }

    /// Whether the fleet is done in time with what was announced and brought back.
    pub(super) fn look_ahead(&mut self, night: Option<&Night>) {
        let jobs = self.counts.announced - self.before + self.brought_back;
        self.outlook = night.map(|night| night.outlook(jobs));
    }

    fn rate(&self) -> f64 {
        (self.counts.announced - self.before) as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    pub fn as_text(&self) -> String {
        let counts = &self.counts;
        let verb = if self.dry_run { "would be announced" } else { "announced" };
        let mut parts = vec![format!("{} {verb}", counts.announced)];
        for (count, what) in [
            (counts.done, "done already"),
            (counts.filtered, "left out by conditions"),
            (counts.gone, "gone"),
            (counts.ignored, "no blobs to read"),
            (counts.archived, "in the archive tier"),
            (counts.refused, "refused: no sound name in an input container"),
            (self.brought_back, "brought back that were parked"),
            (self.parked, "parked for another night"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let seconds = self.elapsed.as_secs_f64();
        let mut end =
            if self.ended == PublishEnd::Finished { "" } else { "\nstopped before the end" }.to_owned();
        if let Some(outlook) = &self.outlook {
            end = format!("{end}\n{}", outlook.as_text());
        }
        format!(
            "{}, of {} seen, in {seconds:.1} s ({:.0} a second){end}",
            parts.join(", "),
            counts.seen,
            self.rate()
        )
    }

    pub fn as_json(&self) -> serde_json::Value {
        json!({
            "finished": self.ended == PublishEnd::Finished,
            "dry_run": self.dry_run,
            "resumed": self.resumed,
            "seen": self.counts.seen,
            "announced": self.counts.announced,
            "announced_now": self.counts.announced - self.before,
            "done": self.counts.done,
            "filtered": self.counts.filtered,
            "gone": self.counts.gone,
            "ignored": self.counts.ignored,
            "archived": self.counts.archived,
            "refused": self.counts.refused,
            "brought_back": self.brought_back,
            "parked": self.parked,
            "pauses": self.pauses,
            "capacity": self.outlook.as_ref().map(Outlook::as_json),
            "seconds": self.elapsed.as_secs_f64(),
            "per_second": self.rate(),
        })
    }
}
