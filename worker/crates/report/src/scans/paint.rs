//! Views of a map as PNG with a palette: the template in grey, what is over a floor in colour, nothing where there is no brain.

use nightread_domain::JobError;
use nightread_domain::{ErrorCode, Stage};
use png::{BitDepth, ColorType, Compression, Encoder};

use super::brain::{Brain, GREYS, Plane, View, glass, slice};

/// Steps of colour to each side of zero.
const STEPS: u8 = 64;
/// Voxels between two views of one image.
const GAP: usize = 4;

/// Dark to bright, so that the farthest from zero is the brightest: positive.
const WARM: [[u8; 3]; 4] = [[0x8c, 0x0f, 0x0f], [0xe0, 0x3a, 0x10], [0xff, 0x9a, 0x1f], [0xff, 0xf1, 0x8a]];
/// And negative.
const COLD: [[u8; 3]; 4] = [[0x16, 0x2a, 0x8c], [0x1c, 0x6a, 0xd8], [0x2f, 0xb4, 0xe6], [0xb8, 0xf4, 0xf2]];

/// From where to where a colour bar goes: |value| below `floor` is not coloured, at `top` and above it is brightest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub floor: f64,
    pub top: f64,
}

impl Range {
    /// The palette's entry of a value; `None` under the floor.
    fn entry(self, value: f64) -> Option<u8> {
        if value.abs() < self.floor || value == 0.0 {
            return None;
        }
        let share = (value.abs() - self.floor) / (self.top - self.floor).max(f64::MIN_POSITIVE);
        let step = (share * f64::from(STEPS)).clamp(0.0, f64::from(STEPS - 1)) as u8;
        Some(GREYS + step + if value > 0.0 { 0 } else { STEPS })
    }
}

/// An image with its size in pixels.
#[derive(Clone, Debug)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    pub png: Vec<u8>,
    /// Where each of its views begins from the left, and how wide it is.
    pub views: Vec<(usize, usize)>,
}

/// Slices through `voxel` of the template, with the map over it.
///
/// # Errors
/// `internal` when the image cannot be encoded.
pub fn slices(brain: &Brain, map: &[f64], voxel: [usize; 3], range: Range) -> Result<Image, JobError> {
    let views = Plane::ALL.map(|plane| {
        let under = brain.slice(plane, voxel);
        let over = slice(brain.grid(), map, plane, voxel);
        let pixels = under.pixels.iter().zip(&over.pixels);
        let pixels = pixels.map(|(&grey, &value)| range.entry(value).unwrap_or(grey)).collect();
        View { width: under.width, height: under.height, pixels }
    });
    let mut palette = Vec::new();
    for grey in 0..GREYS {
        // A little brighter than measured, so that the colours stand out and not the brain.
        let tone = 40 + (u16::from(grey) * 190 / u16::from(GREYS - 1)) as u8;
        palette.extend([tone; 3]);
    }
    encode(&side_by_side(&views), palette, vec![0])
}

/// The map seen through the head from three sides, inside of the brain's outline.
///
/// # Errors
/// `internal` when the image cannot be encoded.
pub fn glass_brain(brain: &Brain, map: &[f64], range: Range) -> Result<Image, JobError> {
    let views = Plane::ALL.map(|plane| {
        let outline = outlined(brain.silhouette(plane));
        let over = glass(brain.grid(), map, plane);
        let pixels = outline.pixels.iter().zip(&over.pixels);
        let pixels = pixels.map(|(&under, &value)| range.entry(value).unwrap_or(under)).collect();
        View { pixels, ..outline }
    });
    let mut palette = vec![0x80; usize::from(GREYS) * 3];
    // Entry 1 is the inside, entry 2 the outline.
    palette[3..9].copy_from_slice(&[0x80, 0x88, 0x90, 0x80, 0x88, 0x90]);
    encode(&side_by_side(&views), palette, vec![0, 38, 190])
}

/// Correlations from -1 to 1 as squares of one pixel; what is no number is clear.
///
/// # Errors
/// `internal` when the image cannot be encoded.
pub fn matrix(values: &[f64], side: usize) -> Result<Image, JobError> {
    let pixels = values.iter().map(|&value| diverging_entry(value)).collect();
    let mut palette = vec![0; 3];
    for step in 1..2 * i16::from(STEPS) {
        let value = f64::from(step - i16::from(STEPS)) / f64::from(STEPS - 1);
        palette.extend(diverging(value));
    }
    encode_pixels(&View { width: side, height: side, pixels }, palette, vec![0], Vec::new())
}

/// The palette's place of a correlation; 0 of what is no number.
fn diverging_entry(value: f64) -> u8 {
    let step = (value.clamp(-1.0, 1.0) * f64::from(STEPS - 1)).round() as i16;
    if value.is_finite() { (step + i16::from(STEPS)) as u8 } else { 0 }
}

/// Blue over white to red: the two ends of ColorBrewer's RdBu, straight to white.
fn diverging(value: f64) -> [u8; 3] {
    let end = if value < 0.0 { [0x21, 0x66, 0xac] } else { [0xb2, 0x18, 0x2b] };
    end.map(|c| (247.0 + (f64::from(c) - 247.0) * value.abs().min(1.0)).round() as u8)
}

/// 0 outside, 1 inside, 2 on the border.
fn outlined(inside: &View<bool>) -> View<u8> {
    let mut pixels = Vec::with_capacity(inside.pixels.len());
    for y in 0..inside.height as isize {
        for x in 0..inside.width as isize {
            let around = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)];
            pixels.push(if !is_inside(inside, (x, y)) {
                0
            } else if around.into_iter().all(|place| is_inside(inside, place)) {
                1
            } else {
                2
            });
        }
    }
    View { width: inside.width, height: inside.height, pixels }
}

fn is_inside(view: &View<bool>, (x, y): (isize, isize)) -> bool {
    let within = x >= 0 && y >= 0 && x < view.width as isize && y < view.height as isize;
    within && view.pixels[y as usize * view.width + x as usize]
}

fn side_by_side(views: &[View<u8>]) -> (View<u8>, Vec<(usize, usize)>) {
    let height = views.iter().map(|view| view.height).max().unwrap_or(0);
    let width = views.iter().map(|view| view.width + GAP).sum::<usize>() - GAP;
    let mut pixels = vec![0; width * height];
    let mut left = 0;
    let mut places = Vec::new();
    for view in views {
        // Bottoms are level.
        for (row, line) in view.pixels.chunks(view.width).enumerate() {
            let start = (height - view.height + row) * width + left;
            pixels[start..start + view.width].copy_from_slice(line);
        }
        places.push((left, view.width));
        left += view.width + GAP;
    }
    (View { width, height, pixels }, places)
}

fn encode(
    (view, places): &(View<u8>, Vec<(usize, usize)>),
    mut palette: Vec<u8>,
    alpha: Vec<u8>,
) -> Result<Image, JobError> {
    for table in [WARM, COLD] {
        for step in 0..STEPS {
            palette.extend(between(&table, f64::from(step) / f64::from(STEPS - 1)));
        }
    }
    encode_pixels(view, palette, alpha, places.clone())
}

/// The colour at a share of the way through a table.
fn between(table: &[[u8; 3]], share: f64) -> [u8; 3] {
    let place = share * (table.len() - 1) as f64;
    let first = (place as usize).min(table.len() - 2);
    let part = place - first as f64;
    std::array::from_fn(|c| {
        let (a, b) = (f64::from(table[first][c]), f64::from(table[first + 1][c]));
        (a + (b - a) * part).round() as u8
    })
}

fn encode_pixels(
    view: &View<u8>,
    palette: Vec<u8>,
    alpha: Vec<u8>,
    views: Vec<(usize, usize)>,
) -> Result<Image, JobError> {
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, view.width as u32, view.height as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_trns(alpha);
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&view.pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(Image { width: view.width, height: view.height, png, views })
}

fn failed(error: png::EncodingError) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "an image cannot be encoded").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lightness([r, g, b]: [u8; 3]) -> f64 {
        0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
    }

    #[test]
    fn farther_from_zero_is_brighter_and_under_the_floor_is_grey() {
        let range = Range { floor: 3.1, top: 10.0 };
        assert_eq!([3.0, -3.0, 0.0].map(|value| range.entry(value)), [None; 3]);
        assert_eq!(range.entry(3.1), Some(GREYS));
        assert_eq!(range.entry(99.0), Some(GREYS + STEPS - 1));
        assert_eq!(range.entry(-99.0), Some(GREYS + 2 * STEPS - 1));
        assert_eq!(Range { floor: 0.0, top: 0.0 }.entry(0.0), None);
        for table in [WARM, COLD] {
            let tones = (0..=100).map(|share| lightness(between(&table, f64::from(share) / 100.0)));
            assert!(tones.is_sorted());
        }
    }

    #[test]
    fn a_matrix_keeps_signs_and_leaves_out_what_is_no_number() {
        let image = matrix(&[f64::NAN, 1.0, -1.0, 0.0], 2).expect("an image");
        let mut decoder = png::Decoder::new(std::io::Cursor::new(&image.png));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("its size")];
        reader.next_frame(&mut pixels).expect("pixels");
        let expected = [[0, 0, 0, 0], [0xb2, 0x18, 0x2b, 255], [0x21, 0x66, 0xac, 255], [247, 247, 247, 255]];
        assert_eq!(pixels, expected.concat());
    }
}
