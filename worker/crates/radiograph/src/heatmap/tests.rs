use nightread_domain::media::Media;
use nightread_steps::{Channels, CropRule, Layout, Plan, Resizer, SideRounding, Sides, Step};

use super::*;
use crate::radiograph::Facts;
use crate::resize::centre_field;
use crate::steps::{field_of, prepare_by};

const SIDE: usize = 224;

fn image(width: u32, height: u32, value: impl Fn(u32) -> u16) -> Radiograph {
    let samples: Vec<u16> = (0..width * height).map(value).collect();
    Radiograph::new(width, height, Samples::U16(samples), 4095, Facts::new(Media::Png), Vec::new()).unwrap()
}

/// Two greys, so that the stretch leaves the image half bright.
fn stripes() -> Radiograph {
    image(300, 260, |i| if i % 2 == 0 { 4095 } else { 0 })
}

fn finding(label: &str, probability: f32) -> Explained<'_> {
    Explained {
        label,
        logit: 1.5,
        probability,
        threshold: 0.158,
        positive: true,
        model: "model 1.0.0-fp32",
        software: "Nightread 0.1.0",
        notice: "Not a medical device.",
    }
}

struct Painted {
    width: usize,
    pixels: Vec<u8>,
    texts: Vec<(String, String)>,
}

impl Painted {
    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// A pixel of the image with its tint.
    fn tinted(&self, x: usize, y: usize) -> [u8; 3] {
        self.at(2 * MARGIN + SIDE + x, MARGIN + LINE + y)
    }

    fn original(&self, x: usize, y: usize) -> [u8; 3] {
        self.at(MARGIN + x, MARGIN + LINE + y)
    }
}

fn paint_png(image: &Radiograph, cam: &[f32], shape: (usize, usize), explained: &Explained<'_>) -> Painted {
    paint_field(image, &centre_field(image), cam, shape, explained)
}

fn paint_field(
    image: &Radiograph,
    field: &Field,
    cam: &[f32],
    shape: (usize, usize),
    explained: &Explained<'_>,
) -> Painted {
    let map = ActivationMap::new(cam, shape.0, shape.1).unwrap();
    let bytes = HeatmapPainter::new(image, field, SIDE as u32).unwrap().paint(&map, explained).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (ColorType::Rgb, BitDepth::Eight));
    let texts = reader.info().utf8_text.iter();
    let texts = texts.map(|chunk| (chunk.keyword.clone(), chunk.get_text().unwrap())).collect();
    Painted { width: info.width as usize, pixels, texts }
}

/// Relative luminance of an sRGB colour, from 0 to 1.
fn luminance(colour: [u8; 3]) -> f32 {
    let linear = |c: u8| {
        let c = f32::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[test]
fn the_table_is_matplotlibs_and_brighter_at_every_step() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/golden/heatmap.json")).unwrap();
    let table: Vec<[u8; 3]> = serde_json::from_value(golden["inferno"].clone()).unwrap();
    assert_eq!(table.len(), 256);
    let mut last = -1.0;
    for (step, wanted) in table.iter().enumerate() {
        let found = inferno(step as f32 / 255.0);
        assert_eq!(found, *wanted, "{step}");
        assert!(luminance(found) > last);
        last = luminance(found);
    }
    assert_eq!((inferno(-1.0), inferno(9.0), inferno(f32::NAN)), (table[0], table[255], table[0]));
}

#[test]
fn the_hottest_place_is_the_brightest_and_weak_ones_stay_clear() {
    let mut cam = vec![0.0; 49];
    cam[7] = 18.0; // row 1, column 0
    cam[38] = 1.9; // row 5, column 3: below the floor
    cam[48] = -5.0;
    let painted = paint_png(&stripes(), &cam, (7, 7), &finding("Mass", 0.99));
    let places = (0..SIDE * SIDE).map(|n| (n % SIDE, n / SIDE));
    let brightness = |&(x, y): &(usize, usize)| luminance(painted.tinted(x, y));
    let (x, y) = places.max_by(|a, b| brightness(a).total_cmp(&brightness(b))).unwrap();
    assert!(x < 32 && (32..64).contains(&y), "the brightest place is ({x}, {y})");
    for (x, y) in [(112, 176), (216, 216)] {
        let [r, g, b] = painted.tinted(x, y);
        assert!(r == g && g == b, "nothing is tinted below the floor: ({x}, {y})");
    }
    let [r, g, b] = painted.original(16, 48);
    assert!(r == g && g == b, "the original stands beside it as it is");
}

#[test]
fn a_less_probable_finding_is_fainter_and_labels_share_one_scale() {
    let tinted = |activation: f32, probability: f32| {
        let painted = paint_png(&stripes(), &[activation; 4], (2, 2), &finding("Mass", probability));
        let [r, _, b] = painted.tinted(100, 100);
        i32::from(r) - i32::from(b)
    };
    let (certain, doubtful) = (tinted(12.0, 0.99), tinted(12.0, 0.37));
    assert!(certain > doubtful + 20 && doubtful > 20, "{certain}, {doubtful}");
    let (strong, weak) = (tinted(12.0, 0.99), tinted(4.0, 0.99));
    assert!(strong > weak + 20, "a map is not stretched to its own maximum: {strong}, {weak}");
}

/// The cover grows with the activation and with the probability, and nothing passes its bounds.
#[test]
fn cover_grows_with_activation_and_probability() {
    for p in 0..=20 {
        for c in -20..=60 {
            let (p, c) = (p as f32 / 20.0, c as f32 / 2.0);
            let (_, cover) = tint(c, p);
            assert!((0.0..=OPACITY).contains(&cover));
            assert!(cover <= tint(c + 0.5, p).1 && cover <= tint(c, p + 0.05).1 + 1e-6);
            assert_eq!(cover > 0.0, p > 0.0 && c > FLOOR * FULL_SCALE, "{c} {p}");
        }
    }
}

/// One hot cell and one bright pixel at the same place of the image, seen through crops, bands and resizes in any order:
/// what is painted hottest lies over the bright pixel.
#[test]
fn a_place_of_the_map_is_painted_over_the_same_place_of_the_image() {
    let resized = |height, width| Step::Resize {
        library: Resizer::OpencvArea,
        sides: Sides::Exact { height, width },
        edge: None,
    };
    let short = |size| Step::Resize {
        library: Resizer::OpencvArea,
        sides: Sides::Short { size, rounding: SideRounding::Down },
        edge: None,
    };
    let crop = |size| Step::CropCentre { library: CropRule::Monai, size };
    let lists = [
        vec![resized(64, 64)],
        vec![resized(48, 96)],
        vec![crop(None), resized(64, 64)],
        vec![short(80), crop(Some([64, 64]))],
        vec![short(80), crop(Some([60, 64])), resized(64, 64)],
        vec![Step::PadSquare { value: 0.0 }, resized(64, 64)],
        vec![Step::PadSquare { value: 0.0 }, short(96), crop(Some([80, 80]))],
    ];
    for (width, height) in [(300, 200), (200, 300), (257, 256)] {
        for (dx, dy) in [(0.5, 0.5), (0.35, 0.6), (0.62, 0.4)] {
            let (x, y) = ((dx * f64::from(width)) as u32, (dy * f64::from(height)) as u32);
            let bright = move |i: u32| {
                let (column, row) = (i % width, i / width);
                if column.abs_diff(x) < 4 && row.abs_diff(y) < 4 { 4095 } else { 0 }
            };
            let image = image(width, height, bright);
            for steps in &lists {
                assert_painted_over(&image, steps);
            }
        }
    }
}

/// The network's input itself as the map: the middle of what is hot is the middle of what is bright.
fn assert_painted_over(image: &Radiograph, steps: &[Step]) {
    let range = Step::Range { from: None, to: [0.0, 40.0], clip: true };
    let channels =
        Step::Channels(Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw });
    let list = std::iter::once(range).chain(steps.iter().cloned()).chain([channels]).collect();
    let plan = Plan::new(list).unwrap();
    let [_, height, width] = plan.item_shape();
    let seen = prepare_by(image, &plan).unwrap().tensor;
    let painter = HeatmapPainter::new(image, &field_of(image, &plan), SIDE as u32).unwrap();
    let Part { across, down } = painter.part;
    let hot = upsample(&seen, width, &down.cells(height), &across.cells(width));
    let [hot, bright] = [&hot, &painter.grey].map(|values| middle(values, across.pixels));
    for axis in 0..2 {
        let apart = (bright[axis] - hot[axis]).abs();
        // What is painted are means of whole pixels of the image. Half a cell of the network would be two pixels.
        assert!(apart < 1.0, "{steps:?} of {} x {}: {bright:?}, {hot:?}", image.width(), image.height());
    }
}

/// Of the weights in rows of `width`.
fn middle(weights: &[f32], width: usize) -> [f64; 2] {
    let mut sums = [0.0; 3];
    for (pixel, &weight) in weights.iter().enumerate() {
        let weight = f64::from(weight);
        sums[0] += weight;
        sums[1] += weight * (pixel % width) as f64;
        sums[2] += weight * (pixel / width) as f64;
    }
    [sums[1] / sums[0], sums[2] / sums[0]]
}

/// What the network did not see is not painted: of 300 x 200 in bands two thirds of the square.
#[test]
fn bands_are_not_painted_and_nothing_is_squeezed() {
    let image = image(300, 200, |_| 4000);
    let whole = Field { x: 0.0, y: 0.0, width: 300.0, height: 200.0 };
    let banded = Field { x: 0.0, y: -50.0, width: 300.0, height: 300.0 };
    for field in [whole, banded] {
        let painted = paint_field(&image, &field, &[15.0; 4], (2, 2), &finding("Mass", 0.9));
        let rows: Vec<usize> = (0..SIDE).filter(|&y| painted.tinted(SIDE / 2, y) != GROUND).collect();
        assert!(rows.len().abs_diff(SIDE * 2 / 3) <= 1, "{}", rows.len());
        assert!(rows[0].abs_diff(SIDE / 6) <= 1, "{}", rows[0]);
    }
}

#[test]
fn the_text_chunks_say_what_it_is() {
    let painted = paint_png(&stripes(), &[5.0], (1, 1), &finding("Épanchement <script>", 0.371));
    let text = |keyword: &str| {
        painted.texts.iter().find(|(k, _)| k == keyword).map(|(_, text)| text.as_str()).unwrap()
    };
    assert_eq!(text("Software"), "Nightread 0.1.0");
    assert!(text("Title").starts_with("Épanchement <script>"));
    for part in
        ["probability 0.371", "threshold 0.158", "positive", "model 1.0.0-fp32", "Not a medical device."]
    {
        assert!(text("Description").contains(part), "{part}");
    }
}

#[test]
fn small_images_empty_maps_and_nan_are_painted() {
    let grey = |painted: &Painted| {
        (0..SIDE * SIDE).all(|n| {
            let [r, g, b] = painted.tinted(n % SIDE, n / SIDE);
            r == g && g == b
        })
    };
    let one = image(1, 1, |_| 7);
    assert!(grey(&paint_png(&one, &[0.0], (1, 1), &finding("", 1.0))));
    let narrow = image(3, 500, |i| (i % 4096) as u16);
    assert!(grey(&paint_png(&narrow, &[f32::NAN; 4], (2, 2), &finding(&"long ".repeat(400), f32::NAN))));
}

#[test]
fn wrong_shapes_and_sizes_are_refused() {
    let image = image(10, 10, |i| i as u16);
    for (values, shape) in [(vec![1.0; 3], (2, 2)), (vec![], (0, 0))] {
        assert_eq!(ActivationMap::new(&values, shape.0, shape.1).unwrap_err().code, ErrorCode::Internal);
    }
    let map = ActivationMap::new(&[1.0], 1, 1).unwrap();
    for size in [0, 4096] {
        let error = HeatmapPainter::new(&image, &centre_field(&image), size).unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
    }
    for size in [1, 2, 32] {
        let painter = HeatmapPainter::new(&image, &centre_field(&image), size).unwrap();
        assert!(painter.paint(&map, &finding("Mass", 0.5)).is_ok());
    }
}
