//! Manifests of ensembles: what is read, what decides a version, and one line for each mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Graph, Models};
use nightread_domain::ErrorCode;
use nightread_engine::{Catalogue, Combine, Manifest, Precision, VerifiedModel};

/// Two networks of the same labels, and an ensemble of them.
fn two() -> Models {
    let models = Models::new();
    for graph in ["linear", "conv"] {
        models.write(&Graph { labels: 3, ..Graph::new(graph) });
    }
    write(&models, &["linear", "conv"]);
    models
}

fn write(models: &Models, members: &[&str]) {
    let members = members.iter().map(|name| {
        let manifest = Manifest::read(&models.path().join(name)).unwrap();
        let digest = manifest.weights(Precision::Fp32).and_then(nightread_engine::Weights::digest).unwrap();
        let pinned = manifest.sha256();
        format!("[[ensemble.members]]\nmodel = \"{name}\"\nmanifest_sha256 = \"{pinned}\"\nfp32_sha256 = \"{digest}\"\n")
    });
    let labels = ["Label 0", "Label 1", "Label 2"];
    let labels = labels.map(|label| format!("[[labels]]\nname = \"{label}\"\nthreshold = 0.5\n"));
    let text = format!(
        r#"schema = 1
name = "both"
version = "1.0.0"
task = "radiograph"
description = "two networks"
card = "README.md"
[ensemble]
combine = "mean"
{}{}[trained_on]
modality_words = "numbers"
[source]
data = "none"
citation = "none"
url = "none"
licence = "none"
not_for = "anything"
"#,
        members.collect::<String>(),
        labels.concat()
    );
    let folder = models.path().join("both");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("README.md"), "# Two\n").unwrap();
    fs::write(folder.join("manifest.toml"), text).unwrap();
}

/// Rewrites a manifest; what is replaced must be there.
fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The first problem of the ensemble when `from` stands as `to` in the manifest of `model`.
fn problem(model: &str, from: &str, to: &str) -> String {
    let models = two();
    edit(&models.path().join(model), from, to);
    let catalogue = Catalogue::load(models.path()).unwrap();
    let found = catalogue.problems().iter().find(|found| found.path.parent().unwrap().ends_with("both"));
    found.unwrap_or_else(|| panic!("{from}: nothing is found")).problems[0].to_string()
}

#[test]
fn an_ensemble_is_read_with_its_members() {
    let models = two();
    let catalogue = Catalogue::load(models.path()).unwrap();
    assert!(catalogue.problems().is_empty(), "{:?}", catalogue.problems());
    let both = catalogue.get("both").unwrap();
    assert_eq!(both.ensemble.as_ref().unwrap().combine, Combine::Mean);
    let members = catalogue.members(both).unwrap();
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["linear", "conv"]);
    assert_eq!(both.precisions().collect::<Vec<_>>(), [Precision::Fp32]);
    assert!(catalogue.members(catalogue.get("linear").unwrap()).unwrap().is_empty());
    let error = VerifiedModel::open(&Arc::clone(both), Precision::Fp32).unwrap_err();
    assert!(error.code == ErrorCode::ModelMismatch && error.message.contains("ensemble"), "{error}");
}

#[test]
fn whatever_of_an_ensemble_decides_a_result_is_in_its_digest() {
    let digest = |from: &str, to: &str| {
        let models = two();
        edit(&models.path().join("both"), from, to);
        Manifest::read(&models.path().join("both")).unwrap().sha256()
    };
    let first = digest("schema", "schema");
    assert_eq!(first, digest("description = \"two", "description = \"a pair of"), "words may change");
    let zeros = zeros("manifest_sha256 = \"");
    for (from, to) in [
        ("\"mean\"", "\"vote\""),
        ("threshold = 0.5", "threshold = 0.6"),
        ("model = \"conv\"", "model = \"other\""),
        ("manifest_sha256 = \"", &zeros),
    ] {
        assert_ne!(first, digest(from, to), "{to}");
    }
}

/// A digest of zeros, and a comment of the one that stands there.
fn zeros(from: &str) -> String {
    format!("{from}{}\" # ", "0".repeat(64))
}

#[test]
fn each_mistake_is_one_line_with_its_place() {
    let decided = zeros("manifest_sha256 = \"");
    let weights = zeros("fp32_sha256 = \"");
    let absent = format!("int8_sha256 = \"{}\"\nfp32_sha256 = \"", "0".repeat(64));
    let table = [
        ("both", "\"mean\"", "\"median\"", "ensemble.combine must be one of mean, vote, not \"median\""),
        (
            "both",
            "model = \"conv\"",
            "model = \"absent\"",
            "ensemble.members[1].model \"absent\" is no sound model beside this one: see `nightread models`",
        ),
        (
            "both",
            "model = \"conv\"",
            "model = \"linear\"",
            "ensemble.members[1].model \"linear\" is a member already",
        ),
        (
            "both",
            "model = \"conv\"",
            "model = \"both\"",
            "ensemble.members[1].model \"both\" is an ensemble itself: name its members",
        ),
        (
            "both",
            "manifest_sha256 = \"",
            &decided,
            "ensemble.members[0].manifest_sha256 is not that of linear here, ",
        ),
        (
            "both",
            "fp32_sha256 = \"",
            &weights,
            "ensemble.members[0].fp32_sha256 is not that of linear here, ",
        ),
        (
            "both",
            "fp32_sha256 = \"",
            &absent,
            "ensemble.members[0].int8_sha256 is of weights that are not there: linear has no int8 to run",
        ),
        (
            "both",
            "fp32_sha256",
            "int8_sha256",
            "ensemble.members must have a fp32_sha256 of each, or an int8_sha256 of each: members run at one precision",
        ),
        (
            "both",
            "name = \"Label 1\"",
            "name = \"Mass\"",
            "ensemble.members[0].model \"linear\" reports \"Label 1\" where labels[1] is \"Mass\": members report the same labels in the same order",
        ),
        (
            "both",
            "[trained_on]",
            "[[labels]]\nname = \"Mass\"\nthreshold = 0.5\n[trained_on]",
            "ensemble.members[0].model \"linear\" reports 3 labels and the ensemble 4",
        ),
        (
            "both",
            "[ensemble]",
            "[output]\nlogits = \"logits\"\n[ensemble]",
            "output is each member's own: leave it out of an ensemble",
        ),
        (
            "both",
            "threshold = 0.5",
            "threshold = 0.5\nop_threshold = 0.5",
            "labels[0].op_threshold is each member's own: an ensemble lists the labels that they report",
        ),
        ("both", "task = \"radiograph\"", "task = \"components\"", "ensemble serves radiographs alone"),
        (
            "linear",
            "[trained_on]",
            "[trained_on]\ndemonstration = true",
            "ensemble.members[0].manifest_sha256 is not that of linear here, ",
        ),
        (
            "conv",
            "version = \"1.0.0\"",
            "version = \"one\"",
            "ensemble.members[1].model \"conv\" is no sound model beside this one: see `nightread models`",
        ),
    ];
    for (model, from, to, line) in table {
        let found = problem(model, from, to);
        assert!(found.starts_with(line), "{found}\n{line}");
    }
}

#[test]
fn what_a_member_must_not_be_used_for_its_ensemble_says_too() {
    let models = two();
    edit(&models.path().join("linear"), "[trained_on]", "[trained_on]\ndemonstration = true");
    write(&models, &["linear", "conv"]);
    let catalogue = Catalogue::load(models.path()).unwrap();
    let found: Vec<_> = catalogue.problems().iter().flat_map(|found| &found.problems).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].to_string(), "trained_on.demonstration must be true: it is of the member linear");
}

#[test]
fn one_network_is_no_ensemble() {
    let models = two();
    write(&models, &["linear"]);
    let catalogue = Catalogue::load(models.path()).unwrap();
    let error = catalogue.get("both").unwrap_err();
    assert!(error.message.contains("ensemble.members must name 2 to 32 networks, not 1"), "{error}");
}
