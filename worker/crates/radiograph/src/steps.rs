//! Preprocessing that a manifest lists, of radiographs.

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError, Stage};
use nightread_steps::{Field, Plan, PreparedImage, StoredImage};

use crate::radiograph::Radiograph;

/// One image to one item of the network's input, by the steps of `plan`.
///
/// # Errors
/// `image_unfit`: what about the image a step cannot work with.
pub fn prepare_by(image: &Radiograph, plan: &Plan) -> Result<PreparedImage, JobError> {
    let samples = match image.samples() {
        Samples::U8(samples) => nightread_steps::Samples::U8(samples),
        Samples::U16(samples) => nightread_steps::Samples::U16(samples),
    };
    let source = StoredImage {
        samples,
        width: image.width() as usize,
        height: image.height() as usize,
        max_value: image.max_value(),
        window: image.window(),
    };
    let refused = |refusal: nightread_steps::Refusal| {
        JobError::new(Stage::Preprocess, ErrorCode::ImageUnfit, refusal.to_string())
    };
    plan.prepare(&source).map_err(refused)
}

/// What of an image a network sees that takes it by the steps of `plan`.
pub fn field_of(image: &Radiograph, plan: &Plan) -> Field {
    plan.field(image.width() as usize, image.height() as usize)
}

#[cfg(test)]
mod tests {
    use nightread_domain::media::Media;
    use nightread_steps::{Channels, CropRule, Edge, Layout, Resizer, Sides, Step};

    use super::*;
    use crate::radiograph::Facts;
    use crate::resize::{XrvPreprocessing, prepare};

    /// `xrv-1` as a list of steps.
    fn xrv(size: usize) -> Plan {
        let sides = Sides::Exact { height: size, width: size };
        let steps = vec![
            Step::Range { from: None, to: [-1024.0, 1024.0], clip: false },
            Step::CropCentre { library: CropRule::Torchxrayvision, size: None },
            Step::Resize { library: Resizer::Skimage, sides, edge: Some(Edge::Constant) },
            Step::Channels(Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw }),
        ];
        Plan::new(steps).unwrap()
    }

    #[test]
    fn the_preset_is_a_list_of_steps_to_the_bit() {
        for (width, height, max_value) in
            [(260, 300, 65535), (301, 157, 4095), (64, 64, 255), (40, 500, 1023)]
        {
            let sample = |at: u32| ((at.wrapping_mul(7919) ^ (at / 7)) % (max_value + 1)) as u16;
            let samples = Samples::U16((0..width * height).map(sample).collect());
            let facts = Facts::new(Media::Png);
            let image = Radiograph::new(width, height, samples, max_value, facts, Vec::new()).unwrap();
            for size in [24, 64, 97] {
                let preset = prepare(&image, &XrvPreprocessing::new(size).unwrap());
                let listed = prepare_by(&image, &xrv(size as usize)).unwrap().tensor;
                let differ = preset.iter().zip(&listed).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                assert_eq!((differ, preset.len()), (0, listed.len()), "{width} x {height} to {size}");
            }
        }
    }

    #[test]
    fn an_image_that_a_step_cannot_work_with_has_its_code() {
        let samples = Samples::U16(vec![7; 64]);
        let image = Radiograph::new(8, 8, samples, 255, Facts::new(Media::Png), Vec::new()).unwrap();
        let sides = Sides::Exact { height: 8, width: 8 };
        let steps = vec![
            Step::MinMax { to: [0.0, 1.0] },
            Step::Resize { library: Resizer::Monai, sides, edge: None },
            Step::Channels(Channels { count: 1, mean: Vec::new(), std: Vec::new(), layout: Layout::Nchw }),
        ];
        let error = prepare_by(&image, &Plan::new(steps).unwrap()).unwrap_err();
        assert_eq!((error.stage, error.code), (Stage::Preprocess, ErrorCode::ImageUnfit));
    }
}
