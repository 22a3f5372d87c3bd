//! What in a manifest decides a result: the same weights with another threshold are another model.

use serde::Serialize;

use super::{Activation, Calibration, Label, Manifest, Maps, Preprocessing};
use crate::digest;

/// Everything of a manifest that a result depends on beside the weights, in one fixed order. What is left out (names of
/// files, texts for people, evidence) may change within a version.
///
/// Its text is digested and the digest kept for as long as there are results: a field that is added must be left out where
/// a manifest does not have it, so that the digests of older manifests stay what they are.
#[derive(Serialize)]
struct Decides<'m> {
    schema: &'static str,
    task: &'static str,
    input: Input<'m>,
    preprocessing: Steps<'m>,
    output: Output<'m>,
    labels: Vec<Class<'m>>,
    trained_on: Seen<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maps: Option<Regressors<'m>>,
}

#[derive(Serialize)]
struct Input<'m> {
    name: &'m str,
    item_shape: &'m [usize],
    value_range: [f64; 2],
}

#[derive(Serialize)]
#[serde(tag = "id")]
enum Steps<'m> {
    #[serde(rename = "xrv-1")]
    Xrv1 { size: usize },
    #[serde(rename = "projections-1")]
    Projections1 { crop_offset_y: usize, scale: f64, mean: &'m [f64; 3], std: &'m [f64; 3] },
}

#[derive(Serialize)]
struct Output<'m> {
    logits: &'m str,
    activation: &'static str,
    calibration: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cam: Option<&'m str>,
}

#[derive(Serialize)]
struct Class<'m> {
    name: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_threshold: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'m str>,
}

/// What the input gate refuses and warns by.
#[derive(Serialize)]
struct Seen<'m> {
    views: &'m [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    age_years: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_side_px: Option<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulated: bool,
}

#[derive(Serialize)]
struct Regressors<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'m str>,
    count: usize,
    grid: [usize; 3],
    affine: [[f64; 4]; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_sha256: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_convention: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    des_norm: Option<bool>,
}

impl<'m> From<&'m Manifest> for Decides<'m> {
    fn from(manifest: &'m Manifest) -> Self {
        let Manifest { input, output, trained_on, .. } = manifest;
        Self {
            schema: "nightread.manifest.v1",
            task: manifest.task.as_str(),
            input: Input { name: &input.name, item_shape: &input.item_shape, value_range: input.value_range },
            preprocessing: match &manifest.preprocessing {
                Preprocessing::Xrv1 { size } => Steps::Xrv1 { size: *size },
                Preprocessing::Projections1 { crop_offset_y, scale, mean, std } => {
                    Steps::Projections1 { crop_offset_y: *crop_offset_y, scale: *scale, mean, std }
                }
            },
            output: Output {
                logits: &output.logits,
                activation: match output.activation {
                    Activation::Sigmoid => "sigmoid",
                    Activation::Softmax => "softmax",
                },
                calibration: match output.calibration {
                    Calibration::None => "none",
                    Calibration::XrvOpNorm => "xrv-op-norm",
                },
                cam: output.cam.as_deref(),
            },
            labels: manifest.labels.iter().map(Class::from).collect(),
            trained_on: Seen {
                views: &trained_on.views,
                age_years: trained_on.age_years,
                min_side_px: trained_on.min_side_px,
                simulated: trained_on.simulated,
            },
            maps: manifest.maps.as_ref().map(Regressors::from),
        }
    }
}

impl<'m> From<&'m Label> for Class<'m> {
    fn from(label: &'m Label) -> Self {
        Self {
            name: &label.name,
            threshold: label.threshold,
            op_threshold: label.op_threshold,
            suppressed: label.suppressed,
            family: label.family.as_deref(),
        }
    }
}

impl<'m> From<&'m Maps> for Regressors<'m> {
    fn from(maps: &'m Maps) -> Self {
        Self {
            sha256: maps.sha256.as_deref(),
            count: maps.count,
            grid: maps.grid,
            affine: maps.affine,
            mask_sha256: maps.mask_sha256.as_deref(),
            sign_convention: maps.sign_convention.as_deref(),
            des_norm: maps.des_norm,
        }
    }
}

impl Manifest {
    /// SHA-256, in lower-case hexadecimal, of what decides a result beside the weights: labels, thresholds, preprocessing,
    /// calibration, the input gate's bounds, group maps. The same for every precision.
    pub fn sha256(&self) -> String {
        // Finite numbers, texts and flags always serialise.
        digest::of_bytes(&serde_json::to_vec(&Decides::from(self)).unwrap_or_default())
    }
}
