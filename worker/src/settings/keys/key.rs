//! What a setting is.

use std::fmt;

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

pub(super) const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { section, name, kind, default, secret: false, for_tests: false, help }
}

pub(super) const fn secret(section: &'static str, name: &'static str, help: &'static str) -> Key {
    Key { section, name, kind: Kind::Text, default: "", secret: true, for_tests: false, help }
}

pub(super) const fn for_tests(key: Key) -> Key {
    Key { for_tests: true, ..key }
}

/// The variable of `[section] name` in the environment.
pub fn variable(section: &str, name: &str) -> String {
    format!("NIGHTREAD_{}_{}", section.to_uppercase(), name.to_uppercase())
}
