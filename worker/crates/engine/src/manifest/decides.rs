//! What in a manifest decides a result: the same weights with another threshold are another model.

use serde::Serialize;

use super::{
    Calibration, Cam, ClassifierWeights, CtPreprocessing, Intensity, Label, Laterality, Manifest, Plan,
    Preprocessing, SegmentRule, Task,
};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<Combined<'m>>,
    input: Input<'m>,
    preprocessing: Steps<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    output: Output<'m>,
    labels: Vec<Class<'m>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measurements: Vec<Measured<'m>>,
    trained_on: Seen<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maps: Option<Regressors<'m>>,
}

/// The weights of members are in the digest of the ensemble's weights.
#[derive(Serialize)]
struct Combined<'m> {
    combine: &'static str,
    /// Name, and digest of what its manifest decides.
    members: Vec<[&'m str; 2]>,
}

impl<'m> From<&'m super::Ensemble> for Combined<'m> {
    fn from(ensemble: &'m super::Ensemble) -> Self {
        let members = ensemble.members.iter().map(|member| [&*member.model, &*member.manifest_sha256]);
        Self { combine: ensemble.combine.as_str(), members: members.collect() }
    }
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
    #[serde(rename = "steps-1")]
    Listed { steps: &'m Plan },
    #[serde(rename = "members")]
    Members {},
    #[serde(untagged)]
    Ct(Volume),
}

#[derive(Serialize)]
struct Volume {
    id: &'static str,
    spacing_mm: [f64; 3],
    orientation: &'static str,
    axis_order: &'static str,
    #[serde(flatten)]
    intensity: Scaled,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anisotropy: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Scaled {
    Statistics { clip: [f64; 2], mean: f64, std: f64 },
    Range { clip: [f64; 2], range: [f64; 2] },
}

impl From<&CtPreprocessing> for Volume {
    fn from(ct: &CtPreprocessing) -> Self {
        Self {
            id: ct.recipe.as_str(),
            spacing_mm: ct.spacing_mm,
            orientation: ct.orientation.as_str(),
            axis_order: ct.axis_order.as_str(),
            intensity: match ct.intensity {
                Intensity::Statistics { clip, mean, std } => Scaled::Statistics { clip, mean, std },
                Intensity::Range { clip, range } => Scaled::Range { clip, range },
            },
            order: ct.order,
            anisotropy: ct.anisotropy,
        }
    }
}

#[derive(Serialize)]
struct Window {
    overlap: f64,
    weights: &'static str,
    placement: &'static str,
    padding: &'static str,
    resample: &'static str,
}

impl From<&super::Window> for Window {
    fn from(window: &super::Window) -> Self {
        Self {
            overlap: window.overlap,
            weights: window.weighting.as_str(),
            placement: window.placement.as_str(),
            padding: window.padding.as_str(),
            resample: window.resample.as_str(),
        }
    }
}

#[derive(Serialize)]
struct Output<'m> {
    /// Where there is one, as it was before there could be several.
    #[serde(flatten)]
    only: Option<Head<'m>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    heads: Vec<Head<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'m str>,
}

#[derive(Serialize)]
struct Head<'m> {
    logits: &'m str,
    activation: &'static str,
    calibration: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grade: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cam: Option<Maps<'m>>,
}

/// Where class-activation maps come from.
#[derive(Serialize)]
#[serde(untagged)]
enum Maps<'m> {
    Output(&'m str),
    Initialiser { features: &'m str, weights: &'m str },
    File { features: &'m str, weights_sha256: &'m str },
}

impl<'m> From<&'m Cam> for Maps<'m> {
    fn from(cam: &'m Cam) -> Self {
        match cam {
            Cam::Output(name) => Self::Output(name),
            Cam::Features { features, weights: ClassifierWeights::Initialiser(weights) } => {
                Self::Initialiser { features, weights }
            }
            Cam::Features { features, weights: ClassifierWeights::File(file) } => {
                Self::File { features, weights_sha256: &file.sha256 }
            }
        }
    }
}

impl<'m> From<&'m super::Output> for Output<'m> {
    fn from(output: &'m super::Output) -> Self {
        let embedding = output.embedding.as_deref();
        if let [only] = output.heads.as_slice() {
            return Self { only: Some(only.into()), heads: Vec::new(), embedding };
        }
        Self { only: None, heads: output.heads.iter().map(Head::from).collect(), embedding }
    }
}

impl<'m> From<&'m super::Head> for Head<'m> {
    fn from(head: &'m super::Head) -> Self {
        Self {
            logits: &head.logits,
            activation: head.activation.as_str(),
            calibration: match head.calibration {
                Calibration::None => "none",
                Calibration::XrvOpNorm => "xrv-op-norm",
            },
            grade: head.grade.as_deref(),
            cam: head.cam.as_ref().map(Maps::from),
        }
    }
}

#[derive(Serialize)]
struct Class<'m> {
    name: &'m str,
    /// Of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    /// Value, scheme and meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<[&'m str; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_threshold: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    laterality: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ml: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    largest_component: bool,
}

#[derive(Serialize)]
struct Measured<'m> {
    name: &'m str,
    unit: &'m str,
    output: &'m str,
}

impl<'m> From<&'m super::Measurement> for Measured<'m> {
    fn from(measurement: &'m super::Measurement) -> Self {
        let super::Measurement { name, unit, output } = measurement;
        Self { name, unit, output }
    }
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    demonstration: bool,
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
            ensemble: manifest.ensemble.as_ref().map(Combined::from),
            input: Input { name: &input.name, item_shape: &input.item_shape, value_range: input.value_range },
            preprocessing: match &manifest.preprocessing {
                Preprocessing::Xrv1 { size } => Steps::Xrv1 { size: *size },
                Preprocessing::Projections1 { crop_offset_y, scale, mean, std } => {
                    Steps::Projections1 { crop_offset_y: *crop_offset_y, scale: *scale, mean, std }
                }
                Preprocessing::Ct(ct) => Steps::Ct(ct.into()),
                Preprocessing::Steps(steps) => Steps::Listed { steps },
                Preprocessing::Members => Steps::Members {},
            },
            window: manifest.window.as_ref().map(Window::from),
            output: output.into(),
            labels: manifest.labels.iter().map(|label| Class::of(label, manifest)).collect(),
            measurements: manifest.measurements.iter().map(Measured::from).collect(),
            trained_on: Seen {
                views: &trained_on.views,
                age_years: trained_on.age_years,
                min_side_px: trained_on.min_side_px,
                simulated: trained_on.simulated,
                demonstration: trained_on.demonstration,
            },
            maps: manifest.maps.as_ref().map(Regressors::from),
        }
    }
}

impl<'m> Class<'m> {
    /// Documents of segmentations bear the codes; of others they are for whoever writes results elsewhere, and decide nothing.
    fn of(label: &'m Label, manifest: &Manifest) -> Self {
        let SegmentRule { laterality, min_ml, largest_component } = label.segment;
        let code = label.code.as_ref().filter(|_| manifest.task == Task::Segmentation);
        Self {
            name: &label.name,
            head: (manifest.output.heads.len() > 1).then_some(label.head),
            code: code.map(|code| [&*code.value, &*code.scheme, &*code.meaning]),
            threshold: label.threshold,
            op_threshold: label.op_threshold,
            suppressed: label.suppressed,
            family: label.family.as_deref(),
            laterality: laterality.map(Laterality::as_str),
            min_ml,
            largest_component,
        }
    }
}

impl<'m> From<&'m super::Maps> for Regressors<'m> {
    fn from(maps: &'m super::Maps) -> Self {
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
