//! What networks give besides one output of logits: several heads, probabilities of their own, grades, an embedding, maps, and what
//! several of them say together; from the manifest to the documents and the files beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod ensembles;
mod shelf;
mod single;

use std::fs;
use std::path::Path;

use serde_json::Value;
use shelf::Shelf;
use support::artefact;
use support::shelves::{INPUT, model, read, weights};

/// Labels of the two heads in turns.
const LABELS: [(&str, &str); 5] = [
    ("Front", "view"),
    ("Effusion", "findings"),
    ("Mass", "findings"),
    ("Side", "view"),
    ("Nodule", "findings"),
];

/// Two heads and the embedding. `activation`: of the head `findings`.
fn heads(activation: &str) -> String {
    let labels = LABELS
        .map(|(name, head)| format!("[[labels]]\nname = \"{name}\"\nhead = \"{head}\"\nthreshold = 0.5\n"));
    let head = |name: &str, activation: &str| {
        format!(
            "[[output.heads]]\nlogits = \"{name}\"\nactivation = \"{activation}\"\ncalibration = \"none\"\n"
        )
    };
    let heads = head("findings", activation) + &head("view", "softmax");
    format!("[output]\nembedding = \"embedding\"\n{heads}{}", labels.concat())
}

/// A shelf with the network `heads` of the engine's tests, of which a manifest takes `outputs`.
fn shelf(outputs: &str) -> Shelf {
    let shelf = Shelf::new();
    let folder = shelf.model("heads");
    let weights = weights(&folder, "heads.onnx", &[]);
    model(&folder, &format!("{weights}{INPUT}{outputs}"));
    shelf
}

/// How reading the image ended, and its document.
fn process(shelf: &Shelf, embeddings: bool) -> (String, Value) {
    let asked = [("NIGHTREAD_IMAGES_WRITE_EMBEDDINGS", if embeddings { "true" } else { "false" })];
    read(&shelf.process("heads", &asked), shelf.path())
}

/// The values of a `.npy` file of one axis.
fn values(file: &Path, count: usize) -> Vec<f64> {
    let bytes = fs::read(file).unwrap();
    let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
    assert!(bytes.starts_with(b"\x93NUMPY") && header.contains(&format!("'shape': ({count},)")), "{header}");
    let values = bytes[128..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    values.map(f64::from).collect()
}

#[test]
fn heads_become_one_list_and_an_embedding_a_file_that_may_be_asked_for_later() {
    let shelf = shelf(&heads("sigmoid"));
    let (outcome, plain) = process(&shelf, false);
    assert_eq!((outcome.as_str(), plain["artefacts"].as_array().unwrap().len()), ("read", 0));
    let (outcome, kept) = process(&shelf, true);
    assert_eq!((outcome.as_str(), &kept["findings"]), ("read", &plain["findings"]), "completed");
    let (outcome, same) = process(&shelf, true);
    assert_eq!((outcome.as_str(), &same), ("already_done", &kept), "once");

    let file = artefact(&kept, "embedding");
    assert!(file.ends_with(".embedding.npy"), "{file}");
    let embedding = values(&shelf.path().join("out").join(file), 16);
    let findings = kept["findings"].as_array().unwrap();
    let labels: Vec<_> = findings.iter().map(|finding| finding["label"].as_str().unwrap()).collect();
    assert_eq!(labels, LABELS.map(|(label, _)| label));
    // The network's own arithmetic, as `generate.py` has it.
    for (nth, column) in [(1, -1.0), (2, 0.0), (4, 1.0)] {
        let logit: f64 =
            embedding.iter().zip(1_u8..).map(|(value, place)| value * f64::from(place) * column / 64.0).sum();
        let found = &findings[nth];
        assert!((found["logit"].as_f64().unwrap() - logit).abs() < 1e-3 * logit.abs().max(1.0), "{found}");
        let probability = 1.0 / (1.0 + (-logit).exp());
        assert!((found["probability"].as_f64().unwrap() - probability).abs() < 1e-3, "{found}");
    }
    let [front, side] = [0, 3].map(|nth: usize| findings[nth]["probability"].as_f64().unwrap());
    assert!((front + side - 1.0).abs() < 1e-6, "{front} and {side}");
}

#[test]
fn numbers_that_are_no_probabilities_fail_the_study() {
    let shelf = shelf(&heads("none"));
    let (_, document) = process(&shelf, false);
    assert_eq!(
        (&document["status"], &document["error"]["code"]),
        (&"failed".into(), &"scores_not_probabilities".into())
    );
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"findings\"") && message.contains("sigmoid or softmax"), "{message}");
    assert!(document.get("findings").is_none());
}

/// A network that measures and finds nothing needs neither labels nor heads.
#[test]
fn a_network_may_measure_alone() {
    let columns = ["Age", "Dose"]
        .map(|name| format!("[[measurements]]\nname = \"{name}\"\nunit = \"a\"\noutput = \"view\"\n"));
    let shelf = shelf(&columns.concat());
    let (outcome, document) = process(&shelf, false);
    assert_eq!((outcome.as_str(), &document["findings"]), ("read", &serde_json::json!([])));
    let measured = document["measurements"].as_array().unwrap();
    let labels: Vec<_> = measured.iter().map(|made| (&made["label"], &made["unit"])).collect();
    assert_eq!(labels, [(&"Age".into(), &"a".into()), (&"Dose".into(), &"a".into())]);
    // The second column has the first one's weights with the other sign.
    let [age, dose] = [0, 1].map(|nth: usize| measured[nth]["value"].as_f64().unwrap());
    assert!(age.abs() > 1e-3 && (age + dose).abs() < 1e-4 * age.abs(), "{age} and {dose}");
}
