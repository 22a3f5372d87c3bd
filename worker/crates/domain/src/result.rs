//! The result document: the product's output, versioned by `worker/schemas/result.v1.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::blob::ETag;
use crate::error::{ErrorCode, JobError, Stage};
use crate::media::Media;
use crate::warning::Warning;

/// The value of `schema` in every document of this form.
pub const SCHEMA: &str = "nightread.result.v1";

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultDocument {
    pub schema: String,
    pub status: Status,
    pub notice: String,
    pub source: SourceFacts,
    pub model: ModelFacts,
    /// Header facts that shaped the reading (modality, view, bits stored, grid, repetition time).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, serde_json::Value>,
    /// One per reported label of a radiograph.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// One per group component of a scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<Component>>,
    /// How the scan was regressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dual_regression: Option<BTreeMap<String, serde_json::Value>>,
    pub warnings: Vec<Warning>,
    /// Milliseconds by stage, and `total`.
    pub timing_ms: BTreeMap<String, f64>,
    pub worker: WorkerFacts,
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFacts>,
}

/// The blob that was read, or that could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    pub container: String,
    pub blob: String,
    /// Absent when the blob was gone.
    pub etag: Option<ETag>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_modified: Option<OffsetDateTime>,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
    pub media: Option<Media>,
}

/// The model and the way it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    pub name: String,
    /// With precision, as in the result path: `1.0.0-fp32`.
    pub version: String,
    /// Of the weights: of their one file, or of the list of several.
    pub sha256: String,
    /// Of what the manifest decides; absent in documents from before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    pub precision: String,
    pub execution_provider: String,
    pub preprocessing: String,
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
    /// Name of the painted class-activation map in the results container, where one was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heatmap: Option<String>,
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
    /// Metadata of the stored blob, for listings that should not open every document.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("model_sha256".to_owned(), self.model.sha256.clone()),
            ("status".to_owned(), self.status.as_str().to_owned()),
        ]);
        if let Some(digest) = &self.model.manifest_sha256 {
            metadata.insert("manifest_sha256".to_owned(), digest.clone());
        }
        if let Some(etag) = &self.source.etag {
            metadata.insert("source_etag".to_owned(), etag.0.clone());
        }
        if let Some(error) = &self.error {
            metadata.insert("code".to_owned(), error.code.as_str().to_owned());
        }
        metadata
    }
}
