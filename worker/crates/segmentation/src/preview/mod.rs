//! A label map over its volume, for the eye: three planes side by side in radiological orientation.

mod canvas;
#[cfg(test)]
mod tests;
mod view;

use std::fmt::{self, Display};

use png::{BitDepth, ColorType, Compression, Encoder};

use self::canvas::{Canvas, LINE, letter};
use self::view::{Frame, Plane, View};
use crate::labels::LabelMap;
use crate::segments::Name;
use crate::types::Grid;

/// Pixels of the longest side of the volume.
const SIDE: f64 = 384.0;
const MARGIN: usize = 8;
const GROUND: [u8; 3] = [18; 3];
const TEXT: [u8; 3] = [224; 3];
const NOTICE: &str = "Not for diagnosis";

/// An image of three planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub width: usize,
    pub height: usize,
    pub png: Vec<u8>,
}

/// Why nothing can be painted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewError {
    /// The volume has another number of voxels than the label map.
    OtherGrid { labels: [usize; 3], volume: [usize; 3] },
    /// The affine has no lengths, or a volume has no voxels.
    NoExtent,
    /// The encoder's words.
    Encoding(String),
}

impl Display for PreviewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherGrid { labels, volume } => {
                write!(f, "a label map of {labels:?} voxels does not lie on a volume of {volume:?}")
            }
            Self::NoExtent => f.write_str("the volume has no extent to be painted"),
            Self::Encoding(what) => write!(f, "the preview cannot be encoded: {what}"),
        }
    }
}

impl std::error::Error for PreviewError {}

/// Axial, coronal and sagittal, each through the slice with the most voxels of segments (the middle one without any):
/// soft tissue in grey, contours and names of the segments in the colours of [`colour`]. The patient's right is on the left,
/// millimetres are the same in all directions. The same input gives the same bytes.
///
/// # Errors
/// Grids of other shapes, an affine without lengths.
pub fn preview(labels: &LabelMap, hu: &Grid<i16>, names: &[Name]) -> Result<Preview, PreviewError> {
    let count = labels.shape.iter().product::<usize>();
    if labels.shape != hu.shape || labels.values.len() != count || hu.values.len() != count {
        return Err(PreviewError::OtherGrid { labels: labels.shape, volume: hu.shape });
    }
    let frame = Frame::new(&labels.affine).filter(|_| count > 0).ok_or(PreviewError::NoExtent)?;
    let longest = frame.extent_mm(labels.shape).into_iter().fold(0.0, f64::max);
    let (slices, seen) = fullest(labels, &frame);
    let views = Plane::ALL.map(|plane| {
        let index = slices[frame.through(plane)];
        View::new(labels, hu, &frame, plane, index, longest / SIDE)
    });
    let width = views.iter().map(|view| view.width + 2 * (letter() + MARGIN)).sum::<usize>() + 2 * MARGIN;
    let high = views.iter().map(|view| view.height).max().unwrap_or(0);
    let legend = legend(names, &seen, width - 2 * MARGIN);
    let below = high + 2 * LINE + 2 * MARGIN;
    let lines = 1 + legend.last().map_or(0, |entry| entry.line + 1);
    let mut canvas = Canvas::new(width, below + lines * LINE + MARGIN, GROUND);
    let mut left = MARGIN;
    for (plane, view) in Plane::ALL.into_iter().zip(&views) {
        let x = left + letter() + MARGIN / 2;
        let y = MARGIN + LINE + (high - view.height) / 2;
        paint(&mut canvas, view, x, y);
        let [west, east, north, south] = plane.letters();
        let (middle, centre) = ((y + view.height / 2).saturating_sub(LINE / 2), x + view.width / 2);
        canvas.write(left, middle, west, TEXT);
        canvas.write(x + view.width + MARGIN / 2, middle, east, TEXT);
        canvas.write(centre - letter() / 2, y - LINE, north, TEXT);
        canvas.write(centre - letter() / 2, y + view.height, south, TEXT);
        left += view.width + 2 * (letter() + MARGIN);
    }
    canvas.write(MARGIN, below, NOTICE, TEXT);
    for entry in &legend {
        canvas.write(MARGIN + entry.x, below + (1 + entry.line) * LINE, entry.name, colour(entry.index));
    }
    encode(&canvas)
}

/// The colour of a label: hues a golden angle apart, in three strengths.
pub fn colour(index: usize) -> [u8; 3] {
    let hue = (index as f64 * 0.618_033_988_749_895).fract() * 6.0;
    let (strength, value) = [(0.85, 255.0), (0.55, 255.0), (0.8, 205.0)][index % 3];
    [5.0, 3.0, 1.0].map(|corner| {
        // From hue, saturation and value, one formula for the three channels.
        let turn = (corner + hue) % 6.0;
        let share = turn.min(4.0 - turn).clamp(0.0, 1.0);
        (value * (1.0 - strength * share)).round() as u8
    })
}

/// For each axis of the grid the slice with the most voxels of segments, of equal ones the first along the axis of the world;
/// and which labels there are.
fn fullest(labels: &LabelMap, frame: &Frame) -> ([usize; 3], Vec<bool>) {
    let mut counts = labels.shape.map(|side| vec![0u64; side]);
    let mut seen = Vec::new();
    let [wide, high, _] = labels.shape;
    for at in 0..labels.values.len() {
        let label = labels.values.get(at);
        if label > 0 {
            for (counts, index) in counts.iter_mut().zip([at % wide, at / wide % high, at / wide / high]) {
                counts[index] += 1;
            }
            if seen.len() <= label {
                seen.resize(label + 1, false);
            }
            seen[label] = true;
        }
    }
    let fullest = [0, 1, 2].map(|axis| {
        let counts = &counts[axis];
        let most = counts.iter().copied().max().unwrap_or(0);
        let first = if frame.runs_along(axis) {
            counts.iter().position(|&count| count == most)
        } else {
            counts.iter().rposition(|&count| count == most)
        };
        first.filter(|_| most > 0).unwrap_or(counts.len() / 2)
    });
    (fullest, seen)
}

/// A name below the planes.
struct Entry<'a> {
    name: &'a str,
    index: usize,
    line: usize,
    x: usize,
}

/// Names of the labels that there are, from left to right in lines of `room` pixels.
fn legend<'a>(names: &'a [Name], seen: &[bool], room: usize) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    let (mut line, mut x) = (0, 0);
    for name in names.iter().filter(|name| seen.get(name.index).copied().unwrap_or(false)) {
        let length = (name.name.chars().count() + 2) * letter();
        if x > 0 && x + length > room {
            (line, x) = (line + 1, 0);
        }
        entries.push(Entry { name: &name.name, index: name.index, line, x });
        x += length;
    }
    entries
}

fn paint(canvas: &mut Canvas, view: &View, left: usize, top: usize) {
    for y in 0..view.height {
        for x in 0..view.width {
            let label = view.contour(x, y);
            let grey = [view.grey[y * view.width + x]; 3];
            canvas.set(left + x, top + y, if label > 0 { colour(label) } else { grey });
        }
    }
}

fn encode(canvas: &Canvas) -> Result<Preview, PreviewError> {
    let failed = |error: png::EncodingError| PreviewError::Encoding(error.to_string());
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, canvas.width as u32, canvas.height as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&canvas.pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(Preview { width: canvas.width, height: canvas.height, png })
}
