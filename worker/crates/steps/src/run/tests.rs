use super::*;
use crate::plane::{HeaderWindow, Samples};
use crate::step::*;

const UNIT: [f64; 2] = [0.0, 1.0];

fn channel() -> Step {
    Step::Channels(Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw })
}

fn exact(height: usize, width: usize) -> Step {
    let sides = Sides::Exact { height, width };
    Step::Resize { library: Resizer::PillowBilinear, sides, edge: None }
}

fn source(samples: &[u16], width: usize, max_value: u32) -> StoredImage<'_> {
    let height = samples.len() / width;
    StoredImage { samples: Samples::U16(samples), width, height, max_value, window: None }
}

#[test]
fn what_an_image_lacks_is_refused_and_never_guessed() {
    let plan = |step| Plan::new(vec![step, exact(1, 4), channel()]).unwrap();
    let (flat, some) = ([7u16; 4], [1u16, 2, 3, 4]);
    for (step, image, refused) in [
        (Step::MinMax { to: UNIT }, &flat, Refusal::Flat("minmax")),
        (Step::ZScore {}, &flat, Refusal::Flat("zscore")),
        (
            Step::Percentile { lower: 0.0, upper: 9.0, to: UNIT, clip: true },
            &flat,
            Refusal::Flat("percentile"),
        ),
        (Step::Window { window: Window::Header, to: UNIT }, &some, Refusal::NoWindow),
    ] {
        assert_eq!(plan(step).prepare(&source(image, 4, 4095)).unwrap_err(), refused);
    }
    let tiles = Step::Clahe(Clahe::Opencv { clip_limit: 2.0, tiles: [8, 8] });
    let bytes = Step::ToUint8 { library: Rounding::Numpy };
    let plan = Plan::new(vec![Step::MinMax { to: UNIT }, bytes, tiles, exact(1, 4), channel()]).unwrap();
    let small = Refusal::TooSmall { step: "clahe", width: 4, height: 1 };
    assert_eq!(plan.prepare(&source(&some, 4, 4095)).unwrap_err(), small);
}

#[test]
fn a_long_strip_does_not_exhaust_memory() {
    let sides = Sides::Short { size: 4096, rounding: SideRounding::Down };
    let long = Step::Resize { library: Resizer::Monai, sides, edge: None };
    let range = || Step::Range { from: None, to: UNIT, clip: false };
    let crop = || Step::CropCentre { library: CropRule::Monai, size: Some([8, 8]) };
    let strip = vec![3u16; 60_000];
    let plan = Plan::new(vec![range(), long, crop(), channel()]).unwrap();
    assert!(matches!(
        plan.prepare(&source(&strip, 60_000, 4095)),
        Err(Refusal::TooLarge { step: "resize", .. })
    ));
    let plan = Plan::new(vec![Step::PadSquare { value: 0.0 }, range(), exact(8, 8), channel()]).unwrap();
    assert!(matches!(
        plan.prepare(&source(&strip, 60_000, 4095)),
        Err(Refusal::TooLarge { step: "pad-square", .. })
    ));
}

#[test]
fn a_header_s_window_is_of_rescaled_values_before_the_inversion() {
    let plan =
        Plan::new(vec![Step::Window { window: Window::Header, to: UNIT }, exact(1, 4), channel()]).unwrap();
    let mut header = HeaderWindow {
        centre: 1000.0,
        width: 2000.0,
        function: WindowFunction::LinearExact,
        slope: 2.0,
        intercept: -100.0,
        inverted: false,
    };
    let stored = [0u16, 300, 550, 1050];
    let of = |samples: &[u16], window| {
        plan.prepare(&StoredImage { window: Some(window), ..source(samples, 4, 4095) }).unwrap().tensor
    };
    assert_eq!(of(&stored, header), [0.0, 0.25, 0.5, 1.0]);
    header.inverted = true;
    let inverted = stored.map(|v| 4095 - v);
    assert_eq!(of(&inverted, header), [1.0, 0.75, 0.5, 0.0]);
}

#[test]
fn inversion_keeps_the_ends() {
    let range = |to| Step::Range { from: None, to, clip: false };
    let stored = [0u16, 1000, 4095, 4000];
    for (steps, expected) in [
        (vec![Step::Invert {}, range([0.0, 4095.0])], [4095.0, 3095.0, 0.0, 95.0]),
        (
            vec![
                range([-1.0, 1.0]),
                Step::Invert {},
                Step::Range { from: Some([-1.0, 1.0]), to: [0.0, 4095.0], clip: false },
            ],
            [4095.0, 3095.0, 0.0, 95.0],
        ),
        (
            vec![range([0.0, 255.0]), Step::ToUint8 { library: Rounding::Numpy }, Step::Invert {}],
            [255.0, 193.0, 0.0, 6.0],
        ),
    ] {
        let plan = Plan::new(steps.into_iter().chain([exact(1, 4), channel()]).collect()).unwrap();
        let found = plan.prepare(&source(&stored, 4, 4095)).unwrap().tensor;
        assert!(found.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-3), "{found:?}");
    }
}

#[test]
fn the_field_is_what_the_network_sees() {
    let range = || Step::Range { from: None, to: UNIT, clip: false };
    let short = Step::Resize {
        library: Resizer::PillowBilinear,
        sides: Sides::Short { size: 50, rounding: SideRounding::Down },
        edge: None,
    };
    let crop = Step::CropCentre { library: CropRule::Torchvision, size: Some([40, 40]) };
    let plan = Plan::new(vec![range(), short, crop, channel()]).unwrap();
    assert_eq!(plan.field(200, 100), Field { x: 60.0, y: 10.0, width: 80.0, height: 80.0 });
    let plan = Plan::new(vec![range(), Step::PadSquare { value: 0.0 }, exact(10, 10), channel()]).unwrap();
    assert_eq!(plan.field(200, 101), Field { x: 0.0, y: -49.0, width: 200.0, height: 200.0 });
    let plan = Plan::new(vec![range(), exact(10, 10), channel()]).unwrap();
    assert_eq!(plan.field(200, 101), Field { x: 0.0, y: 0.0, width: 200.0, height: 101.0 });
}
