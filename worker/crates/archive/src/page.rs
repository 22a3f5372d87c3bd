//! A page of text as a grey picture, for viewers that show no reports.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

const HEIGHT: RasterHeight = RasterHeight::Size20;
const MARGIN: usize = 20;
/// Letters in a line.
const COLUMNS: usize = 84;
/// Lines on a page: no model has as many labels.
const MOST_LINES: usize = 1000;
const GROUND: u8 = 18;
const INK: u8 = 224;

/// 8-bit grey, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub width: u16,
    pub height: u16,
    pub pixels: Vec<u8>,
}

/// Draws lines, each broken where it is too long. What the font lacks becomes `?`.
pub(crate) fn draw(lines: &[String]) -> Page {
    let lines: Vec<String> = lines.iter().flat_map(|line| broken(line)).take(MOST_LINES).collect();
    let letter = get_raster(' ', FontWeight::Regular, HEIGHT).map_or(1, |raster| raster.width().max(1));
    let width = 2 * MARGIN + COLUMNS * letter;
    let height = 2 * MARGIN + lines.len() * HEIGHT.val();
    let mut pixels = vec![GROUND; width * height];
    for (nth, line) in lines.iter().enumerate() {
        let top = MARGIN + nth * HEIGHT.val();
        for (column, letter_of) in line.chars().enumerate() {
            let raster = |letter| get_raster(letter, FontWeight::Regular, HEIGHT);
            let Some(raster) = raster(letter_of).or_else(|| raster('?')) else { continue };
            for (y, row) in raster.rows().enumerate() {
                for (x, &cover) in row.iter().enumerate() {
                    let at = (top + y) * width + MARGIN + column * letter + x;
                    if let Some(pixel) = pixels.get_mut(at) {
                        let ink = u16::from(INK - GROUND) * u16::from(cover) / 255;
                        *pixel = GROUND + ink as u8;
                    }
                }
            }
        }
    }
    Page { width: width as u16, height: height as u16, pixels }
}

/// Words of a line in lines that fit; what follows the first is moved in. Spaces inside stay, so that columns stay columns.
fn broken(line: &str) -> Vec<String> {
    let mut made = Vec::new();
    let mut rest: Vec<char> = line.trim_end().chars().collect();
    while rest.len() > COLUMNS {
        let space = rest[..COLUMNS].iter().rposition(|c| *c == ' ').filter(|at| *at > COLUMNS / 3);
        let tail = rest.split_off(space.unwrap_or(COLUMNS));
        made.push(rest.iter().collect::<String>());
        rest = "  ".chars().chain(tail.into_iter().skip_while(|c| *c == ' ')).collect();
    }
    made.push(rest.into_iter().collect());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        let line = "word ".repeat(60);
        let lines = broken(&line);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= COLUMNS));
        let words: usize = lines.iter().map(|line| line.split_whitespace().count()).sum();
        assert_eq!(words, 60);
        assert!(broken(&"x".repeat(500)).iter().all(|line| line.len() <= COLUMNS));
        assert_eq!(broken(""), [""]);
    }

    #[test]
    fn a_page_has_ink_where_there_are_letters() {
        let blank = draw(&[String::new()]);
        assert!(blank.pixels.iter().all(|pixel| *pixel == GROUND));
        let text = draw(&["Pneumonia \u{4e2d}".to_owned()]);
        assert_eq!(text.pixels.len(), usize::from(text.width) * usize::from(text.height));
        assert!(text.pixels.iter().any(|pixel| *pixel > 200));
    }
}
