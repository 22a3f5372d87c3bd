//! The result document: the product's output, versioned by `worker/schemas/result.v2.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::segment::Segment;
use crate::blob::{BlobRef, ETag};
use crate::error::{ErrorCode, JobError, Stage};
use crate::media::{Media, StudyKind};
use crate::task::Task;
use crate::warning::Warning;

/// The value of `schema` in every document of this form.
pub const SCHEMA: &str = "nightread.result.v2";

/// What the `schema` of documents of every form begins with.
pub const SCHEMAS: &str = "nightread.result.";

/// Said in every document.
pub const NOTICE: &str =
    "Research output of a machine-learning model. Not a medical device, not for diagnosis.";

/// Whether the study was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Failed,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// Everything needed to find, trust and reproduce one reading. Holds no patient identifiers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultDocument {
    pub schema: String,
    pub status: Status,
    pub notice: String,
    /// What the model does, and so which payload there is.
    pub task: Task,
    pub study: StudyFacts,
    pub model: ModelFacts,
    /// Facts of the input that shaped the reading (view, bits stored, grid, repetition time), with units in their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, serde_json::Value>,
    /// What was read; absent where it was not.
    #[serde(flatten)]
    pub payload: Option<Payload>,
    /// Files beside this document.
    pub artefacts: Vec<ArtefactFacts>,
    pub warnings: Vec<Warning>,
    /// Milliseconds by stage, and `total`.
    pub timing_ms: BTreeMap<String, f64>,
    pub worker: WorkerFacts,
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFacts>,
}

/// What a reading gives, by the task of its model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Payload {
    /// Of a radiograph: one finding for each reported label, and one measurement for each that its model makes.
    Findings {
        findings: Vec<Finding>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        measurements: Vec<Measurement>,
    },
    /// Of a scan: one component for each group component, and how the scan was regressed; absent for files of component maps.
    Components {
        components: Vec<Component>,
        #[serde(skip_serializing_if = "Option::is_none")]
        regression: Option<BTreeMap<String, serde_json::Value>>,
    },
    /// Of a CT volume: one segment for each label, found or not.
    Segments { segments: Vec<Segment> },
}

/// What of a payload is there, for whoever asks for one thing: a task that gives none of it answers with `None`. These are the
/// only places that tables, comparisons and reports learn of a payload by.
impl Payload {
    /// The findings of a radiograph.
    pub fn findings(&self) -> Option<&[Finding]> {
        match self {
            Self::Findings { findings, .. } => Some(findings),
            Self::Components { .. } | Self::Segments { .. } => None,
        }
    }

    /// What was measured of a radiograph.
    pub fn measurements(&self) -> Option<&[Measurement]> {
        match self {
            Self::Findings { measurements, .. } => Some(measurements),
            Self::Components { .. } | Self::Segments { .. } => None,
        }
    }

    /// The components of a scan.
    pub fn components(&self) -> Option<&[Component]> {
        match self {
            Self::Components { components, .. } => Some(components),
            Self::Findings { .. } | Self::Segments { .. } => None,
        }
    }

    /// How a scan was regressed, where it was.
    pub fn regression(&self) -> Option<&BTreeMap<String, serde_json::Value>> {
        match self {
            Self::Components { regression, .. } => regression.as_ref(),
            Self::Findings { .. } | Self::Segments { .. } => None,
        }
    }

    /// The segments of a CT volume.
    pub fn segments(&self) -> Option<&[Segment]> {
        match self {
            Self::Segments { segments } => Some(segments),
            Self::Findings { .. } | Self::Components { .. } => None,
        }
    }
}

/// The study that was read, or that could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyFacts {
    pub kind: StudyKind,
    pub container: String,
    /// Of the blob or the series, without its container.
    pub name: String,
    /// Of the version that was read: the store's mark of a blob, a digest of the names and marks of a series. Absent when the
    /// study was gone.
    pub version: Option<ETag>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_modified: Option<OffsetDateTime>,
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
    pub media: Option<Media>,
}

/// The model and the way it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    pub name: String,
    /// Of the manifest, without precision: `1.0.0`.
    pub version: String,
    pub precision: String,
    /// Of the weights: of their one file, or of the list of several.
    pub weights_sha256: String,
    /// Of what the manifest decides; absent in documents from before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    pub execution_provider: String,
    pub preprocessing: String,
    /// Of several networks whose answers are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleFacts>,
}

/// The networks of an ensemble, and what became of their answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsembleFacts {
    /// `mean` or `vote`.
    pub combine: String,
    /// In the ensemble's order.
    pub members: Vec<MemberFacts>,
}

/// A network of an ensemble, at the ensemble's precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    pub name: String,
    /// Of its manifest.
    pub version: String,
    pub weights_sha256: String,
    pub manifest_sha256: String,
    pub execution_provider: String,
    pub preprocessing: String,
}

impl ModelFacts {
    /// Version and precision, as result paths have them: `1.0.0-fp32`.
    pub fn version_in_paths(&self) -> String {
        format!("{}-{}", self.version, self.precision)
    }
}

/// A file beside the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactFacts {
    pub kind: ArtefactKind,
    /// Its name in the results container, or below the results folder.
    pub path: String,
    pub media_type: String,
    pub bytes: u64,
    pub sha256: String,
    /// The label that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// What a file beside the document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtefactKind {
    /// The radiograph with what speaks for one finding painted over it.
    Heatmap,
    /// The class-activation map behind it, as NumPy keeps arrays.
    HeatmapArray,
    /// What the network made of the radiograph before its labels, as NumPy keeps arrays.
    Embedding,
    /// The scan's z maps, one volume a component.
    ZMaps,
    /// The t maps behind them.
    TMaps,
    /// The regression coefficients of stage 2, one volume a component.
    Betas,
    /// The components' time courses, one column each.
    TimeCourses,
    /// Network matrices: Pearson correlations of the time courses,
    Correlations,
    /// their partial correlations,
    PartialCorrelations,
    /// and Fisher's z of the correlations.
    FisherZ,
    /// Displacement and DVARS of every volume of the scan.
    Motion,
    /// The CT volume's label of each voxel, on the grid of the source.
    LabelMap,
    /// Three planes of the CT volume with the outlines of its segments.
    Preview,
    /// How another artefact was made, as BIDS keeps it: a JSON file of its name.
    Sidecar,
}

impl ArtefactKind {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Heatmap | Self::Preview => "image/png",
            Self::HeatmapArray | Self::Embedding => "application/octet-stream",
            Self::ZMaps | Self::TMaps | Self::Betas | Self::LabelMap => "application/gzip",
            Self::TimeCourses
            | Self::Correlations
            | Self::PartialCorrelations
            | Self::FisherZ
            | Self::Motion => "text/tab-separated-values",
            Self::Sidecar => "application/json",
        }
    }
}

/// One label of a radiograph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub label: String,
    pub logit: f32,
    /// After activation and, where the manifest says so, calibration; in [0, 1].
    pub probability: f32,
    pub threshold: f32,
    pub positive: bool,
}

/// A number that a network estimates of a radiograph, such as an age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub label: String,
    pub value: f32,
    /// As the manifest has it, best by UCUM: `a`, `cm`, `1`.
    pub unit: String,
}

/// One subject-level component map of a scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Index in the group maps, from 0.
    pub index: usize,
    /// Withheld where the scan does not cover the component.
    pub label: Option<String>,
    pub family: String,
    pub probability: f32,
    pub top: Vec<LabelScore>,
    /// Absent for a map that is zero everywhere.
    pub map: Option<ComponentMap>,
    pub flags: Vec<String>,
}

/// A label with its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    pub label: String,
    pub probability: f32,
}

/// Where a component map peaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentMap {
    /// MNI coordinates in millimetres.
    pub peak_mni_mm: [f64; 3],
    /// Signed z at the peak; absent for maps that came without statistics, and where z is withheld.
    pub peak_z: Option<f64>,
    /// Correlation of the map with its group map over the voxels that took part; absent for maps that were not regressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_correlation: Option<f64>,
    /// Whether the peak is no higher than noise alone would give; absent where there is no z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_at_chance: Option<bool>,
}

/// The program that wrote the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFacts {
    pub version: String,
}

/// Why a study was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFacts {
    pub code: ErrorCode,
    pub stage: Stage,
    pub message: String,
}

impl From<&JobError> for ErrorFacts {
    fn from(error: &JobError) -> Self {
        Self { code: error.code, stage: error.stage, message: error.in_full() }
    }
}

impl ResultDocument {
    /// What the study is called in its store.
    ///
    /// # Errors
    /// `source_not_allowed` when the names in it are none.
    pub fn study_name(&self) -> Result<BlobRef, JobError> {
        BlobRef::new(&self.study.container, &self.study.name)
    }

    /// Of a radiograph; none otherwise.
    pub fn findings(&self) -> &[Finding] {
        self.payload.as_ref().and_then(Payload::findings).unwrap_or_default()
    }

    /// Of a radiograph; none otherwise.
    pub fn measurements(&self) -> &[Measurement] {
        self.payload.as_ref().and_then(Payload::measurements).unwrap_or_default()
    }

    /// Of a scan; none otherwise.
    pub fn components(&self) -> &[Component] {
        self.payload.as_ref().and_then(Payload::components).unwrap_or_default()
    }

    /// How a scan was regressed; absent for anything else.
    pub fn regression(&self) -> Option<&BTreeMap<String, serde_json::Value>> {
        self.payload.as_ref().and_then(Payload::regression)
    }

    /// Of a CT volume; none otherwise.
    pub fn segments(&self) -> &[Segment] {
        self.payload.as_ref().and_then(Payload::segments).unwrap_or_default()
    }

    /// Metadata of the stored blob, for listings that should not open every document.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("model_sha256".to_owned(), self.model.weights_sha256.clone()),
            ("status".to_owned(), self.status.as_str().to_owned()),
        ]);
        if let Some(digest) = &self.model.manifest_sha256 {
            metadata.insert("manifest_sha256".to_owned(), digest.clone());
        }
        if let Some(etag) = &self.study.version {
            metadata.insert("source_etag".to_owned(), etag.0.clone());
        }
        if let Some(error) = &self.error {
            metadata.insert("code".to_owned(), error.code.as_str().to_owned());
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payloads lie flat in the document: what is written must come back as what it was, to the last bit.
    #[test]
    fn a_payload_comes_back_as_it_was() {
        let finding = Finding {
            label: "a".to_owned(),
            logit: 0.1,
            probability: f32::from_bits(0x3f7f_ffff),
            threshold: 0.3,
            positive: true,
        };
        let measurement =
            Measurement { label: "m".to_owned(), value: f32::from_bits(0x3dcc_cccd), unit: "a".to_owned() };
        let findings = Payload::Findings { findings: vec![finding], measurements: vec![measurement] };
        let components = Payload::Components { components: Vec::new(), regression: None };
        let none = Payload::Findings { findings: Vec::new(), measurements: Vec::new() };
        let segment = Segment {
            label: "liver".to_owned(),
            value: 1,
            code: None,
            laterality: None,
            voxels: 7,
            volume_ml: 0.1,
            mean_hu: Some(f64::from_bits(0x404e_0000_0000_0001)),
            sd_hu: Some(0.2),
            bbox_mm: Some([[0.1; 3], [0.3; 3]]),
            touches_border: false,
            confidence: Some(f32::from_bits(0x3f7f_ffff)),
        };
        let segments = Payload::Segments { segments: vec![segment] };
        for payload in [Some(findings), Some(components), Some(none), Some(segments), None] {
            let document = ResultDocument {
                schema: SCHEMA.to_owned(),
                status: Status::Ok,
                notice: NOTICE.to_owned(),
                task: Task::Radiograph,
                study: StudyFacts {
                    kind: StudyKind::Blob,
                    container: "c".to_owned(),
                    name: "n".to_owned(),
                    version: None,
                    last_modified: None,
                    bytes: None,
                    sha256: None,
                    media: None,
                },
                model: ModelFacts {
                    name: "m".to_owned(),
                    version: "1.0.0".to_owned(),
                    precision: "fp32".to_owned(),
                    weights_sha256: "w".to_owned(),
                    manifest_sha256: None,
                    execution_provider: "cpu".to_owned(),
                    preprocessing: "p".to_owned(),
                    ensemble: None,
                },
                input: BTreeMap::new(),
                payload,
                artefacts: Vec::new(),
                warnings: Vec::new(),
                timing_ms: BTreeMap::from([("total".to_owned(), 0.1)]),
                worker: WorkerFacts { version: "1".to_owned() },
                read_at: OffsetDateTime::UNIX_EPOCH,
                error: None,
            };
            let body = serde_json::to_vec(&document).expect("it serialises");
            assert_eq!(serde_json::from_slice::<ResultDocument>(&body).expect("a document"), document);
            if document.findings().is_empty() {
                continue;
            }
            let text = String::from_utf8(body).expect("JSON").replace("\"positive\":true", "\"positive\":7");
            let wrong = serde_json::from_str::<ResultDocument>(&text);
            assert!(wrong.is_err(), "a payload that is wrong is not one that is absent");
        }
    }
}
