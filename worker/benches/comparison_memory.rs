//! What a comparison of many documents costs: `cargo run --release -p nightread-tools --bin comparison_memory -- DOCUMENTS LABELS [DRAWS]`. Documents
//! of a side, each with so many labels; with draws, judged by a truth of two images a patient.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Instant;

use nightread_compare::{
    Bootstrap, Cohorts, CompareOptions, Comparison, JoinKey, RolloutLimits, Truth, TruthColumns, Which,
};
use nightread_domain::result::{Finding, ModelFacts, Payload, SCHEMA, StudyFacts, StudyKind, WorkerFacts};
use nightread_domain::{ResultDocument, Status, Task};
use time::OffsetDateTime;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (documents, labels) = (numbers.next().unwrap(), numbers.next().unwrap());
    let draws = numbers.next();
    let begun = Instant::now();
    let mut cohorts = Cohorts::new(JoinKey::Name);
    for side in [Which::A, Which::B] {
        for study in 0..documents {
            cohorts.add(side, &document(study, labels, side)).unwrap();
        }
    }
    let taken = memory("VmRSS");
    println!(
        "taken: {:.1} s, {} bytes a document",
        begun.elapsed().as_secs_f64(),
        taken * 1024 / (2 * documents)
    );
    let truth = draws.map(|_| truth(documents, labels));
    let begun = Instant::now();
    let options = CompareOptions {
        limits: RolloutLimits::default(),
        named: 1000,
        truth: truth.as_ref().map(|truth| (truth, Some("patient"))),
        bootstrap: Bootstrap {
            draws: draws.unwrap_or(0),
            seed: 0,
            threads: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        },
        sources: ["a", "b"].map(str::to_owned),
        unreadable: [0, 0],
    };
    let found = Comparison::of(&cohorts, &options).unwrap();
    println!(
        "compared: {:.1} s, {} flips of {}; peak {} MiB",
        begun.elapsed().as_secs_f64(),
        found.flips,
        found.decisions,
        memory("VmHWM") / 1024
    );
}

/// Of this process, in KiB.
fn memory(what: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A number of [0, 1) that looks random (SplitMix64).
fn number(of: usize) -> f32 {
    let mut z = (of as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}

fn document(study: usize, labels: usize, side: Which) -> ResultDocument {
    let finding = |label: usize| {
        let base = number(study * labels + label);
        let shift = if side == Which::A { 0.0 } else { 0.02 * (number(base.to_bits() as usize) - 0.5) };
        let probability = (base + shift).clamp(0.001, 0.999);
        let logit = (probability / (1.0 - probability)).ln();
        Finding {
            label: format!("label {label}"),
            logit,
            probability,
            threshold: 0.5,
            positive: probability >= 0.5,
        }
    };
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status: Status::Ok,
        notice: String::new(),
        task: Task::Radiograph,
        study: StudyFacts {
            kind: StudyKind::Blob,
            container: "incoming".to_owned(),
            name: name(study),
            version: None,
            last_modified: None,
            bytes: None,
            sha256: Some("ab".repeat(32)),
            media: None,
        },
        model: ModelFacts {
            name: "m".to_owned(),
            version: if side == Which::A { "1.0.0" } else { "1.1.0" }.to_owned(),
            precision: "fp32".to_owned(),
            weights_sha256: "w".to_owned(),
            manifest_sha256: None,
            execution_provider: "cpu".to_owned(),
            preprocessing: "p".to_owned(),
            ensemble: None,
        },
        input: BTreeMap::new(),
        payload: Some(Payload::Findings {
            findings: (0..labels).map(finding).collect(),
            measurements: Vec::new(),
        }),
        artefacts: Vec::new(),
        warnings: Vec::new(),
        timing_ms: BTreeMap::new(),
        worker: WorkerFacts { version: "1".to_owned() },
        read_at: OffsetDateTime::UNIX_EPOCH,
        error: None,
    }
}

fn name(study: usize) -> String {
    format!("2026/11/{:02}/patient-{:07}/study-{study:08}.dcm", study % 30, study / 2)
}

fn truth(documents: usize, labels: usize) -> Truth {
    let mut text = "study,patient".to_owned();
    for label in 0..labels {
        write!(text, ",label {label}").unwrap();
    }
    text.push('\n');
    for study in 0..documents {
        write!(text, "{},{}", name(study), study / 2).unwrap();
        for label in 0..labels {
            text.push_str(if number(7 * study + label) < 0.3 { ",1" } else { ",0" });
        }
        text.push('\n');
    }
    let columns = TruthColumns { study: "study".to_owned(), group: Some("patient".to_owned()) };
    Truth::read(text.as_bytes(), &columns).unwrap()
}
