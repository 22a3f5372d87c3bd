//! Whatever the sides: an array of the promised shape, finite, and inside of the promised range.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_steps::{
    Channels, Clahe, CropRule, Edge, Layout, Plan, Resizer, Rounding, Samples, SideRounding, Sides, Step,
    StoredImage,
};
use proptest::prelude::*;

fn head(bytes: bool) -> Vec<Step> {
    let to = if bytes { [0.0, 255.0] } else { [0.0, 1.0] };
    let range = Step::Range { from: None, to, clip: false };
    if bytes { vec![range, Step::ToUint8 { library: Rounding::Numpy }] } else { vec![range] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_resize_keeps_its_promise(
        (width, height) in (1_usize..70, 1_usize..70),
        (wide, high) in (1_usize..90, 1_usize..90),
        which in 0_usize..8,
        bytes in any::<bool>(),
        seed in any::<u16>(),
    ) {
        let (_, library) = Resizer::ALL[which];
        let edge = (library == Resizer::Skimage).then_some(Edge::Reflect);
        let sides = Sides::Exact { height: high, width: wide };
        let channels = Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw };
        let steps = head(bytes).into_iter().chain([Step::Resize { library, sides, edge }, Step::Channels(channels)]);
        let takes_bytes = !matches!(library, Resizer::Skimage | Resizer::Monai | Resizer::TorchvisionAntialias);
        let plan = Plan::new(steps.collect());
        prop_assert_eq!(plan.is_ok(), takes_bytes || !bytes);
        let Ok(plan) = plan else { return Ok(()) };
        let sample = |at: usize| (at as u16).wrapping_mul(seed) % 4096;
        let samples: Vec<u16> = (0..width * height).map(sample).collect();
        let source = StoredImage { samples: Samples::U16(&samples), width, height, max_value: 4095, window: None };
        let prepared = plan.prepare(&source).unwrap();
        prop_assert_eq!(prepared.tensor.len(), wide * high);
        prop_assert!(prepared.tensor.iter().all(|value| value.is_finite()));
        if let Some([low, high]) = plan.range() {
            let slack = 1e-5 * (high - low);
            let inside = |value: &f32| (low - slack..=high + slack).contains(&f64::from(*value));
            prop_assert!(prepared.tensor.iter().all(inside), "{:?}", prepared.seen);
        }
    }

    #[test]
    fn every_shape_is_equalised_cropped_and_filled_up(
        (width, height) in (1_usize..70, 1_usize..70),
        (across, down) in (1_usize..9, 1_usize..9),
        opencv in any::<bool>(),
        short in any::<bool>(),
        size in 1_usize..60,
        seed in any::<u16>(),
    ) {
        let clahe = if opencv {
            Clahe::Opencv { clip_limit: 2.0, tiles: [across, down] }
        } else {
            Clahe::Skimage { clip_limit: 0.02, bins: 64, kernel: (across > 4).then_some([across, down]) }
        };
        let frame = if short {
            Step::CropCentre { library: CropRule::Torchvision, size: None }
        } else {
            Step::PadSquare { value: 0.0 }
        };
        let rounding = SideRounding::Nearest;
        let sides = if short { Sides::Long { size, rounding } } else { Sides::Short { size, rounding } };
        let resize = Step::Resize { library: Resizer::PillowBilinear, sides, edge: None };
        let channels = Channels { count: 3, mean: vec![0.5; 3], std: vec![0.5; 3], layout: Layout::Nhwc };
        let steps = head(opencv).into_iter().chain([Step::Clahe(clahe), frame, resize, Step::Channels(channels)]);
        let plan = Plan::new(steps.collect()).unwrap();
        prop_assert_eq!(plan.item_shape(), [size, size, 3]);
        let sample = |at: usize| (at as u16).wrapping_mul(seed | 1) % 4096;
        let samples: Vec<u16> = (0..width * height).map(sample).collect();
        let source = StoredImage { samples: Samples::U16(&samples), width, height, max_value: 4095, window: None };
        // What does not fit is refused; nothing panics.
        if let Ok(prepared) = plan.prepare(&source) {
            prop_assert_eq!(prepared.tensor.len(), 3 * size * size);
            prop_assert!(prepared.tensor.iter().all(|value| value.is_finite()));
        }
    }
}
