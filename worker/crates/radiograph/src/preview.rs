//! A radiograph as people look at it: small, in 8 bits, its aspect kept.

use nightread_dicom::Samples;

use crate::radiograph::Radiograph;

/// Share of the samples at each end that may be black or white through and through: markers and borders.
const CLIPPED: f64 = 0.005;

/// An image of 8-bit grey, rows first from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

/// The whole image with its longer side at most `side` pixels: each pixel is the mean of the samples under it, and grey goes
/// from the darkest to the brightest half of a percent. Images are never enlarged. For the eye alone: no network sees it.
pub fn preview(image: &Radiograph, side: u32) -> Preview {
    let (wide, high) = (image.width().max(1), image.height().max(1));
    let longer = wide.max(high);
    let side = side.clamp(1, longer);
    let [width, height] =
        [wide, high].map(|length| ((u64::from(length) * u64::from(side) / u64::from(longer)) as u32).max(1));
    let (low, high_end) = match image.samples() {
        Samples::U8(samples) => ends(samples),
        Samples::U16(samples) => ends(samples),
    };
    let scale = if high_end > low { 255.0 / (high_end - low) } else { 0.0 };
    let mut pixels = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        let rows = span(y, height, high);
        for x in 0..width {
            let columns = span(x, width, wide);
            let mut sum = 0.0;
            for row in rows.clone() {
                let at = row * wide as usize;
                let at = at + columns.start..at + columns.end;
                sum += match image.samples() {
                    Samples::U8(samples) => samples[at].iter().map(|&v| f64::from(v)).sum::<f64>(),
                    Samples::U16(samples) => samples[at].iter().map(|&v| f64::from(v)).sum::<f64>(),
                };
            }
            let mean = sum / (rows.len() * columns.len()) as f64;
            pixels.push(((mean - low) * scale).round().clamp(0.0, 255.0) as u8);
        }
    }
    Preview { width, height, pixels }
}

/// The source pixels under output pixel `at`, at least one.
fn span(at: u32, size: u32, length: u32) -> std::ops::Range<usize> {
    let [first, next] = [at, at + 1].map(|at| (u64::from(at) * u64::from(length) / u64::from(size)) as usize);
    first..next.max(first + 1)
}

/// The values that half a percent of the samples lie below and above.
fn ends<T: Copy + Into<u32>>(samples: &[T]) -> (f64, f64) {
    let mut counts = vec![0u64; 1 << 16];
    for &sample in samples {
        counts[(sample.into() as usize).min((1 << 16) - 1)] += 1;
    }
    let most = (samples.len() as f64 * CLIPPED) as u64;
    let counts = counts.iter().enumerate();
    (first_over(most, counts.clone()), first_over(most, counts.rev()))
}

/// The value at which more than `most` samples have passed.
fn first_over<'c>(most: u64, counts: impl Iterator<Item = (usize, &'c u64)>) -> f64 {
    let mut passed = 0;
    for (value, count) in counts {
        passed += count;
        if passed > most {
            return value as f64;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use nightread_domain::media::Media;

    use super::*;
    use crate::radiograph::Facts;

    fn image(width: u32, height: u32, samples: Vec<u16>) -> Radiograph {
        Radiograph::new(width, height, Samples::U16(samples), 65535, Facts::new(Media::Png), Vec::new())
            .unwrap()
    }

    #[test]
    fn aspect_and_order_are_kept() {
        let samples: Vec<u16> = (0..300 * 100).map(|at| if at % 300 < 150 { 100 } else { 900 }).collect();
        let seen = preview(&image(300, 100, samples), 30);
        assert_eq!((seen.width, seen.height, seen.pixels.len()), (30, 10, 300));
        assert!(seen.pixels.chunks(30).all(|row| row[..15] == [0; 15] && row[15..] == [255; 15]));
    }

    #[test]
    fn small_flat_and_narrow_images_are_shown() {
        assert_eq!(preview(&image(2, 1, vec![7, 7]), 512).pixels, [0, 0]);
        let narrow = preview(&image(1, 900, vec![1; 900]), 9);
        assert_eq!((narrow.width, narrow.height), (1, 9));
    }

    #[test]
    fn a_bright_marker_does_not_darken_the_rest() {
        let mut samples = vec![100u16; 10_000];
        samples[5000..].fill(200);
        samples[9_990..].fill(65535);
        let seen = preview(&image(100, 100, samples), 100);
        assert_eq!((seen.pixels[0], seen.pixels[6000], seen.pixels[9_999]), (0, 255, 255));
    }
}
