//! Paints a class-activation map over the image that it explains.
//!
//! The map c (Zhou et al. 2016) is in logits: its mean and the bias are the label's logit, so that c at a place is what the
//! logit would gain if the whole image looked as it does there. One scale serves all labels and all images:
//!
//! - strength: h = c / 20, from 0 to 1;
//! - colour: inferno at 1/4 + 3/4 h, so that it is brighter the stronger the place is (the darkest quarter is left out);
//! - cover: 0.7 sqrt(p) sqrt((h - 0.1) / 0.9), with p the finding's probability; nothing is tinted at and below h = 0.1.
//!
//! So a place that speaks for the finding with as much weight is fainter where the finding is less probable. The grey below
//! the tint is dimmed to 0.7, so that bright bone does not pass for heat; the original stands beside it.

mod canvas;
mod inferno;
mod part;
mod spline;

use std::ops::Range;

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError, Stage};
use nightread_steps::Field;
use png::{BitDepth, ColorType, Compression, Encoder};

use self::canvas::{Canvas, LINE, blend, letter, wrapped};
use self::inferno::inferno;
use self::part::Part;
use self::spline::upsample;
use crate::npy::npy;
use crate::radiograph::Radiograph;

/// The largest side painted, in pixels.
const MAX_SIZE: u32 = 2048;
/// Activation that gets the strongest colour, in logits. That of the demonstration model reaches 12 in doubtful and 22 in
/// clear findings.
const FULL_SCALE: f32 = 20.0;
/// Share of the scale at and below which nothing is tinted.
const FLOOR: f32 = 0.1;
/// How much of the image the strongest colour covers where the finding is certain.
const OPACITY: f32 = 0.7;
/// The grey below the tint, against that of the original.
const DIMMED: f32 = 0.7;
/// The part of the colour map that is used begins here.
const FIRST_COLOUR: f32 = 0.25;

const MARGIN: usize = 12;
const BAR: usize = 20;
/// Steps of the colour bar that have a number.
const TICKS: usize = 4;
const GROUND: [u8; 3] = [18; 3];
const TEXT: [u8; 3] = [224; 3];

/// The finding that a heatmap is about, as the document has it.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    pub label: &'a str,
    pub logit: f32,
    pub probability: f32,
    pub threshold: f32,
    pub positive: bool,
    /// Name and version.
    pub model: &'a str,
    /// Name and version of the program.
    pub software: &'a str,
    pub notice: &'a str,
}

impl Explained<'_> {
    fn sentence(&self) -> String {
        let Self { label, probability, threshold, logit, .. } = *self;
        let decided = if self.positive { "positive" } else { "negative" };
        format!(
            "{label}: {decided}, probability {probability:.3} (threshold {threshold:.3}), logit {logit:.2}"
        )
    }
}

/// The class-activation map of one label: rows of single values, in logits.
#[derive(Clone, Copy, Debug)]
pub struct ActivationMap<'a> {
    values: &'a [f32],
    height: usize,
    width: usize,
}

impl<'a> ActivationMap<'a> {
    /// # Errors
    /// `internal` when the number of values is not that of the shape.
    pub fn new(values: &'a [f32], height: usize, width: usize) -> Result<Self, JobError> {
        if values.is_empty() || height.checked_mul(width) != Some(values.len()) {
            return Err(fault(format!("a map of {} values is not {height} x {width}", values.len())));
        }
        Ok(Self { values, height, width })
    }

    /// The map itself as a `.npy` file: single precision, rows from the top.
    pub fn npy(&self) -> Vec<u8> {
        npy(self.values, &[self.height, self.width])
    }
}

fn fault(message: String) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, message)
}

/// Paints heatmaps of one image.
#[derive(Debug)]
pub struct HeatmapPainter {
    /// Side of the squares in which each of the two images lies, in pixels.
    side: usize,
    part: Part,
    /// The part of the image that the network saw: rows of values from 0 to 255.
    grey: Vec<f32>,
}

impl HeatmapPainter {
    /// `field` is what of the image the network sees, `size` the longer side of each of the two images in pixels.
    ///
    /// # Errors
    /// `internal` when the size is not within 1..=2048, or the network sees nothing of the image.
    pub fn new(image: &Radiograph, field: &Field, size: u32) -> Result<Self, JobError> {
        if size == 0 || size > MAX_SIZE {
            return Err(fault(format!("a heatmap of {size} pixels cannot be painted; 1 to {MAX_SIZE} can")));
        }
        let (side, sides) = (size as usize, [image.width() as usize, image.height() as usize]);
        let part = Part::new(field, sides, side)
            .ok_or_else(|| fault(format!("the network sees nothing of an image of {sides:?}: {field:?}")))?;
        let grey = Grey::new(image);
        let rows = (0..part.down.pixels).map(|y| part.down.source(y));
        let pixels = rows.flat_map(|rows| {
            let columns = (0..part.across.pixels).map(|x| part.across.source(x));
            columns.map(|columns| grey.mean(&rows, &columns)).collect::<Vec<_>>()
        });
        Ok(Self { side, part, grey: pixels.collect() })
    }

    /// Paints the part of the image that the network saw, in the image's proportions, and beside it the same with the map
    /// over it, the colour bar in logits, and what the finding is. The map lies evenly over all that the network saw, bands
    /// around the image included, and is upsampled by a cubic spline.
    ///
    /// Returns a PNG, 8-bit RGB, with the chunks `Software`, `Title` and `Description`.
    ///
    /// # Errors
    /// `internal` when it cannot be encoded.
    pub fn paint(&self, map: &ActivationMap<'_>, explained: &Explained<'_>) -> Result<Vec<u8>, JobError> {
        let side = self.side;
        let texts = [
            explained.sentence(),
            format!("{}; {}", explained.model, explained.software),
            format!(
                "Colour: how a place adds to the logit, on one scale for all labels and images; clear below {:.0}; the \
                 less probable the finding, the fainter",
                FLOOR * FULL_SCALE
            ),
            explained.notice.to_owned(),
        ];
        let numbers = 4 * letter();
        let width = 4 * MARGIN + 2 * side + BAR + MARGIN / 2 + numbers;
        let room = (width - 2 * MARGIN) / letter();
        let lines: Vec<String> = texts.iter().flat_map(|text| wrapped(text, room)).collect();
        let top = MARGIN + LINE;
        let mut canvas = Canvas::new(width, top + side + MARGIN + lines.len() * LINE + MARGIN, GROUND);
        let (left, right, bar) = (MARGIN, 2 * MARGIN + side, 3 * MARGIN + 2 * side);
        for (x, caption) in
            [(left, "what the network saw"), (right, "what speaks for the finding"), (bar, "logit")]
        {
            canvas.write(x, MARGIN / 2, caption, TEXT);
        }
        self.paint_images(&mut canvas, (left, right, top), map, explained.probability);
        paint_bar(&mut canvas, bar, top, side);
        for (n, line) in lines.iter().enumerate() {
            canvas.write(MARGIN, top + side + MARGIN + n * LINE, line, TEXT);
        }
        encode(&canvas, explained)
            .map_err(|error| fault("the heatmap cannot be encoded".to_owned()).with_source(error))
    }

    /// The two images, with their upper left corners at (left, top) and (right, top).
    fn paint_images(
        &self,
        canvas: &mut Canvas,
        (left, right, top): (usize, usize, usize),
        map: &ActivationMap<'_>,
        probability: f32,
    ) {
        let Part { across, down } = self.part;
        let finite: Vec<f32> = map.values.iter().map(|&x| if x.is_finite() { x } else { 0.0 }).collect();
        let activation = upsample(&finite, map.width, &down.cells(map.height), &across.cells(map.width));
        for (pixel, (&shade, &activation)) in self.grey.iter().zip(&activation).enumerate() {
            let (x, y) = (across.offset + pixel % across.pixels, down.offset + pixel / across.pixels);
            canvas.set(left + x, top + y, [shade.round() as u8; 3]);
            let (colour, cover) = tint(activation, probability);
            canvas.set(right + x, top + y, blend([(shade * DIMMED).round() as u8; 3], colour, cover));
        }
    }
}

/// Colour of an activation in logits, and how much of the image it covers.
fn tint(activation: f32, probability: f32) -> ([u8; 3], f32) {
    let strength = (activation / FULL_SCALE).clamp(0.0, 1.0);
    let colour = inferno(FIRST_COLOUR + (1.0 - FIRST_COLOUR) * strength);
    let above = ((strength - FLOOR) / (1.0 - FLOOR)).max(0.0);
    (colour, OPACITY * (probability.clamp(0.0, 1.0) * above).max(0.0).sqrt())
}

/// The scale from the floor to the strongest colour, with numbers in logits.
fn paint_bar(canvas: &mut Canvas, left: usize, top: usize, side: usize) {
    for y in 0..side {
        let strength = 1.0 - y as f32 / (side.max(2) - 1) as f32;
        let (colour, cover) = tint(strength * FULL_SCALE, 1.0);
        let shown = if cover > 0.0 { colour } else { [0; 3] };
        for x in 0..BAR {
            canvas.set(left + x, top + y, shown);
        }
    }
    for tick in 0..=TICKS {
        let share = tick as f32 / TICKS as f32;
        let centre = top as f32 + (1.0 - share) * (side - 1) as f32;
        let more = if tick == TICKS { "+" } else { "" };
        let text = format!("{:.0}{more}", share * FULL_SCALE);
        let y = (centre - LINE as f32 / 2.0).max(0.0) as usize;
        canvas.write(left + BAR + MARGIN / 2, y, &text, TEXT);
    }
}

/// The image as the reader sees it, stretched from its own darkest to its own brightest sample.
struct Grey<'a> {
    image: &'a Radiograph,
    low: f32,
    scale: f32,
}

impl<'a> Grey<'a> {
    fn new(image: &'a Radiograph) -> Self {
        let (low, high) = match image.samples() {
            Samples::U8(samples) => extremes(samples),
            Samples::U16(samples) => extremes(samples),
        };
        let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
        Self { image, low, scale }
    }

    /// The mean of these pixels, from 0 to 255.
    fn mean(&self, rows: &Range<usize>, columns: &Range<usize>) -> f32 {
        let width = self.image.width() as usize;
        let mut sum = 0.0;
        for row in rows.clone() {
            let at = row * width + columns.start..row * width + columns.end;
            sum += match self.image.samples() {
                Samples::U8(samples) => samples[at].iter().map(|&v| f32::from(v)).sum::<f32>(),
                Samples::U16(samples) => samples[at].iter().map(|&v| f32::from(v)).sum::<f32>(),
            };
        }
        (sum / (rows.len() * columns.len()) as f32 - self.low) * self.scale
    }
}

fn extremes<T: Copy + Ord + Into<f32>>(samples: &[T]) -> (f32, f32) {
    let low = samples.iter().copied().min().map_or(0.0, Into::into);
    let high = samples.iter().copied().max().map_or(0.0, Into::into);
    (low, high)
}

fn encode(canvas: &Canvas, explained: &Explained<'_>) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, canvas.width as u32, canvas.height as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let title = format!("{}: what speaks for the finding", explained.label);
    let description = format!("{}. {}. {}", explained.sentence(), explained.model, explained.notice);
    for (keyword, text) in
        [("Software", explained.software.to_owned()), ("Title", title), ("Description", description)]
    {
        encoder.add_itxt_chunk(keyword.to_owned(), text)?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
