//! Paints a class-activation map over the image it explains.

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError, Stage};
use png::{BitDepth, ColorType, Compression, Encoder};

use crate::radiograph::Radiograph;
use crate::resize::centre_crop;

/// The largest side painted, in pixels.
const MAX_SIZE: u32 = 2048;
/// How much of the colour covers the image where the map is strongest.
const OPACITY: f32 = 0.6;

/// Upsamples the map `cam` of `shape` (height, width) bilinearly over the centre crop the model saw and paints it,
/// from clear through blue, green and yellow to red. Only positive activations are shown, scaled so that the
/// strongest is red; a map without any leaves the image grey.
///
/// Returns a PNG of `size` x `size` pixels, 8-bit RGB.
///
/// # Errors
/// `internal` when the map's length is not its shape's, or the size is not within 1..=2048.
pub fn paint_heatmap(
    image: &Radiograph,
    cam: &[f32],
    shape: (usize, usize),
    size: u32,
) -> Result<Vec<u8>, JobError> {
    let fault = |message: String| JobError::new(Stage::Report, ErrorCode::Internal, message);
    let (height, width) = shape;
    if cam.is_empty() || height.checked_mul(width) != Some(cam.len()) {
        return Err(fault(format!("a map of {} values is not {height} x {width}", cam.len())));
    }
    if size == 0 || size > MAX_SIZE {
        return Err(fault(format!("a heatmap of {size} pixels cannot be painted; 1 to {MAX_SIZE} can")));
    }
    // `f32::max` passes over NaN, so a broken value counts as no activation.
    let strongest = cam.iter().copied().fold(0.0f32, f32::max);
    let grey = Grey::new(image);
    let side = size as usize;
    let mut pixels = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        let (top, bottom, down) = neighbours(y, side, height);
        for x in 0..side {
            let (left, right, across) = neighbours(x, side, width);
            let at = |row: usize, column: usize| cam[row * width + column].max(0.0);
            let upper = at(top, left) * (1.0 - across) + at(top, right) * across;
            let lower = at(bottom, left) * (1.0 - across) + at(bottom, right) * across;
            let heat = upper * (1.0 - down) + lower * down;
            let heat = if strongest > 0.0 { (heat / strongest).clamp(0.0, 1.0) } else { 0.0 };
            let grey = grey.mean(x, y, side);
            let cover = OPACITY * heat;
            pixels.extend(colour(heat).map(|c| (grey * (1.0 - cover) + c * 255.0 * cover).round() as u8));
        }
    }
    encode(&pixels, size)
        .map_err(|error| fault("the heatmap cannot be encoded".to_owned()).with_source(error))
}

/// The two map cells around the centre of output pixel `o`, and how far it lies towards the second.
fn neighbours(o: usize, size: usize, cells: usize) -> (usize, usize, f32) {
    let at = ((o as f32 + 0.5) * cells as f32 / size as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
    let first = at as usize;
    (first, (first + 1).min(cells - 1), at - first as f32)
}

/// Clear blue to red over green and yellow; components from 0 to 1.
fn colour(heat: f32) -> [f32; 3] {
    let ramp = |centre: f32| (1.5 - (4.0 * heat - centre).abs()).clamp(0.0, 1.0);
    [ramp(3.0), ramp(2.0), ramp(1.0)]
}

/// The image as the reader sees it: the crop, stretched from its own darkest to its own brightest sample.
struct Grey<'a> {
    image: &'a Radiograph,
    crop: (usize, usize, usize),
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
        Self { image, crop: centre_crop(image.width(), image.height()), low, scale }
    }

    /// The mean of the source pixels under output pixel (x, y), at least one, from 0 to 255.
    fn mean(&self, x: usize, y: usize, size: usize) -> f32 {
        let (left, top, side) = self.crop;
        let width = self.image.width() as usize;
        let span = |o: usize| {
            let first = o * side / size;
            first..((o + 1) * side / size).clamp(first + 1, side)
        };
        let (rows, columns) = (span(y), span(x));
        let mut sum = 0.0;
        for row in rows.clone() {
            let start = (top + row) * width + left;
            let at = start + columns.start..start + columns.end;
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

fn encode(pixels: &[u8], size: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, size, size);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use nightread_domain::media::Media;

    use super::*;
    use crate::radiograph::Facts;

    fn flat(width: u32, height: u32) -> Radiograph {
        let samples: Vec<u16> = (0..width * height).map(|i| (i % 4096) as u16).collect();
        Radiograph::new(width, height, Samples::U16(samples), 4095, Facts::new(Media::Png), Vec::new())
            .unwrap()
    }

    fn paint(image: &Radiograph, cam: &[f32], shape: (usize, usize), size: u32) -> Vec<[u8; 3]> {
        let bytes = paint_heatmap(image, cam, shape, size).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (size, size, ColorType::Rgb));
        pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect()
    }

    #[test]
    fn heat_lies_where_the_map_is_hot() {
        let mut cam = vec![0.0; 49];
        cam[7] = 2.0; // row 1, column 0
        cam[48] = -5.0;
        let pixels = paint(&flat(300, 260), &cam, (7, 7), 224);
        let red = |x: usize, y: usize| i32::from(pixels[y * 224 + x][0]) - i32::from(pixels[y * 224 + x][2]);
        assert!(red(16, 48) > 60, "the hot cell's centre is red");
        let [r, g, b] = pixels[216 * 224 + 216];
        assert!(r == g && g == b, "negative and zero activations leave the image grey");
    }

    #[test]
    fn small_images_empty_maps_and_nan_are_painted() {
        let grey = |pixels: Vec<[u8; 3]>| pixels.iter().all(|[r, g, b]| r == g && g == b);
        assert!(grey(paint(&flat(1, 1), &[0.0], (1, 1), 32)));
        assert!(grey(paint(&flat(3, 500), &[f32::NAN; 4], (2, 2), 64)));
    }

    #[test]
    fn wrong_shapes_and_sizes_are_refused() {
        let image = flat(10, 10);
        for (cam, shape, size) in [
            (vec![1.0; 3], (2, 2), 10),
            (vec![], (0, 0), 10),
            (vec![1.0], (1, 1), 0),
            (vec![1.0], (1, 1), 4096),
        ] {
            let error = paint_heatmap(&image, &cam, shape, size).unwrap_err();
            assert_eq!(error.code, ErrorCode::Internal);
        }
    }
}
