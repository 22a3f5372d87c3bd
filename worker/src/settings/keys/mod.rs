//! Every setting there is: one row each. The file, the environment, `nightread check` and the README speak of these.

use nightread_domain::Lane;

pub use self::key::{Key, Kind, TESTING, variable};
pub use self::table::*;

mod key;
mod table;

/// What a user may set.
pub fn published() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| !key.for_tests)
}

/// The lane's share of the permits.
pub const fn weight_of(lane: Lane) -> Key {
    match lane {
        Lane::Ingest => BROKER_INGEST_WEIGHT,
        Lane::Bulk => BROKER_BULK_WEIGHT,
        Lane::Volumes => BROKER_VOLUMES_WEIGHT,
    }
}

/// What a message of the lane costs, until workers tell.
pub const fn milliseconds_of(lane: Lane) -> Key {
    match lane {
        Lane::Ingest => BACKLOG_INGEST_MS,
        Lane::Bulk => BACKLOG_BULK_MS,
        Lane::Volumes => BACKLOG_VOLUMES_MS,
    }
}

/// A setting of an earlier version and the one that it is now: section and name of each.
pub const RENAMED: &[[&str; 4]] = &[
    ["broker", "fmri_weight", "broker", "volumes_weight"],
    ["backlog", "fmri_ms", "backlog", "volumes_ms"],
    ["limits", "picture_bytes", "limits", "image_bytes"],
    ["pictures", "png16_max", "images", "png16_max"],
    ["pictures", "write_heatmaps", "images", "write_heatmaps"],
];

/// Section and name that `[section] name` bears now.
pub fn renamed(section: &str, name: &str) -> Option<(&'static str, &'static str)> {
    RENAMED.iter().find(|row| row[..2] == [section, name]).map(|row| (row[2], row[3]))
}

/// The row for `[section] name`.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}
