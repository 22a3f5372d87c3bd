//! Which names of a folder are taken.

use clap::Args;
use globset::{Glob, GlobBuilder};

/// Which names are taken.
#[derive(Args, Clone, Debug, Default)]
pub struct NameArgs {
    /// Take only names that match, whatever their ending: `*` within a path segment, `**` across, `?` one character,
    /// `{a,b}` either. Without a slash the pattern is for a file or folder at any depth, with one for the whole path.
    /// May be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, visible_alias = "glob")]
    pub include: Vec<Glob>,
    /// Leave out names that match, and all that is in folders that match. May be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub exclude: Vec<Glob>,
}

/// A pattern as it is typed, as one over a whole path.
pub(crate) fn pattern(text: &str) -> Result<Glob, String> {
    let inner = text.strip_suffix('/').unwrap_or(text);
    let whole = match inner.strip_prefix('/') {
        Some(anchored) => anchored.to_owned(),
        None if inner.contains('/') => inner.to_owned(),
        None => format!("**/{inner}"),
    };
    GlobBuilder::new(&whole).literal_separator(true).build().map_err(|error| error.kind().to_string())
}
