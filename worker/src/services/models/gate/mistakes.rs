//! What was given that cannot be worked with: one line for each, with what, where, and how to mend it.

use std::fmt::Display;

use crate::app::WrongUse;

/// Lines of one kind of mistake that are told one by one.
const TOLD: usize = 5;

/// Names that are shown of several.
pub(super) const SHOWN: usize = 3;

/// Names that are shown where each is one to mend.
pub(super) const SHOWN_TO_MEND: usize = 30;

/// `a, b, c and 4 more`.
pub(super) fn listed<N: Display>(names: impl IntoIterator<Item = N>, shown: usize) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(shown);
    let told = names.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

/// Nothing, or all the problems.
pub(super) fn none_of(problems: &[String]) -> Result<(), WrongUse> {
    if problems.is_empty() { Ok(()) } else { Err(WrongUse(problems.join("\n"))) }
}

/// As [`none_of`], for problems in the lines of `place`, which may be many.
pub(super) fn none_in(place: impl Display, mut problems: Vec<String>) -> Result<(), WrongUse> {
    let more = problems.len().saturating_sub(TOLD);
    problems.truncate(TOLD);
    if more > 0 {
        problems.push(format!("{place}: {more} more like these"));
    }
    none_of(&problems)
}
