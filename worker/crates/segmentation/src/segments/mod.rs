//! What is measured of each segment of a label map.

mod gather;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display};

use nightread_volume::Affine;

use self::gather::{Gathered, gather};
use crate::labels::LabelMap;
use crate::types::Grid;

/// The side of the patient that a segment lies on by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laterality {
    Left,
    Right,
}

/// A label of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its value in the label map; over 0.
    pub index: usize,
    pub name: String,
    pub laterality: Option<Laterality>,
}

/// A segment and its measures. One without voxels has a volume of 0 and no other measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub index: usize,
    pub name: String,
    pub voxels: u64,
    /// Voxels times the determinant of the affine.
    pub volume_ml: f64,
    /// Mean of the Hounsfield units of its voxels.
    pub mean_hu: Option<f64>,
    /// Their standard deviation, of the population.
    pub sd_hu: Option<f64>,
    /// The lower and the upper corner of the box around its voxels, edges included, in mm in RAS+.
    pub bbox_mm: Option<[[f64; 3]; 2]>,
    /// Whether a voxel lies on a side of the volume: the organ may go on beyond, and its volume is what was seen of it.
    pub touches_border: bool,
    /// Mean, over the voxels of the model's grid that the network gave to it, of its softmax probability there, before small
    /// components were dropped. How sure the network was, not how right.
    pub confidence: Option<f32>,
}

/// A pair of segments that lie on each other's side.
#[derive(Clone, Debug, PartialEq)]
pub struct LateralityImplausible {
    pub left: String,
    pub right: String,
    /// How far the middle of the left one lies to the right of that of the right one, in mm.
    pub by_mm: f64,
}

impl LateralityImplausible {
    /// Of the warning.
    pub const CODE: &'static str = "laterality_implausible";
}

impl Display for LateralityImplausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lies {:.0} mm to the right of {}: the volume may be mirrored, or the organs are",
            self.left, self.by_mm, self.right
        )
    }
}

/// Why segments cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentsError {
    /// The volume has another number of voxels than the label map.
    OtherGrid { labels: [usize; 3], volume: [usize; 3] },
    /// The label map has a label that has no name.
    Unnamed { index: usize },
}

impl Display for SegmentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherGrid { labels, volume } => {
                write!(f, "a label map of {labels:?} voxels does not lie on a volume of {volume:?}")
            }
            Self::Unnamed { index } => write!(f, "the label map has label {index}, which has no name"),
        }
    }
}

impl std::error::Error for SegmentsError {}

/// Measures the segments of `names`, in their order; `confidence` by label, as [`crate::labels::Finished`] has it.
///
/// # Errors
/// Grids of other shapes, or labels without a name.
pub fn segments(
    labels: &LabelMap,
    hu: &Grid<i16>,
    names: &[Name],
    confidence: &[Option<f32>],
) -> Result<(Vec<Segment>, Vec<LateralityImplausible>), SegmentsError> {
    let count = labels.shape.iter().product::<usize>();
    if labels.shape != hu.shape || labels.values.len() != count || hu.values.len() != count {
        return Err(SegmentsError::OtherGrid { labels: labels.shape, volume: hu.shape });
    }
    let gathered = gather(labels, &hu.values);
    let unnamed = |index: &usize| !names.iter().any(|name| name.index == *index);
    let mut met = gathered.iter().enumerate().skip(1).filter(|(_, of)| of.voxels > 0);
    if let Some((index, _)) = met.find(|(index, _)| unnamed(index)) {
        return Err(SegmentsError::Unnamed { index });
    }
    let nothing = Gathered::default();
    let of = |name: &Name| gathered.get(name.index).unwrap_or(&nothing);
    let measured = names.iter().map(|name| {
        let confidence = confidence.get(name.index).copied().flatten();
        measure(name, of(name), labels, confidence)
    });
    let mut sides = Vec::new();
    for left in names.iter().filter(|name| name.laterality == Some(Laterality::Left)) {
        let pair = |name: &&Name| {
            name.laterality == Some(Laterality::Right) && sideless(&name.name) == sideless(&left.name)
        };
        let Some(right) = names.iter().find(pair) else { continue };
        let middles = (of(left).middle(&labels.affine), of(right).middle(&labels.affine));
        // RAS+: x grows to the patient's right.
        if let (Some(left_middle), Some(right_middle)) = middles
            && left_middle[0] > right_middle[0]
        {
            let by_mm = left_middle[0] - right_middle[0];
            sides.push(LateralityImplausible { left: left.name.clone(), right: right.name.clone(), by_mm });
        }
    }
    Ok((measured.collect(), sides))
}

/// A name without the word that tells the side: `kidney_left` and `left_kidney` are `kidney`.
fn sideless(name: &str) -> String {
    let words = name.split(['_', ' ', '-']).filter(|word| {
        let word = word.to_ascii_lowercase();
        word != "left" && word != "right"
    });
    words.collect::<Vec<_>>().join("_")
}

fn measure(name: &Name, of: &Gathered, labels: &LabelMap, confidence: Option<f32>) -> Segment {
    let any = of.voxels > 0;
    let (mean, sd) = of.moments();
    Segment {
        index: name.index,
        name: name.name.clone(),
        voxels: of.voxels,
        volume_ml: of.voxels as f64 * Affine(labels.affine).determinant().abs() / 1000.0,
        mean_hu: any.then_some(mean),
        sd_hu: any.then_some(sd),
        bbox_mm: any.then(|| around(of, &labels.affine)),
        touches_border: any
            && (0..3).any(|axis| of.first[axis] == 0 || of.last[axis] + 1 == labels.shape[axis]),
        confidence: if any { confidence } else { None },
    }
}

/// The box in the world around a box of voxels.
fn around(of: &Gathered, affine: &[[f64; 4]; 3]) -> [[f64; 3]; 2] {
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for corner in 0..8 {
        let at = [0, 1, 2].map(|axis| {
            if corner >> axis & 1 == 0 { of.first[axis] as f64 - 0.5 } else { of.last[axis] as f64 + 0.5 }
        });
        let place = Affine(*affine).apply(at);
        for axis in 0..3 {
            low[axis] = low[axis].min(place[axis]);
            high[axis] = high[axis].max(place[axis]);
        }
    }
    [low, high]
}
