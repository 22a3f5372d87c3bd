//! An image to paint on: pixels and text.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster};

const HEIGHT: RasterHeight = RasterHeight::Size20;
/// From one line of text to the next, in pixels.
pub const LINE: usize = HEIGHT.val();

/// 8-bit RGB pixels, rows from the top.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize, ground: [u8; 3]) -> Self {
        Self { width, height, pixels: ground.repeat(width * height) }
    }

    /// Sets one pixel; one that lies outside is left out.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Writes one line with its upper left corner at (x, y), as far as there is room. What the font lacks becomes `?`.
    pub fn write(&mut self, mut x: usize, y: usize, text: &str, colour: [u8; 3]) {
        for letter in text.chars() {
            let Some(raster) = raster(letter) else { continue };
            for (row, line) in raster.rows().enumerate() {
                for (column, &cover) in line.iter().enumerate() {
                    self.mix(x + column, y + row, colour, cover);
                }
            }
            x += raster.width();
        }
    }

    fn mix(&mut self, x: usize, y: usize, colour: [u8; 3], cover: u8) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            for (below, above) in self.pixels[at..at + 3].iter_mut().zip(colour) {
                let (cover, rest) = (u32::from(cover), 255 - u32::from(cover));
                *below = ((u32::from(above) * cover + u32::from(*below) * rest + 127) / 255) as u8;
            }
        }
    }
}

fn raster(letter: char) -> Option<RasterizedChar> {
    let raster = |letter| get_raster(letter, FontWeight::Regular, HEIGHT);
    raster(letter).or_else(|| raster('?'))
}

/// Width of a letter in pixels; all have the same.
pub fn letter() -> usize {
    raster(' ').map_or(1, |raster| raster.width().max(1))
}
