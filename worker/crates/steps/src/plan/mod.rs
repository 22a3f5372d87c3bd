//! A list of steps that was checked: every field, the order, and what comes out at its end.

mod fields;
mod state;

use serde::Serialize;

use crate::step::{Channels, Layout, Step};
use state::State;

pub(crate) use state::proportional;

/// The longest list. No recipe needs more.
const MOST_STEPS: usize = 32;

/// One thing wrong with a list of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which step, from 0; absent of the list as a whole.
    pub step: Option<usize>,
    /// Which of its fields; absent of the step as a whole.
    pub field: Option<&'static str>,
    /// What is wrong, and how it is mended.
    pub what: String,
}

impl Mistake {
    pub(crate) fn new(step: usize, field: &'static str, what: impl Into<String>) -> Self {
        Self { step: Some(step), field: Some(field), what: what.into() }
    }

    fn list(what: impl Into<String>) -> Self {
        Self { step: None, field: None, what: what.into() }
    }
}

/// Steps in a sound order. Serialises as the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Plan {
    steps: Vec<Step>,
    #[serde(skip)]
    sides: [usize; 2],
    #[serde(skip)]
    range: Option<[f64; 2]>,
    /// Of the values before each step.
    #[serde(skip)]
    ranges: Vec<Option<[f64; 2]>>,
}

impl Plan {
    /// Checks a list.
    ///
    /// # Errors
    /// All mistakes, in the order of the steps.
    pub fn new(steps: Vec<Step>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        if steps.len() > MOST_STEPS {
            mistakes.push(Mistake::list(format!("has {} steps: {MOST_STEPS} at most", steps.len())));
            return Err(mistakes);
        }
        let mut state = State::stored();
        let mut ranges = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            fields::check(index, step, &mut mistakes);
            let is_last = index + 1 == steps.len();
            if matches!(step, Step::Channels(_)) && !is_last {
                mistakes.push(Mistake::new(
                    index,
                    "step",
                    "must be the last: move channels to the end of the list",
                ));
            }
            ranges.push(state.range);
            state.take(index, step, &mut mistakes);
        }
        let Some(Step::Channels(channels)) = steps.last() else {
            mistakes.push(Mistake::list(
                "must end with a step that says what the network's channels are: add step = \"channels\" at the end",
            ));
            return Err(mistakes);
        };
        let sides = state.shape.sides();
        if sides.is_none() {
            mistakes.push(Mistake::list(
                "gives no image of fixed sides: resize with height and width, or make the image square before size \
                 names one side",
            ));
        }
        match sides {
            Some(sides) if mistakes.is_empty() => {
                let range = state.range.map(|range| spread_range(range, channels));
                Ok(Self { steps, sides, range, ranges })
            }
            _ => Err(mistakes),
        }
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn channels(&self) -> Option<&Channels> {
        self.steps.last().and_then(|step| match step {
            Step::Channels(channels) => Some(channels),
            _ => None,
        })
    }

    /// The shape of one item, in the order of the layout.
    pub fn item_shape(&self) -> [usize; 3] {
        let [height, width] = self.sides;
        match self.channels() {
            Some(Channels { count, layout: Layout::Nhwc, .. }) => [height, width, *count],
            Some(Channels { count, .. }) => [*count, height, width],
            None => [1, height, width],
        }
    }

    /// Lowest and highest value that can come out; `None` where nothing bounds them (z-scores, overshooting filters,
    /// intervals that are not clipped).
    pub fn range(&self) -> Option<[f64; 2]> {
        self.range
    }

    /// The same before the statistics of the channels.
    pub fn range_of_values(&self) -> Option<[f64; 2]> {
        self.ranges.last().copied().flatten()
    }

    /// The order of the axes of an item.
    pub fn layout(&self) -> Layout {
        self.channels().map_or(Layout::Nchw, |channels| channels.layout)
    }

    pub(crate) fn ranges(&self) -> &[Option<[f64; 2]>] {
        &self.ranges
    }

    /// Whether the first window of the header is asked for.
    pub fn needs_window(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Window { window: crate::step::Window::Header, .. }))
    }
}

/// Over all channels.
fn spread_range([low, high]: [f64; 2], channels: &Channels) -> [f64; 2] {
    let mut hull = [f64::INFINITY, f64::NEG_INFINITY];
    for channel in 0..channels.count.clamp(1, 3) {
        let mean = channels.mean.get(channel).copied().unwrap_or(0.0);
        let std = channels.std.get(channel).copied().unwrap_or(1.0);
        hull = [hull[0].min((low - mean) / std), hull[1].max((high - mean) / std)];
    }
    hull
}

#[cfg(test)]
mod tests;
