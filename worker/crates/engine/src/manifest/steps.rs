//! `[[preprocessing]]`: a list of steps, from its tables to a plan.

use nightread_steps::{
    Channels, Clahe, CropRule, Edge, Layout, Mistake, Plan, Resizer, Rounding, SideRounding, Sides, Step,
    Window, WindowFunction,
};

use super::reader::Reader;

const KEY: &str = "preprocessing";

/// The list under `preprocessing`, checked whole; `None` where there are problems, which are noted.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Plan> {
    let steps = reader.tables(KEY, step)?;
    let steps = steps.into_iter().collect::<Option<Vec<Step>>>()?;
    match Plan::new(steps) {
        Ok(plan) => Some(plan),
        Err(mistakes) => {
            for Mistake { step, field, what } in mistakes {
                let at = step.map_or_else(|| KEY.to_owned(), |step| format!("{KEY}[{step}]"));
                let at = field.map_or_else(|| at.clone(), |field| format!("{at}.{field}"));
                reader.problem(&at, what);
            }
            None
        }
    }
}

fn step(reader: &mut Reader<'_>) -> Option<Step> {
    let name = reader.text("step")?;
    match name.as_str() {
        "range" => range(reader),
        "window" => window(reader),
        "minmax" => Some(Step::MinMax { to: reader.numbers("to")? }),
        "percentile" => percentile(reader),
        "zscore" => Some(Step::ZScore {}),
        "clahe" => clahe(reader).map(Step::Clahe),
        "invert" => Some(Step::Invert {}),
        "to-uint8" => Some(Step::ToUint8 { library: reader.choice("library", Rounding::ALL)? }),
        "crop-centre" => {
            let library = reader.choice("library", CropRule::ALL);
            let size = given(reader, "size", Reader::counts_of_if::<2>);
            Some(Step::CropCentre { library: library?, size: size? })
        }
        "pad-square" => Some(Step::PadSquare { value: reader.number("value")? }),
        "resize" => resize(reader),
        "channels" => channels(reader).map(Step::Channels),
        other => {
            let what = format!("must be one of {}, not {other:?}", Step::NAMES.join(", "));
            reader.problem("step", what);
            None
        }
    }
}

/// A field that may be absent, apart from one that is there and wrong.
#[expect(clippy::option_option, reason = "wrong, absent and given are three things")]
fn given<'p, T>(
    reader: &mut Reader<'p>,
    key: &str,
    read: impl FnOnce(&mut Reader<'p>, &str) -> Option<T>,
) -> Option<Option<T>> {
    if reader.has(key) { read(reader, key).map(Some) } else { Some(None) }
}

fn range(reader: &mut Reader<'_>) -> Option<Step> {
    let from = given(reader, "from", Reader::numbers_if::<2>);
    let to = reader.numbers("to");
    let clip = given(reader, "clip", Reader::flag_if);
    Some(Step::Range { from: from?, to: to?, clip: clip?.unwrap_or(false) })
}

fn window(reader: &mut Reader<'_>) -> Option<Step> {
    let source = reader.choice("source", &[("header", true), ("given", false)]);
    let to = reader.numbers("to");
    if source? {
        return Some(Step::Window { window: Window::Header, to: to? });
    }
    let (centre, width) = (reader.number("centre"), reader.number("width"));
    let function = reader.choice("function", WindowFunction::ALL);
    let window = Window::Given { centre: centre?, width: width?, function: function? };
    Some(Step::Window { window, to: to? })
}

fn percentile(reader: &mut Reader<'_>) -> Option<Step> {
    let (lower, upper) = (reader.number("lower"), reader.number("upper"));
    let to = reader.numbers("to");
    // What MONAI does by itself is not clipping: it must be said.
    let clip = reader.flag("clip");
    Some(Step::Percentile { lower: lower?, upper: upper?, to: to?, clip: clip? })
}

fn clahe(reader: &mut Reader<'_>) -> Option<Clahe> {
    let is_opencv = reader.choice("library", &[("opencv", true), ("skimage", false)]);
    let clip_limit = reader.number("clip_limit");
    if is_opencv? {
        let tiles = given(reader, "tiles", Reader::counts_of_if::<2>);
        return Some(Clahe::Opencv { clip_limit: clip_limit?, tiles: tiles?.unwrap_or([8, 8]) });
    }
    let bins = given(reader, "bins", Reader::count_if);
    let kernel = given(reader, "kernel", Reader::counts_of_if::<2>);
    Some(Clahe::Skimage { clip_limit: clip_limit?, bins: bins?.unwrap_or(256), kernel: kernel? })
}

fn resize(reader: &mut Reader<'_>) -> Option<Step> {
    let library = reader.choice("library", Resizer::ALL);
    let side = reader.choice("side", &[("exact", 0), ("short", 1), ("long", 2)]);
    let edge = given(reader, "edge", |reader, key| reader.choice(key, Edge::ALL));
    let sides = match side? {
        0 => {
            let (height, width) = (reader.count("height"), reader.count("width"));
            Sides::Exact { height: height?, width: width? }
        }
        which => {
            let size = reader.count("size");
            let rounding = reader.choice("rounding", SideRounding::ALL);
            let (size, rounding) = (size?, rounding?);
            if which == 1 { Sides::Short { size, rounding } } else { Sides::Long { size, rounding } }
        }
    };
    Some(Step::Resize { library: library?, sides, edge: edge? })
}

fn channels(reader: &mut Reader<'_>) -> Option<Channels> {
    let count = reader.count("count");
    let mean = given(reader, "mean", Reader::number_list_if);
    let std = given(reader, "std", Reader::number_list_if);
    let layout = reader.choice("layout", Layout::ALL);
    Some(Channels {
        count: count?,
        mean: mean?.unwrap_or_default(),
        std: std?.unwrap_or_default(),
        layout: layout?,
    })
}
