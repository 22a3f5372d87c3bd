#![allow(clippy::excessive_precision, reason = "golden numbers are kept as they were printed")]

use nightread_domain::media::Media;
use proptest::prelude::*;

use super::*;
use crate::radiograph::Facts;

fn image(width: u32, height: u32, max_value: u32, value: impl Fn(u64, u64) -> u16) -> Radiograph {
    let samples = (0..u64::from(height))
        .flat_map(|i| (0..u64::from(width)).map(move |j| (i, j)))
        .map(|(i, j)| value(i, j))
        .collect();
    let facts = Facts::new(Media::Png);
    Radiograph::new(width, height, Samples::U16(samples), max_value, facts, Vec::new()).unwrap()
}

fn prepared(image: &Radiograph, size: u32) -> Vec<f32> {
    prepare(image, &XrvPreprocessing::new(size).unwrap())
}

/// TorchXRayVision's own numbers.
#[test]
fn normalisation_is_bit_exact() {
    let golden = [
        (0, -1024.0),
        (1, -1023.96875),
        (2047, -960.030_273_437_5),
        (4095, -896.029_296_875),
        (32767, -0.015_625),
        (32768, 0.015_625),
        (65534, 1023.96875),
        (65535, 1024.0f32),
    ];
    for (value, expected) in golden {
        assert_eq!(normalise(value, 65535.0).to_bits(), expected.to_bits(), "{value}");
    }
}

fn close(ours: f32, golden: f64) -> bool {
    (f64::from(ours) - golden).abs() <= 1e-3
}

/// Computed once with scikit-image 0.25.2.
#[test]
fn golden_values_of_a_small_noisy_image() {
    let noisy =
        image(260, 300, 65535, |i, j| ((i * 7919 + j * 104_729 + ((i * j) % 977) * 31) % 65536) as u16);
    assert_eq!(centre_crop(260, 300), (0, 20, 260));
    let out = prepared(&noisy, 224);
    let at = |row: usize, column: usize| out[row * 224 + column];
    assert!(close(at(0, 0), -215.315_124_511_718_75));
    assert!(close(at(0, 223), -15.072_793_006_896_973));
    assert!(close(at(111, 57), -120.559_127_807_617_19));
    assert!(close(at(223, 223), -767.508_422_851_562_5));
    assert!(close(out.iter().copied().fold(f32::MAX, f32::min), -990.408_996_582_031_2));
    assert!(close(out.iter().copied().fold(f32::MIN, f32::max), 993.319_641_113_281_2));
    let sum: f64 = out.iter().map(|&v| f64::from(v)).sum();
    assert!((sum + 17_399.530_573_268_87).abs() < 0.1, "{sum}");
}

#[test]
fn golden_values_of_an_image_of_padchest_size() {
    let smooth = image(1758, 2021, 65535, |i, j| {
        (32768.0 + 20000.0 * (i as f64 / 97.0).sin() * (j as f64 / 61.0).cos()) as u16
    });
    assert_eq!(centre_crop(1758, 2021), (0, 131, 1758));
    assert_eq!(half_kernel(1758, 224).len() - 1, 14);
    let out = prepared(&smooth, 224);
    let at = |row: usize, column: usize| out[row * 224 + column];
    assert!(close(at(0, 0), 466.563_323_974_609_4));
    assert!(close(at(0, 112), -173.003_128_051_757_8));
    assert!(close(at(111, 57), -225.826_339_721_679_7));
    assert!(close(at(223, 223), -229.989_517_211_914_06));
    let sum: f64 = out.iter().map(|&v| f64::from(v)).sum();
    assert!((sum - 18_413.493_567_223_195).abs() < 0.1, "{sum}");
}

/// The definition, written for reading: whole arrays, no shortcuts.
fn slow(samples: &[u16], width: usize, height: usize, max_value: u32, size: usize) -> Vec<f32> {
    let side = width.min(height);
    let (top, left) = (height / 2 - side / 2, width / 2 - side / 2);
    let mut square: Vec<Vec<f32>> = (0..side)
        .map(|y| {
            let row = &samples[(top + y) * width + left..][..side];
            row.iter().map(|&v| (2.0 * (f32::from(v) / max_value as f32) - 1.0) * 1024.0).collect()
        })
        .collect();
    let all = || square.iter().flatten().copied();
    let (low, high) = (all().fold(f32::MAX, f32::min), all().fold(f32::MIN, f32::max));
    if side > size {
        let sigma = (side as f64 / size as f64 - 1.0) / 2.0;
        let radius = (4.0 * sigma + 0.5) as i64;
        let raw: Vec<f64> =
            (-radius..=radius).map(|k| (-0.5 / (sigma * sigma) * (k * k) as f64).exp()).collect();
        let total: f64 = raw.iter().sum();
        let weight = |k: i64| raw[(k + radius) as usize] / total;
        let blur = |line: &[f32]| -> Vec<f32> {
            let at =
                |i: i64| usize::try_from(i).ok().and_then(|i| line.get(i)).map_or(0.0, |&v| f64::from(v));
            (0..line.len() as i64)
                .map(|i| {
                    let mut sum = at(i) * weight(0);
                    for k in -radius..0 {
                        sum += (at(i + k) + at(i - k)) * weight(k);
                    }
                    sum as f32
                })
                .collect()
        };
        let transpose = |m: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            (0..side).map(|x| m.iter().map(|row| row[x]).collect()).collect()
        };
        square = transpose(transpose(square).iter().map(|column| blur(column)).collect());
        square = square.iter().map(|row| blur(row)).collect();
    }
    let factor = side as f64 / size as f64;
    let position = |o: usize| {
        let at = factor * o as f64 + (0.5 * factor - 0.5);
        (at.floor() as i64, at - at.floor())
    };
    let at = |y: i64, x: i64| -> f64 {
        let row = usize::try_from(y).ok().and_then(|y| square.get(y));
        row.and_then(|row| usize::try_from(x).ok().and_then(|x| row.get(x))).map_or(0.0, |&v| f64::from(v))
    };
    let mut out = Vec::new();
    for row in 0..size {
        let (y, down) = position(row);
        for column in 0..size {
            let (x, across) = position(column);
            let mut sum = 0.0;
            for (dy, wy) in [(0, 1.0 - down), (1, down)] {
                for (dx, wx) in [(0, 1.0 - across), (1, across)] {
                    sum += at(y + dy, x + dx) * wy * wx;
                }
            }
            out.push(sum as f32);
        }
    }
    let reaches_zero = out.iter().any(|&v| v <= 0.0) && out.iter().any(|&v| v >= 0.0);
    let (low, high) = if reaches_zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
    out.iter().map(|v| v.clamp(low, high)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Shrinking, growing, identity, one pixel wide: the fast way gives the slow way's bits.
    #[test]
    fn fast_equals_slow(
        width in 1u32..120,
        height in 1u32..120,
        size in 1u32..48,
        identity in prop::bool::weighted(0.1),
        low in 0u16..=65535,
        span in 1u16..=65535,
        seed in any::<u64>(),
    ) {
        let size = if identity { width.min(height) } else { size };
        let mut state = seed | 1;
        let samples: Vec<u16> = (0..width * height)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                low.saturating_add((state % u64::from(span)) as u16)
            })
            .collect();
        let facts = Facts::new(Media::Png);
        let ours = Radiograph::new(width, height, Samples::U16(samples.clone()), 65535, facts.clone(), Vec::new()).unwrap();
        let slow_wide = slow(&samples, width as usize, height as usize, 65535, size as usize);
        prop_assert_eq!(prepared(&ours, size), slow_wide);

        let bytes: Vec<u8> = samples.iter().map(|v| (v >> 8) as u8).collect();
        let words: Vec<u16> = bytes.iter().map(|&v| u16::from(v)).collect();
        let ours = Radiograph::new(width, height, Samples::U8(bytes), 255, facts, Vec::new()).unwrap();
        let slow_bytes = slow(&words, width as usize, height as usize, 255, size as usize);
        prop_assert_eq!(prepared(&ours, size), slow_bytes);
    }
}

#[test]
fn identity_is_the_normalised_crop() {
    let image = image(224, 230, 4095, |i, j| ((i * 17 + j * 5) % 4096) as u16);
    let out = prepared(&image, 224);
    for (row, column) in [(0u64, 0u64), (0, 223), (100, 7), (223, 223)] {
        let value = ((row + 3) * 17 + column * 5) % 4096;
        let expected = normalise(value as u32, 4095.0);
        assert_eq!(out[(row * 224 + column) as usize].to_bits(), expected.to_bits());
    }
}

#[test]
fn sizes_are_bounded() {
    assert!(XrvPreprocessing::new(0).is_none());
    assert!(XrvPreprocessing::new(MAX_SIZE + 1).is_none());
    assert_eq!(XrvPreprocessing::new(MAX_SIZE).unwrap().size(), MAX_SIZE);
}
