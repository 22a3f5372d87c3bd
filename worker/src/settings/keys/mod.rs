//! Every setting there is: one row each. The file, the environment, `nightread check` and the README speak of these.

use std::fmt;

use nightread_domain::Lane;

pub use self::table::*;

mod table;

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Boolean,
    /// In the environment: separated by commas.
    List,
    /// Whole number, or the word `auto`.
    IntegerOrAuto,
}

/// One setting: `[section] name` in the file, `NIGHTREAD_<SECTION>_<NAME>` in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be written in the environment; empty for none.
    pub default: &'static str,
    pub secret: bool,
    /// Unknown but to the tests of Nightread, which say so by [`TESTING`].
    pub for_tests: bool,
    pub help: &'static str,
}

/// The variable by which a test asks for settings that are none of a user's. Not a feature of the build: what is tested is
/// the program that is shipped, compiled once.
pub const TESTING: &str = "NIGHTREAD_TESTING";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.section, self.name)
    }
}

impl Key {
    pub fn variable(&self) -> String {
        variable(self.section, self.name)
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { section, name, kind, default, secret: false, for_tests: false, help }
}

const fn secret(section: &'static str, name: &'static str, help: &'static str) -> Key {
    Key { section, name, kind: Kind::Text, default: "", secret: true, for_tests: false, help }
}

const fn for_tests(key: Key) -> Key {
    Key { for_tests: true, ..key }
}

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

/// The variable of `[section] name` in the environment.
pub fn variable(section: &str, name: &str) -> String {
    format!("NIGHTREAD_{}_{}", section.to_uppercase(), name.to_uppercase())
}

/// The row for `[section] name`.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}
