//! Decisions that are not the same on both sides.

use serde::Serialize;

/// What one side decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Of a finding: `positive` or `negative`. Of a component: its label; `None` where it was withheld.
    pub said: Option<String>,
    pub probability: f32,
}

/// A decision that A and B made otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    pub study: String,
    /// The label of a finding; of a component, `None`.
    pub label: Option<String>,
    /// Of a component.
    pub component: Option<u32>,
    pub a: Decision,
    pub b: Decision,
}

/// A flip by numbers, until it is known which are shown: the greatest differences of probability.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Place among the pairs.
    pub pair: usize,
    /// The label's number, or the component's index.
    pub of: u32,
    pub distance: f32,
}

/// The `shown` marks of the greatest distance, then by study.
pub(crate) fn foremost(mut marks: Vec<Mark>, shown: usize) -> Vec<Mark> {
    marks.sort_unstable_by(|one, other| {
        other.distance.total_cmp(&one.distance).then(one.pair.cmp(&other.pair)).then(one.of.cmp(&other.of))
    });
    marks.truncate(shown);
    marks
}
