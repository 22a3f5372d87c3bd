//! The form before this one. It is read, so that what was done is known; nothing writes it any more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    ArtefactFacts, ArtefactKind, Component, ErrorFacts, Finding, ModelFacts, Payload, ResultDocument, Status,
    StudyFacts, StudyKind, WorkerFacts,
};
use crate::blob::ETag;
use crate::media::Media;
use crate::task::Task;
use crate::warning::Warning;

pub const SCHEMA: &str = "nightread.result.v1";

#[derive(Deserialize)]
struct Document {
    schema: String,
    status: Status,
    notice: String,
    source: Source,
    model: Model,
    #[serde(default)]
    input: BTreeMap<String, Value>,
    #[serde(default)]
    findings: Vec<OldFinding>,
    #[serde(default)]
    components: Option<Vec<Component>>,
    #[serde(default)]
    dual_regression: Option<BTreeMap<String, Value>>,
    warnings: Vec<Warning>,
    timing_ms: BTreeMap<String, f64>,
    worker: WorkerFacts,
    #[serde(with = "time::serde::rfc3339")]
    read_at: OffsetDateTime,
    #[serde(default)]
    error: Option<ErrorFacts>,
}

#[derive(Deserialize)]
struct Source {
    container: String,
    blob: String,
    etag: Option<ETag>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_modified: Option<OffsetDateTime>,
    sha256: Option<String>,
    bytes: Option<u64>,
    media: Option<Media>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    /// With precision: `1.0.0-fp32`.
    version: String,
    sha256: String,
    #[serde(default)]
    manifest_sha256: Option<String>,
    precision: String,
    execution_provider: String,
    preprocessing: String,
}

#[derive(Deserialize)]
struct OldFinding {
    #[serde(flatten)]
    finding: Finding,
    #[serde(default)]
    heatmap: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<ResultDocument, serde_json::Error> {
    serde_json::from_slice(body).map(Document::translated)
}

impl Document {
    fn translated(self) -> ResultDocument {
        let task = match &self.components {
            Some(_) => Task::Components,
            None => self.source.media.map_or(Task::Radiograph, Task::that_reads),
        };
        let mut artefacts = Vec::new();
        let mut regression = self.dual_regression;
        for (key, kind) in [("z_maps", ArtefactKind::ZMaps), ("time_courses", ArtefactKind::TimeCourses)] {
            if let Some(Value::String(path)) = regression.as_mut().and_then(|facts| facts.remove(key)) {
                artefacts.push(artefact(kind, path, None));
            }
        }
        let mut findings = Vec::with_capacity(self.findings.len());
        for OldFinding { finding, heatmap } in self.findings {
            artefacts.extend(
                heatmap.map(|path| artefact(ArtefactKind::Heatmap, path, Some(finding.label.clone()))),
            );
            findings.push(finding);
        }
        let payload = match (self.status, self.components) {
            (Status::Failed, _) => None,
            (Status::Ok, Some(components)) => Some(Payload::Components { components, regression }),
            (Status::Ok, None) => Some(Payload::Findings { findings }),
        };
        let version = self.model.version.strip_suffix(&format!("-{}", self.model.precision));
        ResultDocument {
            schema: self.schema,
            status: self.status,
            notice: self.notice,
            task,
            study: StudyFacts {
                kind: StudyKind::Blob,
                container: self.source.container,
                name: self.source.blob,
                version: self.source.etag,
                last_modified: self.source.last_modified,
                bytes: self.source.bytes,
                sha256: self.source.sha256,
                media: self.source.media,
            },
            model: ModelFacts {
                version: version.unwrap_or(&self.model.version).to_owned(),
                name: self.model.name,
                precision: self.model.precision,
                weights_sha256: self.model.sha256,
                manifest_sha256: self.model.manifest_sha256,
                execution_provider: self.model.execution_provider,
                preprocessing: self.model.preprocessing,
            },
            input: self.input,
            payload,
            artefacts,
            warnings: self.warnings,
            timing_ms: self.timing_ms,
            worker: self.worker,
            read_at: self.read_at,
            error: self.error,
        }
    }
}

/// Size and digest were not recorded.
fn artefact(kind: ArtefactKind, path: String, of: Option<String>) -> ArtefactFacts {
    let media_type = kind.media_type().to_owned();
    ArtefactFacts { kind, path, media_type, bytes: 0, sha256: String::new(), of }
}
