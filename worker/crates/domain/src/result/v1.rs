//! The form before this one. It is read, so that what was done is known; nothing writes it any more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::document::{
    ArtefactFacts, ArtefactKind, Component, ErrorFacts, Finding, ModelFacts, Payload, ResultDocument, Status,
    StudyFacts, WorkerFacts,
};
use crate::blob::ETag;
use crate::media::{Media, StudyKind};
use crate::task::Task;
use crate::warning::Warning;

pub const SCHEMA: &str = "nightread.result.v1";

#[derive(Deserialize)]
struct Document {
    schema: String,
    status: Status,
    notice: String,
    source: SourceV1,
    model: ModelV1,
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
struct SourceV1 {
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
struct ModelV1 {
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
            (Status::Ok, None) => Some(Payload::Findings { findings, measurements: Vec::new() }),
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
                ensemble: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Parsed;

    const RADIOGRAPH: &str = r#"{
      "schema": "nightread.result.v1", "status": "ok", "notice": "n",
      "source": {"container": "incoming", "blob": "a.png", "etag": "\"7\"", "last_modified": "2026-01-31T00:00:00Z",
                 "sha256": "ab", "bytes": 7, "media": "png"},
      "model": {"name": "m", "version": "1.0.0-int8", "sha256": "w", "manifest_sha256": "d", "precision": "int8",
                "execution_provider": "cpu", "preprocessing": "xrv-1"},
      "findings": [{"label": "Pneumonia", "logit": 0.1, "probability": 0.525, "threshold": 0.5, "positive": true,
                    "heatmap": "m/1.0.0-int8/incoming/a.png.ab.heat.0-pneumonia.png"}],
      "warnings": [{"code": "low_contrast", "message": "w"}], "timing_ms": {"total": 1.5},
      "worker": {"version": "0.1.0"}, "read_at": "2026-01-31T00:00:01Z"}"#;

    fn read(text: &str) -> ResultDocument {
        match ResultDocument::parse(text.as_bytes()) {
            Parsed::Document(document) => *document,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_radiograph_of_the_old_form_is_read_as_one_of_this() {
        let document = read(RADIOGRAPH);
        assert_eq!((document.task, document.study.kind), (Task::Radiograph, StudyKind::Blob));
        assert_eq!((document.study.name.as_str(), document.study.media), ("a.png", Some(Media::Png)));
        assert_eq!(document.study.version, Some(ETag("\"7\"".to_owned())));
        assert_eq!((document.model.version.as_str(), document.model.precision.as_str()), ("1.0.0", "int8"));
        assert_eq!(document.model.version_in_paths(), "1.0.0-int8");
        assert_eq!(document.model.weights_sha256, "w");
        assert_eq!(document.findings().len(), 1);
        assert_eq!(document.findings()[0].logit.to_bits(), 0.1_f32.to_bits());
        let [heatmap] = document.artefacts.as_slice() else { panic!("one file beside it") };
        assert_eq!((heatmap.kind, heatmap.of.as_deref()), (ArtefactKind::Heatmap, Some("Pneumonia")));
    }

    #[test]
    fn a_scan_of_the_old_form_keeps_its_components_and_names_its_maps() {
        let mut old: Value = serde_json::from_str(RADIOGRAPH).expect("JSON");
        old["findings"] = Value::Array(Vec::new());
        old["source"]["media"] = "nifti_gz".into();
        old["components"] = serde_json::json!([{"index": 0, "label": null, "family": "", "probability": 0.0, "top": [],
            "map": null, "flags": ["low_coverage"]}]);
        old["dual_regression"] = serde_json::json!({"dof": 7, "z_maps": "m/z.nii.gz"});
        let document = read(&old.to_string());
        assert_eq!(document.task, Task::Components);
        let Some(Payload::Components { components, regression: Some(regression) }) = document.payload else {
            panic!("components")
        };
        assert_eq!((components.len(), regression.len(), &regression["dof"]), (1, 1, &7.into()));
        assert_eq!(document.artefacts[0].path, "m/z.nii.gz");
    }

    #[test]
    fn a_failure_of_the_old_form_has_no_payload() {
        let mut old: Value = serde_json::from_str(RADIOGRAPH).expect("JSON");
        old["status"] = "failed".into();
        old["findings"] = Value::Array(Vec::new());
        old["error"] = serde_json::json!({"code": "blob_empty", "stage": "fetch", "message": "m"});
        let document = read(&old.to_string());
        assert_eq!((document.payload, document.status), (None, Status::Failed));
    }
}
