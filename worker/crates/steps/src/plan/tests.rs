use super::*;
use crate::step::*;

const UNIT: [f64; 2] = [0.0, 1.0];

fn range() -> Step {
    Step::Range { from: None, to: UNIT, clip: false }
}

fn exact(library: Resizer) -> Step {
    let edge = (library == Resizer::Skimage).then_some(Edge::Reflect);
    Step::Resize { library, sides: Sides::Exact { height: 24, width: 32 }, edge }
}

fn channels(count: usize) -> Step {
    let (mean, std) = if count == 3 { (vec![0.5; 3], vec![0.25; 3]) } else { (Vec::new(), Vec::new()) };
    Step::Channels(Channels { count, mean, std, layout: Layout::Nchw })
}

fn to_uint8() -> Step {
    Step::ToUint8 { library: Rounding::Numpy }
}

/// What is said against a list: step, field, words.
fn told(steps: Vec<Step>) -> Vec<(Option<usize>, Option<&'static str>, String)> {
    let mistakes = Plan::new(steps).expect_err("a mistake");
    mistakes.into_iter().map(|Mistake { step, field, what }| (step, field, what)).collect()
}

/// The one mistake of a list names this step and this field, and says this.
fn one(steps: Vec<Step>, step: usize, field: &'static str, words: &str) {
    let told = told(steps);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0, told[0].1), (Some(step), Some(field)), "{told:?}");
    assert!(told[0].2.contains(words), "{told:?}");
}

#[test]
fn a_sound_list_has_a_shape_and_a_range() {
    let plan = Plan::new(vec![range(), exact(Resizer::TorchvisionAntialias), channels(3)]).unwrap();
    assert_eq!(plan.item_shape(), [3, 24, 32]);
    assert_eq!(plan.range(), Some([-2.0, 2.0]));
    let last = Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nhwc };
    let plan = Plan::new(vec![Step::ZScore {}, exact(Resizer::Monai), Step::Channels(last)]).unwrap();
    assert_eq!((plan.item_shape(), plan.range()), ([24, 32, 1], None));
}

#[test]
fn one_side_is_enough_where_the_image_is_square_or_becomes_so() {
    let resize = |sides| Step::Resize { library: Resizer::PillowBilinear, sides, edge: None };
    let short = resize(Sides::Short { size: 40, rounding: SideRounding::Down });
    let long = resize(Sides::Long { size: 40, rounding: SideRounding::Nearest });
    let crop = |size| Step::CropCentre { library: CropRule::Torchvision, size };
    for (steps, sides) in [
        (vec![range(), crop(None), short.clone()], [40, 40]),
        (vec![range(), short.clone(), crop(Some([32, 40]))], [32, 40]),
        (vec![range(), short.clone(), crop(None)], [40, 40]),
        (vec![range(), long.clone(), Step::PadSquare { value: 0.0 }], [40, 40]),
        (vec![range(), exact(Resizer::Monai), short.clone()], [40, 53]),
        (vec![range(), exact(Resizer::Monai), long.clone()], [30, 40]),
    ] {
        let plan = Plan::new(steps.into_iter().chain([channels(1)]).collect()).unwrap();
        assert_eq!(plan.item_shape(), [1, sides[0], sides[1]]);
    }
    for steps in [
        vec![range(), short.clone()],
        vec![range(), long, crop(None)],
        vec![range(), short, Step::PadSquare { value: 0.0 }],
    ] {
        let told = told(steps.into_iter().chain([channels(1)]).collect());
        assert!(told[0].0.is_none() && told[0].2.contains("fixed sides"), "{told:?}");
    }
}

#[test]
fn the_order_is_checked() {
    let end = || [exact(Resizer::PillowBilinear), channels(1)];
    let with = |steps: Vec<Step>| steps.into_iter().chain(end()).collect::<Vec<_>>();
    one(with(vec![range(), range()]), 1, "from", "say which interval");
    one(
        with(vec![range(), Step::Window { window: Window::Header, to: UNIT }]),
        1,
        "source",
        "the first step",
    );
    let header = || Step::Window { window: Window::Header, to: UNIT };
    one(with(vec![Step::Invert {}, header()]), 1, "source", "put invert behind this step");
    Plan::new(with(vec![header(), Step::Invert {}])).expect("the other way round");
    Plan::new(with(vec![Step::Invert {}, range()])).expect("of all values");
    let opencv = || Step::Clahe(Clahe::Opencv { clip_limit: 2.0, tiles: [8, 8] });
    one(with(vec![range(), opencv()]), 1, "library", "put to-uint8 before it");
    let skimage = || Step::Clahe(Clahe::Skimage { clip_limit: 0.01, bins: 256, kernel: None });
    one(with(vec![range(), to_uint8(), skimage()]), 2, "library", "floats in [0, 1]");
    one(with(vec![Step::MinMax { to: [0.0, 2.0] }, skimage()]), 1, "library", "floats in [0, 1]");
    one(with(vec![Step::ZScore {}, Step::Invert {}]), 1, "step", "ends are known");
    one(with(vec![to_uint8()]), 0, "step", "says what the stored values mean");
    one(with(vec![range(), to_uint8(), to_uint8()]), 2, "step", "bytes already");
    one(with(vec![Step::MinMax { to: [-1.0, 1.0] }, to_uint8()]), 1, "step", "put range with clip = true");
    one(with(vec![Step::ZScore {}, to_uint8()]), 1, "step", "put range with clip = true");
    let overshooting = vec![range(), exact(Resizer::PillowLanczos), to_uint8(), channels(1)];
    one(overshooting, 2, "step", "put range with clip = true");
    one(vec![exact(Resizer::OpencvArea), range(), channels(1)], 0, "library", "any number of bits");
    let bytes = |library| vec![range(), to_uint8(), exact(library), channels(1)];
    one(bytes(Resizer::TorchvisionAntialias), 2, "library", "pillow-bilinear");
    one(bytes(Resizer::Skimage), 2, "library", "put range before it");
    one(bytes(Resizer::Monai), 2, "library", "put range before it");
    let crop = Step::CropCentre { library: CropRule::Monai, size: Some([24, 33]) };
    one(vec![range(), crop.clone(), channels(1)], 1, "size", "put a resize before it");
    one(vec![range(), exact(Resizer::Monai), crop, channels(1)], 2, "size", "put a resize before it");
    one(with(vec![Step::PadSquare { value: 3.0 }, range()]), 0, "value", "must be 0 among stored values");
    one(with(vec![range(), to_uint8(), Step::PadSquare { value: 0.5 }]), 2, "value", "whole number");
    one(with(vec![range(), to_uint8(), Step::PadSquare { value: 256.0 }]), 2, "value", "whole number");
    let stored = vec![Step::CropCentre { library: CropRule::Monai, size: None }, channels(1)];
    assert!(told(stored)[0].2.contains("of any number of bits"));
    let told = told(vec![channels(1), range(), exact(Resizer::Monai)]);
    assert!(
        told.iter().any(|(step, field, what)| *step == Some(0)
            && *field == Some("step")
            && what.contains("the last"))
    );
    assert!(
        told.iter().any(|(step, _, what)| step.is_none() && what.contains("step = \"channels\"")),
        "{told:?}"
    );
}

#[test]
fn every_field_is_checked() {
    let end = || [exact(Resizer::PillowBilinear), channels(1)];
    let with = |step: Step| std::iter::once(step).chain(end()).collect::<Vec<_>>();
    let range = |from, to| Step::Range { from, to, clip: false };
    one(with(range(Some([1.0, 1.0]), UNIT)), 0, "from", "[lowest, highest]");
    one(with(range(None, [1.0, 0.0])), 0, "to", "step = \"invert\"");
    let window =
        |width, function| Step::Window { window: Window::Given { centre: 5.0, width, function }, to: UNIT };
    one(with(window(0.5, WindowFunction::Linear)), 0, "width", "1 or more");
    one(with(window(0.0, WindowFunction::LinearExact)), 0, "width", "above 0");
    one(with(Step::Window { window: Window::Header, to: [2.0, 2.0] }), 0, "to", "[lowest, highest]");
    one(with(Step::MinMax { to: [2.0, 1.0] }), 0, "to", "[lowest, highest]");
    let percentile = |lower, upper, to| Step::Percentile { lower, upper, to, clip: true };
    one(with(percentile(-1.0, 99.0, UNIT)), 0, "lower", "[0, 100]");
    one(with(percentile(5.0, 5.0, UNIT)), 0, "upper", "above lower");
    one(with(percentile(5.0, 101.0, UNIT)), 0, "upper", "[0, 100]");
    one(with(percentile(5.0, 95.0, [3.0, 1.0])), 0, "to", "[lowest, highest]");
    let bytes = |clahe| {
        let mut steps = vec![self::range(), to_uint8(), Step::Clahe(clahe)];
        steps.extend(end());
        steps
    };
    one(bytes(Clahe::Opencv { clip_limit: -1.0, tiles: [8, 8] }), 2, "clip_limit", "OpenCV's own is 40");
    one(bytes(Clahe::Opencv { clip_limit: 1.0, tiles: [8, 0] }), 2, "tiles", "[8, 8]");
    let unit = |clip_limit, bins, kernel| {
        let mut steps = vec![self::range(), Step::Clahe(Clahe::Skimage { clip_limit, bins, kernel })];
        steps.extend(end());
        steps
    };
    one(unit(1.5, 256, None), 1, "clip_limit", "0.01");
    one(unit(0.5, 1, None), 1, "bins", "256");
    one(unit(0.5, 256, Some([0, 3])), 1, "kernel", "pixels each");
    let crop = |side| {
        let mut steps = vec![self::range(), exact(Resizer::Monai)];
        steps.extend([Step::CropCentre { library: CropRule::Monai, size: Some([side, side]) }, channels(1)]);
        steps
    };
    one(crop(0), 2, "size", "1 to 4096 pixels");
    let resize = |height, width| {
        let sides = Sides::Exact { height, width };
        vec![self::range(), Step::Resize { library: Resizer::Monai, sides, edge: None }, channels(1)]
    };
    one(resize(0, 9), 1, "height", "1 to 4096 pixels");
    one(resize(9, 4097), 1, "width", "1 to 4096 pixels");
    let sides = Sides::Exact { height: 9, width: 9 };
    let edge = |library, edge| vec![self::range(), Step::Resize { library, sides, edge }, channels(1)];
    one(edge(Resizer::Skimage, None), 1, "edge", "reflect or constant");
    one(edge(Resizer::Monai, Some(Edge::Reflect)), 1, "edge", "leave it out");
    let last = |count, mean: &[f64], std: &[f64]| {
        let last = Channels { count, mean: mean.to_vec(), std: std.to_vec(), layout: Layout::Nchw };
        vec![self::range(), exact(Resizer::Monai), Step::Channels(last)]
    };
    one(last(2, &[], &[]), 2, "count", "1 or 3");
    one(last(3, &[0.5; 3], &[]), 2, "std", "give both or neither");
    one(last(3, &[], &[0.5; 3]), 2, "mean", "give both or neither");
    one(last(3, &[0.5], &[0.5; 3]), 2, "mean", "3 number(s)");
    one(last(1, &[0.5], &[0.0]), 2, "std", "above 0");
    assert!(told(vec![self::range(); 40])[0].2.contains("32 at most"));
    assert!(told(Vec::new())[0].2.contains("step = \"channels\""));
}

#[test]
fn names_are_those_of_the_serialised_steps() {
    let steps = [
        range(),
        Step::Window { window: Window::Header, to: UNIT },
        Step::MinMax { to: UNIT },
        Step::Percentile { lower: 1.0, upper: 99.0, to: UNIT, clip: true },
        Step::ZScore {},
        Step::Clahe(Clahe::Opencv { clip_limit: 2.0, tiles: [8, 8] }),
        Step::Invert {},
        to_uint8(),
        Step::CropCentre { library: CropRule::Monai, size: None },
        Step::PadSquare { value: 0.0 },
        exact(Resizer::Monai),
        channels(1),
    ];
    let names: Vec<_> = steps.iter().map(Step::name).collect();
    assert_eq!(names, Step::NAMES);
    for step in steps {
        let written = serde_json::to_value(&step).unwrap();
        assert_eq!(written["step"], step.name(), "{written}");
    }
}
