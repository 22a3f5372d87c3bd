//! What the unit tests share.

use std::path::PathBuf;

use crate::manifest::{
    Activation, Calibration, Head, Input, Label, Manifest, Output, Preprocessing, Provenance, SegmentRule,
    Task, TrainedOn,
};

/// A manifest with `labels` labels and an input of one value.
pub(crate) fn manifest(name: &str, labels: usize) -> Manifest {
    Manifest {
        folder: PathBuf::from(name).into(),
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        task: Task::Radiograph,
        description: text(),
        card: "README.md".to_owned(),
        bring_your_own: None,
        ensemble: None,
        fp32: None,
        int8: None,
        bf16: None,
        input: Input { name: "image".to_owned(), item_shape: vec![1, 1, 1], value_range: [-1024.0, 1024.0] },
        preprocessing: Preprocessing::Xrv1 { size: 1 },
        window: None,
        output: Output {
            heads: vec![Head {
                logits: "logits".to_owned(),
                activation: Activation::Sigmoid,
                calibration: Calibration::None,
                grade: None,
                cam: None,
            }],
            embedding: None,
        },
        labels: (0..labels)
            .map(|index| Label {
                name: format!("label {index}"),
                head: 0,
                code: None,
                threshold: Some(0.5),
                op_threshold: None,
                suppressed: false,
                family: None,
                segment: SegmentRule::default(),
            })
            .collect(),
        measurements: Vec::new(),
        trained_on: TrainedOn {
            views: Vec::new(),
            age_years: None,
            min_side_px: None,
            modality_words: text(),
            simulated: false,
            demonstration: false,
        },
        source: Provenance { data: text(), citation: text(), url: text(), licence: text(), not_for: text() },
        maps: None,
    }
}

fn text() -> String {
    "for tests".to_owned()
}
