//! Each step against arrays that its library made (`parity/golden.py`): the same bytes, or within 1e-5 of the range of the
//! values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use nightread_steps::{
    Channels, Clahe, CropRule, Edge, Layout, Plan, Resizer, Rounding, SideRounding, Sides, Step,
};
use support::{Image, Npy, furthest, golden, names};

const UNIT: [f64; 2] = [0.0, 1.0];
/// Of the golden images' sides, height and width.
const DOWN: (usize, usize) = (31, 40);
const UP: (usize, usize) = (104, 139);
const MIXED: (usize, usize) = (110, 40);
/// They lose more than twice as much height as width, and exactly twice as much.
const LOW: (usize, usize) = (31, 120);
const FLAT: (usize, usize) = (40, 139);
const TWICE: (usize, usize) = (75, 120);
const HALF: (usize, usize) = (48, 64);
const THIRD: (usize, usize) = (32, 32);

fn range(to: [f64; 2]) -> Step {
    Step::Range { from: None, to, clip: false }
}

fn channel() -> Step {
    Step::Channels(Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw })
}

fn to(library: Resizer, (height, width): (usize, usize)) -> Step {
    let edge = (library == Resizer::Skimage).then_some(Edge::Reflect);
    Step::Resize { library, sides: Sides::Exact { height, width }, edge }
}

/// No pixel moves: the plan learns the sides, which it must know at its end.
fn as_it_is((height, width): (usize, usize)) -> Step {
    to(Resizer::PillowBilinear, (height, width))
}

/// The bytes of the golden image, as bytes.
fn bytes(steps: Vec<Step>) -> (Image, Vec<Step>) {
    let head = vec![range([0.0, 255.0]), Step::ToUint8 { library: Rounding::Numpy }];
    (Image::bytes(), head.into_iter().chain(steps).collect())
}

/// The golden image as floats in [0, 1].
fn floats(steps: Vec<Step>) -> (Image, Vec<Step>) {
    (Image::words(), std::iter::once(range(UNIT)).chain(steps).collect())
}

/// The image and the steps of a case.
fn case(name: &str) -> (Image, Vec<Step>) {
    let whole = (Image::HEIGHT, Image::WIDTH);
    if let Some(steps) = resize(name) {
        let is_bytes = name.ends_with("-bytes");
        let middle = name.contains("-half") || name.contains("-third");
        let (image, steps) = if is_bytes { bytes(steps) } else { floats(steps) };
        return (if middle { image.middle() } else { image }, steps);
    }
    let equalised = |clahe: Clahe, sides| vec![Step::Clahe(clahe), as_it_is(sides)];
    let uint8 = |library| floats(vec![Step::MinMax { to: UNIT }, Step::ToUint8 { library }, as_it_is(whole)]);
    let crop = |library, size| vec![as_it_is(whole), Step::CropCentre { library, size: Some(size) }];
    match name {
        "clahe-opencv" => bytes(equalised(Clahe::Opencv { clip_limit: 2.0, tiles: [8, 8] }, whole)),
        "clahe-opencv-whole" => {
            let (image, steps) =
                bytes(equalised(Clahe::Opencv { clip_limit: 40.0, tiles: [8, 4] }, (96, 128)));
            (image.middle(), steps)
        }
        "clahe-opencv-unlimited" => bytes(equalised(Clahe::Opencv { clip_limit: 0.0, tiles: [3, 5] }, whole)),
        "clahe-skimage" => {
            floats(equalised(Clahe::Skimage { clip_limit: 0.01, bins: 256, kernel: None }, whole))
        }
        "clahe-skimage-kernel" => {
            let clahe = Clahe::Skimage { clip_limit: 0.03, bins: 100, kernel: Some([20, 33]) };
            floats(equalised(clahe, whole))
        }
        "minmax" => floats(vec![Step::MinMax { to: UNIT }, as_it_is(whole)]),
        "minmax-monai" => floats(vec![Step::MinMax { to: [-1.0, 1.0] }, as_it_is(whole)]),
        "percentile-monai" => {
            floats(vec![Step::Percentile { lower: 1.0, upper: 99.0, to: UNIT, clip: true }, as_it_is(whole)])
        }
        "percentile-open-monai" => floats(vec![
            Step::Percentile { lower: 2.5, upper: 97.0, to: [-1.0, 1.0], clip: false },
            as_it_is(whole),
        ]),
        "range-monai" => {
            floats(vec![Step::Range { from: Some([0.2, 0.7]), to: [-1.0, 1.0], clip: true }, as_it_is(whole)])
        }
        "zscore-monai" => floats(vec![Step::ZScore {}, as_it_is(whole)]),
        "uint8-numpy" => uint8(Rounding::Numpy),
        "uint8-opencv" => uint8(Rounding::Opencv),
        "uint8-skimage" => uint8(Rounding::Skimage),
        "uint8-torchvision" => uint8(Rounding::Torchvision),
        "uint8-pillow" => uint8(Rounding::Pillow),
        "short-torchvision-pil" => {
            let sides = Sides::Short { size: 33, rounding: SideRounding::Down };
            bytes(vec![
                Step::Resize { library: Resizer::PillowBilinear, sides, edge: None },
                Step::CropCentre { library: CropRule::Torchvision, size: Some([30, 30]) },
            ])
        }
        "long-monai" => {
            let sides = Sides::Long { size: 48, rounding: SideRounding::Nearest };
            floats(vec![
                Step::Resize { library: Resizer::Monai, sides, edge: None },
                Step::PadSquare { value: 0.0 },
            ])
        }
        "crop-torchvision" => floats(crop(CropRule::Torchvision, [40, 51])),
        "crop-monai" => floats(crop(CropRule::Monai, [40, 51])),
        "imagenet-nchw" => floats(vec![to(Resizer::TorchvisionAntialias, THIRD), imagenet(Layout::Nchw)]),
        "imagenet-nhwc" => floats(vec![to(Resizer::TorchvisionAntialias, THIRD), imagenet(Layout::Nhwc)]),
        other => panic!("{other}.npy is of no case"),
    }
}

fn imagenet(layout: Layout) -> Step {
    let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
    Step::Channels(Channels { count: 3, mean, std, layout })
}

/// The resize of a case that is one.
fn resize(name: &str) -> Option<Vec<Step>> {
    let name = name.strip_suffix("-bytes").unwrap_or(name);
    let (rest, size) = name.rsplit_once('-')?;
    let size = match size {
        "down" => DOWN,
        "up" => UP,
        "mixed" => MIXED,
        "low" => LOW,
        "flat" => FLAT,
        "twice" => TWICE,
        "half" => HALF,
        "third" => THIRD,
        _ => return None,
    };
    if let Some(edge) = rest.strip_prefix("skimage-") {
        let edge = Edge::ALL.iter().find(|(name, _)| *name == edge)?.1;
        let sides = Sides::Exact { height: size.0, width: size.1 };
        return Some(vec![Step::Resize { library: Resizer::Skimage, sides, edge: Some(edge) }]);
    }
    let library = Resizer::ALL.iter().find(|(name, _)| *name == rest)?.1;
    Some(vec![to(library, size)])
}

fn prepared(image: &Image, mut steps: Vec<Step>) -> Vec<f32> {
    if !matches!(steps.last(), Some(Step::Channels(_))) {
        steps.push(channel());
    }
    let plan = Plan::new(steps).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    plan.prepare(&image.source()).unwrap().tensor
}

#[test]
fn every_step_is_that_of_its_library() {
    let mut far = Vec::new();
    for name in names() {
        let Npy { values, is_bytes } = golden(&name);
        let (image, steps) = case(&name);
        let ours = prepared(&image, steps);
        assert_eq!(ours.len(), values.len(), "{name}");
        let (distance, range) = furthest(&ours, &values);
        let allowed = if is_bytes { 0.0 } else { 1e-5 * range };
        println!("{name}: {distance:e} of {range}");
        if distance > allowed {
            let differ = ours.iter().zip(&values).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            far.push(format!("{name}: {distance:e} of {range} in {differ} of {} values", values.len()));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

/// The page of the reference has every step and every word that a field may be.
#[test]
fn the_page_has_every_word() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/steps.md");
    let page = std::fs::read_to_string(page).unwrap();
    let words = [
        Step::NAMES.to_vec(),
        Resizer::ALL.iter().map(|(name, _)| *name).collect(),
        Rounding::ALL.iter().map(|(name, _)| *name).collect(),
        CropRule::ALL.iter().map(|(name, _)| *name).collect(),
        Edge::ALL.iter().map(|(name, _)| *name).collect(),
        SideRounding::ALL.iter().map(|(name, _)| *name).collect(),
        Layout::ALL.iter().map(|(name, _)| *name).collect(),
        nightread_steps::WindowFunction::ALL.iter().map(|(name, _)| *name).collect(),
    ];
    for word in words.concat() {
        assert!(page.contains(&format!("`{word}`")), "{word} is not on the page");
    }
    assert!(!page.contains("`gaussian-blur`"));
}

/// What must not pass for the same: the comparison sees another resize, a pixel's shift and channels that changed places.
#[test]
fn the_comparison_sees_what_is_wrong() {
    let far = |name: &str, image: &Image, steps: Vec<Step>| {
        let Npy { values, .. } = golden(name);
        let (distance, range) = furthest(&prepared(image, steps), &values);
        distance / range
    };
    let libraries = Resizer::ALL.iter().map(|(_, library)| *library);
    for own in libraries.clone().filter(|library| *library != Resizer::Skimage) {
        let name = format!("{}-down", own.as_str());
        for other in libraries.clone().filter(|other| *other != own) {
            // Pillow's triangle and PyTorch's are one, but for rounding.
            let one = [Resizer::PillowBilinear, Resizer::TorchvisionAntialias];
            if one.contains(&own) && one.contains(&other) {
                continue;
            }
            let (image, steps) = floats(vec![to(other, DOWN)]);
            assert!(far(&name, &image, steps) > 1e-3, "{name} by {}", other.as_str());
        }
        let (mut image, steps) = floats(vec![to(own, DOWN)]);
        image.words.rotate_right(1);
        assert!(far(&name, &image, steps) > 1e-3, "{name}, a pixel on");
    }
    let last = Channels {
        count: 3,
        mean: vec![0.406, 0.456, 0.485],
        std: vec![0.225, 0.224, 0.229],
        layout: Layout::Nchw,
    };
    let (image, steps) = floats(vec![to(Resizer::TorchvisionAntialias, THIRD), Step::Channels(last)]);
    assert!(far("imagenet-nchw", &image, steps) > 1e-3);
    // Each rounding to bytes is seen by the others' arrays.
    for (name, other) in [
        ("uint8-numpy", Rounding::Opencv),
        ("uint8-opencv", Rounding::Torchvision),
        ("uint8-torchvision", Rounding::Numpy),
    ] {
        let whole = (Image::HEIGHT, Image::WIDTH);
        let (image, steps) =
            floats(vec![Step::MinMax { to: UNIT }, Step::ToUint8 { library: other }, as_it_is(whole)]);
        assert!(far(name, &image, steps) > 0.0, "{name}");
    }
}
