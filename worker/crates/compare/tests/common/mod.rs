//! Documents for comparisons.
#![allow(dead_code, clippy::unnecessary_wraps)] // each test file uses its part; a payload is what documents may have

use std::collections::BTreeMap;
use std::num::NonZero;

use nightread_compare::{Bootstrap, CompareOptions, RolloutLimits};
use nightread_domain::result::{
    Component, ErrorFacts, Finding, ModelFacts, NOTICE, Payload, SCHEMA, Segment, StudyFacts, StudyKind,
    WorkerFacts,
};
use nightread_domain::{ErrorCode, ResultDocument, Stage, Status, Task};
use time::OffsetDateTime;

/// A document of `name` in the container `local`, by version `version` of the model `m`.
pub fn document(name: &str, version: &str, payload: Option<Payload>) -> ResultDocument {
    let status = if payload.is_some() { Status::Ok } else { Status::Failed };
    let error = payload.is_none().then(|| ErrorFacts {
        code: ErrorCode::BlobEmpty,
        stage: Stage::Fetch,
        message: "it is empty".to_owned(),
    });
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status,
        notice: NOTICE.to_owned(),
        task: match payload {
            Some(Payload::Components { .. }) => Task::Components,
            Some(Payload::Segments { .. }) => Task::Segmentation,
            Some(Payload::Findings { .. }) | None => Task::Radiograph,
        },
        study: StudyFacts {
            kind: StudyKind::Blob,
            container: "local".to_owned(),
            name: name.to_owned(),
            version: None,
            last_modified: None,
            bytes: None,
            sha256: None,
            media: None,
        },
        model: ModelFacts {
            name: "m".to_owned(),
            version: version.to_owned(),
            precision: "fp32".to_owned(),
            weights_sha256: "w".to_owned(),
            manifest_sha256: Some("d".to_owned()),
            execution_provider: "cpu".to_owned(),
            preprocessing: "p".to_owned(),
            ensemble: None,
        },
        input: BTreeMap::new(),
        payload,
        artefacts: Vec::new(),
        warnings: Vec::new(),
        timing_ms: BTreeMap::new(),
        worker: WorkerFacts { version: "1".to_owned() },
        read_at: OffsetDateTime::UNIX_EPOCH,
        error,
    }
}

/// A finding that is positive from 0.5 on.
pub fn finding(label: &str, probability: f32) -> Finding {
    let logit = (probability / (1.0 - probability)).ln();
    Finding { label: label.to_owned(), logit, probability, threshold: 0.5, positive: probability >= 0.5 }
}

pub fn findings(rows: &[(&str, f32)]) -> Option<Payload> {
    let findings = rows.iter().map(|(label, probability)| finding(label, *probability)).collect();
    Some(Payload::Findings { findings, measurements: Vec::new() })
}

pub fn component(index: usize, label: Option<&str>, probability: f32) -> Component {
    Component {
        index,
        label: label.map(str::to_owned),
        family: String::new(),
        probability,
        top: Vec::new(),
        map: None,
        flags: Vec::new(),
    }
}

pub fn components(rows: &[(usize, Option<&str>, f32)]) -> Option<Payload> {
    let components = rows.iter().map(|(index, label, probability)| component(*index, *label, *probability));
    Some(Payload::Components { components: components.collect(), regression: None })
}

/// Millilitres, of voxels of 0.1 mL; none where it was not found.
pub fn segment(label: &str, volume_ml: Option<f64>, mean_hu: f64) -> Segment {
    let found = volume_ml.is_some();
    Segment {
        label: label.to_owned(),
        value: 1,
        code: None,
        laterality: None,
        voxels: volume_ml.map_or(0, |volume| (10.0 * volume).ceil() as u64),
        volume_ml: volume_ml.unwrap_or(0.0),
        mean_hu: found.then_some(mean_hu),
        sd_hu: found.then_some(1.0),
        bbox_mm: found.then_some([[0.0; 3], [1.0; 3]]),
        touches_border: false,
        confidence: found.then_some(0.9),
    }
}

pub fn segments(rows: &[(&str, Option<f64>, f64)]) -> Option<Payload> {
    let segments = rows.iter().map(|(label, volume, mean)| segment(label, *volume, *mean)).collect();
    Some(Payload::Segments { segments })
}

pub fn bootstrap(draws: usize, seed: u64) -> Bootstrap {
    Bootstrap { draws, seed, threads: NonZero::new(2).expect("above 0") }
}

pub fn options() -> CompareOptions<'static> {
    CompareOptions {
        limits: RolloutLimits::default(),
        named: 100,
        truth: None,
        bootstrap: bootstrap(200, 1),
        sources: ["a", "b"].map(str::to_owned),
        unreadable: [0, 0],
    }
}
