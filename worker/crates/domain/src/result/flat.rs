//! A document of this form as it is read: its payload's fields stand beside the others. Serde's own reading of a flattened
//! enum holds the whole document as values first, which takes three times as long, and takes a payload that is wrong for
//! one that is absent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::document::{
    ArtefactFacts, Component, ErrorFacts, Finding, Measurement, ModelFacts, Payload, ResultDocument, Status,
    StudyFacts, WorkerFacts,
};
use super::segment::Segment;
use crate::task::Task;
use crate::warning::Warning;

#[derive(Deserialize)]
struct Flat {
    schema: String,
    status: Status,
    notice: String,
    task: Task,
    study: StudyFacts,
    model: ModelFacts,
    #[serde(default)]
    input: BTreeMap<String, Value>,
    #[serde(default)]
    findings: Option<Vec<Finding>>,
    #[serde(default)]
    measurements: Vec<Measurement>,
    #[serde(default)]
    components: Option<Vec<Component>>,
    #[serde(default)]
    regression: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    segments: Option<Vec<Segment>>,
    artefacts: Vec<ArtefactFacts>,
    warnings: Vec<Warning>,
    timing_ms: BTreeMap<String, f64>,
    worker: WorkerFacts,
    #[serde(with = "time::serde::rfc3339")]
    read_at: OffsetDateTime,
    #[serde(default)]
    error: Option<ErrorFacts>,
}

impl<'de> Deserialize<'de> for ResultDocument {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Flat::deserialize(deserializer).map(Flat::together)
    }
}

impl Flat {
    fn together(self) -> ResultDocument {
        let payload = match (self.findings, self.components, self.segments) {
            (Some(findings), ..) => Some(Payload::Findings { findings, measurements: self.measurements }),
            (None, Some(components), _) => {
                Some(Payload::Components { components, regression: self.regression })
            }
            (None, None, Some(segments)) => Some(Payload::Segments { segments }),
            (None, None, None) => None,
        };
        ResultDocument {
            schema: self.schema,
            status: self.status,
            notice: self.notice,
            task: self.task,
            study: self.study,
            model: self.model,
            input: self.input,
            payload,
            artefacts: self.artefacts,
            warnings: self.warnings,
            timing_ms: self.timing_ms,
            worker: self.worker,
            read_at: self.read_at,
            error: self.error,
        }
    }
}
