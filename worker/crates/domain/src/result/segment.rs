//! What is found of each organ in a CT volume.

use serde::{Deserialize, Serialize};

/// What a label is called elsewhere: a code of a coding scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    pub value: String,
    /// Its designator in DICOM: `SCT`, `DCM`.
    pub scheme: String,
    pub meaning: String,
}

/// Which of two organs of one kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Laterality {
    Left,
    Right,
}

impl Laterality {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// One label of a CT volume: the voxels that have it. One that was not found has none, and no more than its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub label: String,
    /// Its number in the label map.
    pub value: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laterality: Option<Laterality>,
    pub voxels: u64,
    /// Voxels times the volume of one.
    pub volume_ml: f64,
    /// Mean and standard deviation of its Hounsfield units.
    pub mean_hu: Option<f64>,
    pub sd_hu: Option<f64>,
    /// Lowest and highest corner of what its voxels fill, in mm of the patient's right, anterior and superior (RAS).
    pub bbox_mm: Option<[[f64; 3]; 2]>,
    /// Whether it reaches the border of the volume, so that there may be more of it.
    pub touches_border: bool,
    /// Mean probability of the label over its voxels on the network's grid, in [0, 1].
    pub confidence: Option<f32>,
}
