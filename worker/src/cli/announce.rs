//! What `nightread announce` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nightread_domain::Lane;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, UtcDateTime};

use super::common::{Common, Format};
use super::names::NameArgs;
use super::simulate::clock;

/// How many seconds a broker that answers nothing is waited for, unless the caller says otherwise. An upgrade or a failover of a
/// cluster takes less; a timer that hangs for good would never announce again.
pub(crate) const PATIENCE_SECONDS: u64 = 600;

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  nightread announce                                        every blob of every input container
  nightread announce incoming/2024 --suffix dcm,png         one prefix, by suffix
  nightread announce --modified-since 72h --skip-done       what came lately and has no result (the nightly timer)
  nightread announce --model padchest-26 --skip-done --checkpoint relabel.json
                                                            relabel; the same command goes on after an interruption
  nightread announce --skip-done --checkpoint night.json --finish-by 06:00 --bench bench.json
                                                            until six in the morning; tells whether the fleet is done by then
  nightread announce --bring-back                           what was parked at six, at once
  nightread announce --names --dry-run < names.txt          container/path, one a line; counts, publishes nothing
  nightread announce --inventory 2024-01-01/rule_1.csv      from Azure Blob Inventory instead of a listing
  nightread announce --sets --skip-done                     every assembled series that has no result of its newest set
  nightread announce --from-event-grid-dead-letter https://ACCOUNT.blob.core.windows.net/event-dead-letters

Announcing twice is harmless: a worker finds the result and does nothing. Memory does not grow with the number of names.
Exit status: 0 all was announced, 1 something failed (the checkpoint stands), 2 wrong use, 3 stopped by a signal before the
end (the checkpoint stands).")]
pub struct AnnounceArgs {
    /// Containers to list, each with an optional prefix; default: every input container of the settings
    #[arg(value_name = "CONTAINER[/PREFIX]", conflicts_with_all = ["names", "inventory", "from_event_grid_dead_letter"])]
    pub places: Vec<String>,
    /// Read names from standard input, container/path, one a line
    #[arg(long, conflicts_with_all = ["inventory", "from_event_grid_dead_letter"])]
    pub names: bool,
    /// Read names from Azure Blob Inventory reports (CSV)
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "from_event_grid_dead_letter")]
    pub inventory: Vec<PathBuf>,
    /// Announce again what Event Grid gave up: a container of the settings' account, or a container's URL (signed in by identity)
    #[arg(long, value_name = "CONTAINER[/PREFIX]|URL")]
    pub from_event_grid_dead_letter: Option<String>,

    /// The names are set documents of series, as `nightread assemble` writes them; default: all that it wrote
    #[arg(long, conflicts_with_all = ["inventory", "from_event_grid_dead_letter", "task", "suffix"])]
    pub sets: bool,

    /// Over names without their container
    #[command(flatten)]
    pub matching: NameArgs,
    /// Only names with one of these endings (dcm, nii.gz), in upper or lower case
    #[arg(long, value_name = "SUFFIX", value_delimiter = ',')]
    pub suffix: Vec<String>,
    /// Only names with the usual endings of the studies of this task
    #[arg(long, value_enum, value_name = "TASK")]
    pub task: Option<TaskName>,
    /// Only blobs of at least this many bytes
    #[arg(long, value_name = "BYTES")]
    pub min_bytes: Option<u64>,
    /// Only blobs of at most this many bytes
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
    /// Only blobs modified since: 72h, 30m, 7d, a date, or a time (RFC 3339); of Event Grid's dead letters: given up since
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub modified_since: Option<OffsetDateTime>,

    /// Read with this model; default: as the workers' routes say
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Leave out what has a result of this version of the blob, by the model or the models that the routes name
    #[arg(long, conflicts_with = "force")]
    pub skip_done: bool,
    /// With --skip-done: announce what ended in a failed-document, to be read again
    #[arg(long, requires = "skip_done")]
    pub retry_failed: bool,
    /// Have everything read again, results or not
    #[arg(long)]
    pub force: bool,
    /// The lane to announce in; `bulk` never makes an arriving image wait [default: bulk, with --sets volumes]
    #[arg(long, value_enum)]
    pub lane: Option<LaneName>,
    /// Given to every job, and found in its result event
    #[arg(long, value_name = "TEXT")]
    pub correlation_id: Option<String>,

    /// At most this many announcements a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Pause while the lane holds this many messages
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_backlog: u64,
    /// Give up when the broker answers nothing for this many seconds; one that is short of memory, or full, is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..))]
    pub broker_patience: u64,
    /// End at this hour (UTC, the next time it comes): in the lane bulk, wait for the workers until then and park what is left, so
    /// that the morning's work meets none of it; with --bench, tell whether the fleet is done by then
    #[arg(long, value_name = "HH:MM", value_parser = clock)]
    pub finish_by: Option<std::time::Duration>,
    /// Bring back what --finish-by parked, and announce nothing; the next --finish-by brings it back by itself
    #[arg(long, conflicts_with_all = ["places", "names", "inventory", "from_event_grid_dead_letter", "finish_by", "checkpoint", "dry_run"])]
    pub bring_back: bool,
    /// With --finish-by: a report of `nightread bench --format json`, by which `nightread simulate` plays the night
    #[arg(long, value_name = "FILE", requires = "finish_by")]
    pub bench: Option<PathBuf>,
    /// With --bench: shape of the fleet whose capacities and rules hold
    #[arg(long, value_name = "NAME", default_value = "prod", requires = "bench")]
    pub shape: String,
    /// Keep the progress here, and go on from it; removed at the end
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub checkpoint: Option<PathBuf>,
    /// Count, and publish nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl AnnounceArgs {
    /// The lane to announce in.
    pub fn lane(&self) -> LaneName {
        self.lane.unwrap_or(if self.sets { LaneName::Volumes } else { LaneName::Bulk })
    }
}

/// The lanes, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LaneName {
    Ingest,
    Bulk,
    Volumes,
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Ingest => Self::Ingest,
            LaneName::Bulk => Self::Bulk,
            LaneName::Volumes => Self::Volumes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskName {
    Radiograph,
    Components,
}

impl TaskName {
    /// The endings by which people name the files. What a blob is, the worker still judges from its bytes.
    pub const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Radiograph => &["dcm", "dicom", "png", "jpg", "jpeg", "tif", "tiff"],
            Self::Components => &["nii", "nii.gz"],
        }
    }
}

/// `72h`, `30m`, `7d`, `90s`, a date, or a time in RFC 3339; no later than now.
pub(super) fn since(text: &str) -> Result<OffsetDateTime, String> {
    let wrong = || "72h, 30m, 7d, 2026-01-31 or 2026-01-31T12:00:00Z is expected".to_owned();
    let now: OffsetDateTime = UtcDateTime::now().into();
    let unit = match text.chars().last() {
        Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(3_600),
        Some('d') => Some(86_400),
        _ => None,
    };
    let at = match unit {
        Some(seconds) => {
            let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
            now.checked_sub(Duration::seconds(i64::from(count) * seconds)).ok_or_else(wrong)?
        }
        None => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(at) => at,
            Err(_) => Date::parse(text, format_description!("[year]-[month]-[day]"))
                .map_err(|_| wrong())?
                .midnight()
                .assume_utc(),
        },
    };
    if at > now { Err("a time that has passed is expected".to_owned()) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let now: OffsetDateTime = UtcDateTime::now().into();
        let ago = |text| ((now - since(text).expect(text)).as_seconds_f64() / 60.0).round() as i64;
        assert_eq!([ago("30m"), ago("72h"), ago("7d"), ago("120s")], [30, 72 * 60, 7 * 24 * 60, 2]);
        assert_eq!(since("2026-01-31").expect("a date").unix_timestamp(), 1_769_817_600);
        assert_eq!(since("2026-01-31T01:00:00+01:00").expect("a time").unix_timestamp(), 1_769_817_600);
        for wrong in ["", "h", "-3h", "3w", "yesterday", "2999-01-01", "99999999999d", "ü"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
