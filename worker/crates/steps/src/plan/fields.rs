//! What each field of a step may be, whatever stands before it.

use super::Mistake;
use crate::step::{Channels, Clahe, Edge, Resizer, Sides, Step, Window, WindowFunction};

/// The longest side: far above any network, and small enough that a manifest cannot exhaust memory.
const MOST_SIDE: usize = 4096;
/// Tiles along a side.
const MOST_TILES: usize = 64;
/// Levels of grey inside of scikit-image's algorithm.
const MOST_BINS: usize = 1 << 14;

pub(super) fn check(index: usize, step: &Step, mistakes: &mut Vec<Mistake>) {
    let mut tell = |field, what: String| mistakes.push(Mistake::new(index, field, what));
    match step {
        Step::Range { from, to, .. } => {
            if let Some(from) = from {
                interval("from", *from, &mut tell);
            }
            interval("to", *to, &mut tell);
        }
        Step::Window { window, to } => {
            if let Window::Given { width, function, .. } = window {
                let least = if *function == WindowFunction::Linear { 1.0 } else { 0.0 };
                // DICOM's linear window of width 1 is a step; the others are divided by their width.
                if *width < least || *width <= 0.0 {
                    tell(
                        "width",
                        format!("must be {} for {}, not {width}", least_width(*function), function.as_str()),
                    );
                }
            }
            interval("to", *to, &mut tell);
        }
        Step::MinMax { to } => interval("to", *to, &mut tell),
        Step::Percentile { lower, upper, to, .. } => {
            if !(0.0..=100.0).contains(lower) {
                tell("lower", format!("must lie in [0, 100] percent, not {lower}"));
            }
            if !(0.0..=100.0).contains(upper) || upper <= lower {
                tell("upper", format!("must lie in [0, 100] percent and above lower, not {upper}"));
            }
            interval("to", *to, &mut tell);
        }
        Step::Clahe(clahe) => equalising(clahe, &mut tell),
        Step::CropCentre { size, .. } => {
            if let Some([height, width]) = size {
                side("size", *height, &mut tell);
                if width != height {
                    side("size", *width, &mut tell);
                }
            }
        }
        Step::Resize { library, sides, edge } => {
            match *sides {
                Sides::Exact { height, width } => {
                    side("height", height, &mut tell);
                    side("width", width, &mut tell);
                }
                Sides::Short { size, .. } | Sides::Long { size, .. } => side("size", size, &mut tell),
            }
            if *library == Resizer::Skimage && edge.is_none() {
                let names: Vec<_> = Edge::ALL.iter().map(|(name, _)| *name).collect();
                let what = format!(
                    "is missing: {} (what resize does by itself, or what TorchXRayVision asks it for)",
                    names.join(" or ")
                );
                tell("edge", what);
            }
        }
        Step::Channels(channels) => statistics(channels, &mut tell),
        Step::ZScore {} | Step::Invert {} | Step::ToUint8 { .. } | Step::PadSquare { .. } => {}
    }
}

fn least_width(function: WindowFunction) -> &'static str {
    if function == WindowFunction::Linear { "1 or more" } else { "above 0" }
}

fn interval(field: &'static str, [low, high]: [f64; 2], tell: &mut impl FnMut(&'static str, String)) {
    if low >= high {
        tell(
            field,
            format!(
                "must be [lowest, highest], not [{low}, {high}]; to turn light into dark use step = \"invert\""
            ),
        );
    }
}

fn side(field: &'static str, side: usize, tell: &mut impl FnMut(&'static str, String)) {
    if side == 0 || side > MOST_SIDE {
        tell(field, format!("must be 1 to {MOST_SIDE} pixels, not {side}"));
    }
}

fn equalising(clahe: &Clahe, tell: &mut impl FnMut(&'static str, String)) {
    match clahe {
        Clahe::Opencv { clip_limit, tiles } => {
            if *clip_limit < 0.0 {
                tell(
                    "clip_limit",
                    format!("must be 0 (no limit) or above, not {clip_limit}; OpenCV's own is 40"),
                );
            }
            if tiles.iter().any(|count| *count == 0 || *count > MOST_TILES) {
                tell(
                    "tiles",
                    format!(
                        "must be [across, down], 1 to {MOST_TILES} each, not {tiles:?}; OpenCV's own are [8, 8]"
                    ),
                );
            }
        }
        Clahe::Skimage { clip_limit, bins, kernel } => {
            if !(0.0..=1.0).contains(clip_limit) {
                tell(
                    "clip_limit",
                    format!("must lie in [0, 1], not {clip_limit}; scikit-image's own is 0.01"),
                );
            }
            if !(2..=MOST_BINS).contains(bins) {
                tell("bins", format!("must be 2 to {MOST_BINS}, not {bins}; scikit-image's own are 256"));
            }
            if kernel.is_some_and(|kernel| kernel.iter().any(|side| *side == 0 || *side > MOST_SIDE)) {
                tell("kernel", format!("must be [height, width], 1 to {MOST_SIDE} pixels each"));
            }
        }
    }
}

fn statistics(channels: &Channels, tell: &mut impl FnMut(&'static str, String)) {
    let Channels { count, mean, std, .. } = channels;
    if *count != 1 && *count != 3 {
        tell("count", format!("must be 1 or 3, not {count}"));
        return;
    }
    for (field, other, list) in [("mean", "std", mean), ("std", "mean", std)] {
        if list.is_empty() && mean.len() + std.len() > 0 {
            tell(field, format!("is missing beside {other}: give both or neither"));
        } else if !list.is_empty() && list.len() != *count {
            tell(field, format!("must have {count} number(s), one a channel, not {}", list.len()));
        }
    }
    if std.iter().any(|std| *std <= 0.0) {
        tell("std", "must be above 0 in every channel".to_owned());
    }
}
