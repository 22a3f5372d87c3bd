//! A CT series and its organs, in several directions.

use nightread_archive::{Concept, Laterality, Organ, Reference, SegImage, SegInput, SegSegment, SegSlice};

use crate::fixtures::{INSTANCE, SERIES};

/// Not a multiple of eight, so that frames of bits begin inside of a byte.
pub const SHAPE: [usize; 3] = [6, 11, 13];

/// A label map with its geometry.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: &'static str,
    pub labels: Vec<u8>,
    pub slices: Vec<SegSlice>,
    pub orientation: [f64; 6],
    pub segments: Vec<SegSegment>,
}

impl Series {
    pub fn input(&self) -> SegInput<'_> {
        SegInput {
            labels: &self.labels,
            shape: SHAPE,
            slices: &self.slices,
            orientation: self.orientation,
            spacing: [0.703_125, 0.703_125],
            slice_spacing: 2.5,
            segments: &self.segments,
        }
    }

    pub fn references(&self) -> Vec<Reference> {
        self.slices.iter().flat_map(|slice| &slice.images).map(|image| image.image.clone()).collect()
    }
}

fn sct(value: &str, meaning: &str) -> Concept {
    Concept { value: value.to_owned(), scheme: "SCT".to_owned(), meaning: meaning.to_owned() }
}

pub fn organs() -> Vec<Organ> {
    let organ = |name: &str, code, laterality, volume_ml, mean_hu| Organ {
        name: name.to_owned(),
        code,
        laterality,
        volume_ml,
        mean_hu: Some(mean_hu),
        sd_hu: Some(12.25),
    };
    vec![
        organ("liver", Some(sct("10200004", "Liver")), None, 1432.1, 57.35),
        organ("kidney_left", Some(sct("64033007", "Kidney")), Some(Laterality::Left), 150.5, -3.5),
        organ("thing", None, None, 0.3, 0.0),
    ]
}

/// Four segments of which one has no voxels; values are neither in order nor without gaps.
fn segments() -> Vec<SegSegment> {
    let segment =
        |number, name: &str, code, laterality| SegSegment { number, name: name.to_owned(), code, laterality };
    vec![
        segment(9, "liver", Some(sct("10200004", "Liver")), None),
        segment(2, "spleen", Some(sct("78961009", "Spleen")), None),
        segment(3, "kidney_left", Some(sct("64033007", "Kidney")), Some(Laterality::Left)),
        segment(200, "thing", None, None),
    ]
}

fn labels() -> Vec<u8> {
    let [slices, rows, columns] = SHAPE;
    let mut labels = vec![0; slices * rows * columns];
    for (at, label) in labels.iter_mut().enumerate() {
        let (z, y, x) = (at / (rows * columns), at / columns % rows, at % columns);
        *label = match (z, y, x) {
            (1..=3, 2..=8, 1..=6) => 9,
            (4, 0..=3, 7..) | (2, 9.., 9) => 3,
            (3, 10, 12) => 200,
            _ => 0,
        };
    }
    labels
}

/// The directions that viewers got wrong: plain, both cosines negated, one of them (IOP 1,0,0,0,-1,0), coronal, tilted.
pub fn all() -> Vec<Series> {
    let tilt = (20.0_f64.to_radians().cos(), 20.0_f64.to_radians().sin());
    [
        ("axial", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 2.5]),
        ("prone", [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 2.5]),
        ("negated_column", [1.0, 0.0, 0.0, 0.0, -1.0, 0.0], [0.0, 0.0, -2.5]),
        ("feet_first", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, -2.5]),
        ("coronal", [1.0, 0.0, 0.0, 0.0, 0.0, -1.0], [0.0, 2.5, 0.0]),
        ("tilted", [1.0, 0.0, 0.0, 0.0, tilt.0, -tilt.1], [0.0, 0.0, 2.5]),
    ]
    .into_iter()
    .map(|(name, orientation, step)| {
        let slices = (0..SHAPE[0]).map(|nth| SegSlice {
            images: vec![SegImage { image: image(nth), frame: None }],
            position: [
                -158.135_803 + step[0] * nth as f64,
                -179.035_797 + step[1] * nth as f64,
                -75.699_997 + step[2] * nth as f64,
            ],
        });
        Series { name, labels: labels(), slices: slices.collect(), orientation, segments: segments() }
    })
    .chain([enhanced(), evened()])
    .collect()
}

fn image(nth: usize) -> Reference {
    Reference {
        series: SERIES.to_owned(),
        sop_class: dicom_dictionary_std::uids::CT_IMAGE_STORAGE.to_owned(),
        sop_instance: format!("{}.{}", INSTANCE.trim_end_matches(".1"), nth + 1),
    }
}

fn axial(name: &'static str, images: impl Fn(usize) -> Vec<SegImage>) -> Series {
    let slices =
        (0..SHAPE[0]).map(|nth| SegSlice { images: images(nth), position: [0.0, 0.0, 2.5 * nth as f64] });
    Series {
        name,
        labels: labels(),
        slices: slices.collect(),
        orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        segments: segments(),
    }
}

/// Frames of one file, the last one first.
fn enhanced() -> Series {
    let class = dicom_dictionary_std::uids::ENHANCED_CT_IMAGE_STORAGE;
    axial("enhanced", |nth| {
        let image = Reference { sop_class: class.to_owned(), ..image(0) };
        vec![SegImage { image, frame: Some((SHAPE[0] - nth) as u32) }]
    })
}

/// Slices at even steps that were made of those at others: every second lies between two images.
fn evened() -> Series {
    axial("evened", |nth| {
        let one = |nth: usize| SegImage { image: image(nth), frame: None };
        if nth % 2 == 0 { vec![one(nth / 2)] } else { vec![one(nth / 2), one(nth / 2 + 1)] }
    })
}
