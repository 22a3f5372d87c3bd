//! The image that the golden arrays were made of, and the arrays.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use nightread_steps::{Samples, StoredImage};

/// The image of `parity/golden.py`, in 8 or in 16 bits.
#[derive(Clone, Debug)]
pub struct Image {
    pub words: Vec<u16>,
    pub bytes: Option<Vec<u8>>,
    pub width: usize,
    pub height: usize,
}

impl Image {
    pub const WIDTH: usize = 131;
    pub const HEIGHT: usize = 97;

    pub fn words() -> Self {
        let value = |i: u64, j: u64| {
            let noise = (i * 7919 + j * 104_729 + ((i * j) % 977) * 31) % 65536;
            (2000 + 300 * i + 150 * j + noise / 4) as u16
        };
        let rows = 0..Self::HEIGHT as u64;
        let words = rows.flat_map(|i| (0..Self::WIDTH as u64).map(move |j| value(i, j))).collect();
        Self { words, bytes: None, width: Self::WIDTH, height: Self::HEIGHT }
    }

    pub fn bytes() -> Self {
        let image = Self::words();
        let bytes = image.words.iter().map(|word| (word >> 8) as u8).collect();
        Self { bytes: Some(bytes), ..image }
    }

    /// The 96 rows from the first and the 128 columns from the second on.
    pub fn middle(self) -> Self {
        let rows = self.words.chunks_exact(self.width).take(96);
        let words: Vec<u16> = rows.flat_map(|row| row[1..129].iter().copied()).collect();
        let bytes = self.bytes.map(|_| words.iter().map(|word| (word >> 8) as u8).collect());
        Self { words, bytes, width: 128, height: 96 }
    }

    pub fn source(&self) -> StoredImage<'_> {
        let (samples, max_value) = match &self.bytes {
            Some(bytes) => (Samples::U8(bytes), 255),
            None => (Samples::U16(&self.words), 65535),
        };
        StoredImage { samples, width: self.width, height: self.height, max_value, window: None }
    }
}

/// An array, and whether it is of bytes.
#[derive(Debug)]
pub struct Npy {
    pub values: Vec<f32>,
    pub is_bytes: bool,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The names of all golden arrays.
pub fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() > 60, "{names:?}");
    names
}

/// Version 1 of the format, float32 or uint8, C order.
pub fn golden(name: &str) -> Npy {
    let bytes = fs::read(folder().join(format!("{name}.npy"))).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    assert!(text.contains("'fortran_order': False"), "{text}");
    let data = &bytes[10 + header..];
    if text.contains("'|u1'") {
        return Npy { values: data.iter().map(|&byte| f32::from(byte)).collect(), is_bytes: true };
    }
    assert!(text.contains("'<f4'"), "{text}");
    let values = data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    Npy { values, is_bytes: false }
}

/// The largest difference, and the range of the second.
pub fn furthest(ours: &[f32], theirs: &[f32]) -> (f64, f64) {
    let distance =
        ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    let least = theirs.iter().copied().fold(f32::INFINITY, f32::min);
    let most = theirs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (distance, f64::from(most) - f64::from(least))
}
