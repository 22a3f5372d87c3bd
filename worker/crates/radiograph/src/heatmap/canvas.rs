//! An image to paint on: rectangles and text.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

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

    fn get(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Writes one line with its upper left corner at (x, y), as far as there is room. What the font lacks becomes `?`.
    pub fn write(&mut self, mut x: usize, y: usize, text: &str, colour: [u8; 3]) {
        for letter in text.chars() {
            let letters = [letter, '?'];
            let Some(raster) =
                letters.into_iter().find_map(|letter| get_raster(letter, FontWeight::Regular, HEIGHT))
            else {
                continue;
            };
            for (row, line) in raster.rows().enumerate() {
                for (column, &cover) in line.iter().enumerate() {
                    if x + column < self.width && y + row < self.height {
                        let below = self.get(x + column, y + row);
                        self.set(x + column, y + row, blend(below, colour, f32::from(cover) / 255.0));
                    }
                }
            }
            x += raster.width();
        }
    }
}

/// Width of a letter in pixels; all have the same.
pub fn letter() -> usize {
    get_raster(' ', FontWeight::Regular, HEIGHT).map_or(1, |raster| raster.width().max(1))
}

/// `above` over `below`, covering the share `cover` of it.
pub fn blend(below: [u8; 3], above: [u8; 3], cover: f32) -> [u8; 3] {
    std::array::from_fn(|c| (f32::from(below[c]) * (1.0 - cover) + f32::from(above[c]) * cover).round() as u8)
}

/// The words of `text` in lines of at most `room` letters; a longer word is broken.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut letters: Vec<char> = word.chars().collect();
        while !letters.is_empty() {
            let Some(line) = lines.last_mut() else { break };
            let taken = line.chars().count();
            let joint = usize::from(taken > 0);
            if taken + joint + letters.len() > room && taken > 0 {
                lines.push(String::new());
                continue;
            }
            if joint == 1 {
                line.push(' ');
            }
            let rest = letters.split_off(letters.len().min(room));
            line.extend(letters);
            letters = rest;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("what speaks for it", 11), ["what speaks", "for it"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn text_is_written_and_cut_where_the_canvas_ends() {
        let mut canvas = Canvas::new(30, 24, [0; 3]);
        canvas.write(0, 0, "Aé\u{1f9e0}AAAAAAAA", [255; 3]);
        canvas.write(29, 23, "A", [255; 3]);
        canvas.write(400, 400, "A", [255; 3]);
        assert!(canvas.pixels.iter().any(|&x| x > 200));
    }
}
