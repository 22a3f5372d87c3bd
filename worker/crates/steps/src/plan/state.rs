//! What is known of an image between two steps, before there is one.

use super::Mistake;
use crate::step::{Clahe, Edge, Resizer, SideRounding, Sides, Step, Window};

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Integers as they were stored: what they mean differs from file to file.
    Stored,
    Bytes,
    Floats,
}

/// What is known of the sides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    height: Option<usize>,
    width: Option<usize>,
    short: Option<usize>,
    long: Option<usize>,
    square: bool,
}

impl Shape {
    fn exact(height: usize, width: usize) -> Self {
        Self {
            height: Some(height),
            width: Some(width),
            short: Some(height.min(width)),
            long: Some(height.max(width)),
            square: height == width,
        }
    }

    /// Height and width, where both are known.
    pub fn sides(&self) -> Option<[usize; 2]> {
        Some([self.height?, self.width?])
    }

    /// A square of the shorter side (`short`), or of the longer one.
    fn squared(self, short: bool) -> Self {
        let side = if short { self.short } else { self.long };
        side.map_or(Self { square: true, ..Self::default() }, |side| Self::exact(side, side))
    }
}

/// The other side where `size` is this one's, whose length was `this`; at least 1.
pub(crate) fn proportional(size: usize, this: usize, other: usize, rounding: SideRounding) -> usize {
    let length = match rounding {
        SideRounding::Down => size * other / this,
        SideRounding::Nearest => (other as f64 * (size as f64 / this as f64)).round_ties_even() as usize,
    };
    length.max(1)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    kind: Kind,
    /// Stored values were turned over: no header's numbers are about them any more.
    turned: bool,
    /// Lowest and highest value that there can be, where it is known.
    pub range: Option<[f64; 2]>,
    pub shape: Shape,
}

const FLOATS_FIRST: &str =
    "put a step before it that says what the stored values mean (range, window, minmax, percentile, zscore)";

impl State {
    pub fn stored() -> Self {
        Self { kind: Kind::Stored, turned: false, range: None, shape: Shape::default() }
    }

    /// Floats of this range from here on.
    fn floats(&mut self, range: Option<[f64; 2]>) {
        self.kind = Kind::Floats;
        self.range = range;
    }

    /// One step further; after a mistake as if it had not been made.
    pub fn take(&mut self, index: usize, step: &Step, mistakes: &mut Vec<Mistake>) {
        let mut tell = |field, what: String| mistakes.push(Mistake::new(index, field, what));
        match step {
            Step::Range { from, to, clip } => {
                if from.is_none() && self.kind == Kind::Floats {
                    tell(
                        "from",
                        "is missing: the values are floats already, so say which interval becomes `to`"
                            .into(),
                    );
                }
                let known = from.is_none() || *clip;
                let mapped = from.zip(self.range).map(|(from, range)| range.map(|end| along(end, from, *to)));
                self.floats(if known { Some(*to) } else { mapped });
            }
            Step::Window { window, to } => {
                if *window == Window::Header && self.kind != Kind::Stored {
                    tell(
                        "source",
                        "header is in stored values: make it the first step, or give centre and width".into(),
                    );
                } else if *window == Window::Header && self.turned {
                    tell(
                        "source",
                        "header is in stored values as they were before invert: put invert behind this step, or give centre and width"
                            .into(),
                    );
                }
                self.floats(Some(*to));
            }
            Step::MinMax { to } => self.floats(Some(*to)),
            Step::Percentile { to, clip, .. } => self.floats(clip.then_some(*to)),
            Step::ZScore {} => self.floats(None),
            Step::Clahe(Clahe::Opencv { .. }) => {
                if self.kind != Kind::Bytes {
                    tell("library", "opencv takes bytes here: put to-uint8 before it".into());
                }
                self.kind = Kind::Bytes;
                self.range = Some(BYTES);
            }
            Step::Clahe(Clahe::Skimage { .. }) => {
                if self.kind != Kind::Floats || !is_within(self.range, [0.0, 1.0]) {
                    tell(
                        "library",
                        "skimage takes floats in [0, 1]: put range or minmax with to = [0, 1] before it"
                            .into(),
                    );
                }
                self.floats(Some([0.0, 1.0]));
            }
            Step::Invert {} => {
                self.turned |= self.kind == Kind::Stored;
                if self.kind == Kind::Floats && self.range.is_none() {
                    tell(
                        "step",
                        "invert needs values whose ends are known: clip them before, or put it further up"
                            .into(),
                    );
                }
            }
            Step::ToUint8 { .. } => {
                let what = match (self.kind, self.range) {
                    (Kind::Stored, _) => Some(format!("to-uint8 takes floats: {FLOATS_FIRST}")),
                    (Kind::Bytes, _) => Some("the values are bytes already: leave it out".to_owned()),
                    (Kind::Floats, Some([0.0, high])) if is_same(high, 1.0) || is_same(high, 255.0) => None,
                    (Kind::Floats, _) => Some(
                        "to-uint8 takes floats of [0, 1] or [0, 255]: put range with clip = true before it"
                            .to_owned(),
                    ),
                };
                if let Some(what) = what {
                    tell("step", what);
                }
                self.kind = Kind::Bytes;
                self.range = Some(BYTES);
            }
            Step::Channels(_) => {
                if self.kind == Kind::Stored {
                    tell(
                        "step",
                        format!("the values are as they were stored, of any number of bits: {FLOATS_FIRST}"),
                    );
                }
            }
            Step::CropCentre { .. } | Step::PadSquare { .. } | Step::Resize { .. } => {
                self.move_pixels(step, &mut tell);
            }
        }
    }

    fn move_pixels(&mut self, step: &Step, tell: &mut impl FnMut(&'static str, String)) {
        match step {
            Step::CropCentre { size: None, .. } => self.shape = self.shape.squared(true),
            Step::CropCentre { size: Some([height, width]), .. } => {
                let fits = match self.shape.sides() {
                    Some([high, wide]) => *height <= high && *width <= wide,
                    None => self.shape.short.is_some_and(|short| (*height).max(*width) <= short),
                };
                if !fits {
                    tell(
                        "size",
                        "may be larger than the image: put a resize before it that is large enough".into(),
                    );
                }
                self.shape = Shape::exact(*height, *width);
            }
            Step::PadSquare { value } => {
                self.pad(*value, tell);
                self.shape = self.shape.squared(false);
            }
            Step::Resize { library, sides, edge } => {
                self.resize(*library, *edge, tell);
                self.shape = match *sides {
                    Sides::Exact { height, width } => Shape::exact(height, width),
                    Sides::Short { size, .. } | Sides::Long { size, .. } if self.shape.square => {
                        Shape::exact(size, size)
                    }
                    Sides::Short { size, rounding } => self.in_proportion(size, rounding, true),
                    Sides::Long { size, rounding } => self.in_proportion(size, rounding, false),
                };
            }
            _ => {}
        }
    }

    /// The shape after a resize that names one side.
    fn in_proportion(&self, size: usize, rounding: SideRounding, short: bool) -> Shape {
        if let Some([height, width]) = self.shape.sides() {
            let this_is_height = (height <= width) == short;
            return if this_is_height {
                Shape::exact(size, proportional(size, height, width, rounding))
            } else {
                Shape::exact(proportional(size, width, height, rounding), size)
            };
        }
        if short {
            Shape { short: Some(size), ..Shape::default() }
        } else {
            Shape { long: Some(size), ..Shape::default() }
        }
    }

    fn pad(&mut self, value: f64, tell: &mut impl FnMut(&'static str, String)) {
        let is_whole = is_same(value, value.trunc()) && value >= 0.0;
        match self.kind {
            Kind::Stored if !is_same(value, 0.0) => tell(
                "value",
                format!(
                    "must be 0 among stored values, whose greatest differs from file to file, not {value}: or {FLOATS_FIRST}"
                ),
            ),
            Kind::Bytes if !is_whole || value > 255.0 => {
                tell("value", format!("must be a whole number from 0 to 255 among bytes, not {value}"));
            }
            _ => {}
        }
        self.range = self.range.map(|[low, high]| [low.min(value), high.max(value)]);
    }

    fn resize(&mut self, library: Resizer, edge: Option<Edge>, tell: &mut impl FnMut(&'static str, String)) {
        let name = library.as_str();
        match (library, self.kind) {
            (_, Kind::Stored) => {
                tell(
                    "library",
                    format!(
                        "{name} would resize values as they were stored, of any number of bits: {FLOATS_FIRST}"
                    ),
                );
            }
            (Resizer::TorchvisionAntialias, Kind::Bytes) => tell(
                "library",
                format!(
                    "{name} takes floats: put range before it; of an image of PIL torchvision's Resize is pillow-bilinear"
                ),
            ),
            (Resizer::Skimage | Resizer::Monai, Kind::Bytes) => {
                tell("library", format!("{name} takes floats: put range before it"));
            }
            _ => {}
        }
        if library != Resizer::Skimage && edge.is_some() {
            tell("edge", "serves skimage alone: leave it out".into());
        }
        let overshoots = matches!(library, Resizer::PillowBicubic | Resizer::PillowLanczos);
        if self.kind == Kind::Floats && overshoots {
            self.range = None;
        }
        if library == Resizer::Skimage && edge == Some(Edge::Constant) {
            self.range = self.range.map(|[low, high]| [low.min(0.0), high.max(0.0)]);
        }
    }
}

const BYTES: [f64; 2] = [0.0, 255.0];

fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

fn is_within(range: Option<[f64; 2]>, [low, high]: [f64; 2]) -> bool {
    range.is_some_and(|[least, most]| low <= least && most <= high)
}

fn along(x: f64, from: [f64; 2], to: [f64; 2]) -> f64 {
    (x - from[0]) / (from[1] - from[0]) * (to[1] - to[0]) + to[0]
}
