//! Several networks, one result.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shelf::{BANDED, LABELS, Network, Shelf, numbers};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Three networks that prepare the image in three ways, and an ensemble of them.
fn three(combine: &str) -> Shelf {
    let shelf = Shelf::new();
    shelf.network(&Network { threshold: 0.4, ..Network::default() });
    shelf.network(&Network { name: "two", range: [-1.0, 0.5], geometry: BANDED, ..Network::default() });
    shelf.network(&Network { name: "three", range: [0.0, 0.1], threshold: 0.55, ..Network::default() });
    shelf.ensemble("together", &NAMES, combine, &LABELS);
    shelf
}

#[test]
fn a_mean_is_that_of_the_members_own_documents() {
    let shelf = three("mean");
    let members = NAMES.map(|name| shelf.read(name, &[]));
    let together = shelf.read("together", &[]);
    let each = members.each_ref().map(|document| numbers(document, "probability"));
    assert!(each[0] != each[1] && each[1] != each[2], "the members differ: {each:?}");
    for (label, found) in numbers(&together, "probability").into_iter().enumerate() {
        let mean = each.iter().map(|numbers| numbers[label]).sum::<f64>() / 3.0;
        assert!((found - mean).abs() < 1e-7, "{label}: {found}, {mean}");
        let finding = &together["findings"][label];
        let logit = (mean / (1.0 - mean)).ln();
        assert!((finding["logit"].as_f64().unwrap() - logit).abs() < 1e-4, "{finding}");
        assert_eq!(
            finding["positive"],
            json!(found >= f64::from(0.6_f32)),
            "by the ensemble's own threshold"
        );
    }
    let model = &together["model"];
    assert_eq!((&model["preprocessing"], &model["ensemble"]["combine"]), (&"members".into(), &"mean".into()));
    let told = model["ensemble"]["members"].as_array().unwrap();
    for (told, document) in told.iter().zip(&members) {
        for field in ["name", "version", "weights_sha256", "manifest_sha256", "preprocessing"] {
            assert_eq!(told[field], document["model"][field], "{field}");
        }
    }
    assert_eq!(told.len(), 3);
    let (sound, said) = shelf.models(&["check", "together"]);
    assert!(sound && NAMES.iter().all(|name| said.contains(&format!("member {name} 1.0.0"))), "{said}");
    let (_, said) = shelf.models(&[]);
    assert!(said.contains("fp32 of one, two, three"), "{said}");
}

#[test]
fn a_vote_is_the_share_of_members_that_find_it() {
    let shelf = three("vote");
    let members = NAMES.map(|name| shelf.read(name, &[]));
    let together = shelf.read("together", &[]);
    let mut shares = Vec::new();
    for (label, found) in numbers(&together, "probability").into_iter().enumerate() {
        let votes = members.iter().filter(|document| document["findings"][label]["positive"] == true).count();
        assert!((found - votes as f64 / 3.0).abs() < 1e-7, "{label}: {found}, {votes}");
        shares.push(votes);
    }
    assert!(shares.iter().any(|votes| (1..3).contains(votes)), "the members disagree somewhere: {shares:?}");
}

/// Fewer networks would give another number without a word.
#[test]
fn one_member_that_fails_is_the_ensembles_failure() {
    let shelf = three("mean");
    // Its first pixel is 7, where it divides by nothing.
    shelf.network(&Network { name: "poisoned", graph: "poison", range: [7.0, 7.5], ..Network::default() });
    std::fs::write(shelf.path().join("a.png"), black()).unwrap();
    shelf.ensemble("together", &["one", "poisoned"], "mean", &LABELS);
    assert_eq!(shelf.read("one", &[])["status"], "ok");
    let failed = shelf.read("together", &[]);
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&"failed".into(), &"scores_not_finite".into())
    );
    assert!(failed["error"]["message"].as_str().unwrap().contains("poisoned"), "{failed:#}");
    assert!(failed.get("findings").is_none());
}

fn black() -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 64, 64);
    encoder.set_color(png::ColorType::Grayscale);
    let mut pixels = vec![0; 64 * 64];
    pixels[64 * 63 + 63] = 1;
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}

#[test]
fn other_members_than_were_meant_are_refused_and_the_rest_goes_on() {
    let shelf = three("mean");
    shelf.edit("two", "threshold = 0.5", "threshold = 0.7");
    let ran = shelf.process("together", &[]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success(), "{said}");
    assert!(said.contains("ensemble.members[1].manifest_sha256 is not that of two here"), "{said}");
    assert_eq!(shelf.read("two", &[])["status"], "ok", "a network serves for itself");
    let (sound, said) = shelf.models(&["check", "together"]);
    assert!(!sound && said.contains("ensemble.members[1].manifest_sha256"), "{said}");
}

/// Weights of the members that the ensemble does not pin would be read with whatever they are.
#[test]
fn a_precision_that_an_ensemble_does_not_pin_is_refused_though_its_members_have_it() {
    let shelf = three("mean");
    for name in NAMES {
        let folder = shelf.model(name);
        let weights = std::fs::read(folder.join("model.fp32.onnx")).unwrap();
        std::fs::write(folder.join("model.int8.onnx"), &weights).unwrap();
        let (sha256, calibration) = (hex::encode(Sha256::digest(&weights)), "a".repeat(64));
        let section = format!(
            "[weights.int8]\nfile = \"model.int8.onnx\"\nsha256 = \"{sha256}\"\ntarget = \"u8s8-reduce-range\"\n\
             [weights.int8.evidence]\ncalibration_sha256 = \"{calibration}\"\ncalibration_items = 1\nagreement = 1.0\n\
             metric = \"auc\"\nfp32 = [0.9, 0.8, 1.0]\nint8 = [0.9, 0.8, 1.0]\nevaluated_items = 1\n[input]\n"
        );
        shelf.edit(name, "[input]\n", &section);
    }
    shelf.ensemble("together", &NAMES, "mean", &LABELS);
    let int8 = [("NIGHTREAD_MODELS_PRECISION", "int8")];
    assert_eq!(shelf.read("one", &int8)["model"]["precision"], "int8", "a member serves so for itself");
    let ran = shelf.process("together", &int8);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && ran.stdout.is_empty(), "{said}");
    assert!(said.contains("together is an ensemble and does not offer int8; it offers: fp32"), "{said}");
    assert_eq!(shelf.read("together", &[])["model"]["precision"], "fp32");
}

/// Another set of members is another version.
#[test]
fn other_members_under_a_version_that_has_results_are_refused() {
    let shelf = three("mean");
    let first = shelf.read("together", &[]);
    shelf.network(&Network { name: "two", range: [-1.0, 0.75], ..Network::default() });
    shelf.ensemble("together", &NAMES, "mean", &LABELS);
    let ran = shelf.process("together", &[]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("give the changed model a new version"), "{said}");
    shelf.edit("together", "version = \"1.0.0\"", "version = \"1.1.0\"");
    let second = shelf.read("together", &[]);
    assert_ne!(first["model"]["manifest_sha256"], second["model"]["manifest_sha256"]);
    assert_eq!(
        first["model"]["weights_sha256"], second["model"]["weights_sha256"],
        "the graphs are the same"
    );
}

#[test]
fn heatmaps_and_inputs_of_an_ensemble_are_refused_in_words() {
    let shelf = three("mean");
    let ran = shelf.process("together", &[("NIGHTREAD_IMAGES_WRITE_HEATMAPS", "true")]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && said.contains("no model gives class-activation maps"), "{said}");
    let document: Value = shelf.read("together", &[]);
    assert_eq!(document["artefacts"], json!([]));
    let mut command = crate::support::nightread();
    command.current_dir(shelf.path()).args(["prepare", "a.png", "--models", "models", "--out", "x.npz"]);
    let ran = command.args(["--model", "together"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("name one of one, two, three"), "{said}");
}

#[test]
fn an_ensemble_comes_out_of_a_registry_with_its_members() {
    let shelf = three("mean");
    let local = shelf.read("together", &[]);
    let root = shelf.path().join("storage");
    std::fs::create_dir_all(root.join("models")).unwrap();
    let storage =
        [("NIGHTREAD_STORAGE_KIND", "folder"), ("NIGHTREAD_STORAGE_FOLDER", root.to_str().unwrap())];
    let push = |name: &str| {
        let mut command = crate::support::nightread();
        command.current_dir(shelf.path()).envs(storage).args(["models", "push", name, "--to", "models"]);
        let ran = command.args(["--models", "models", "--format", "json"]).output().unwrap();
        (
            serde_json::from_slice::<Value>(&ran.stdout).unwrap_or_default(),
            String::from_utf8(ran.stderr).unwrap(),
        )
    };
    let pins: Vec<_> = NAMES
        .into_iter()
        .chain(["together"])
        .map(|name| {
            let (answer, said) = push(name);
            assert_eq!(
                answer["members"].as_array().map(Vec::len),
                Some(3 * usize::from(name == "together")),
                "{said}"
            );
            answer["pin"].as_str().unwrap().to_owned()
        })
        .collect();
    // What it was made of has changed since: it would be pinned, and refused by every worker.
    shelf.network(&Network { threshold: 0.45, ..Network::default() });
    let (_, said) = push("together");
    assert!(said.contains("ensemble.members[0].manifest_sha256"), "{said}");

    let read = |pins: &[String], out: &str| {
        let mut command = crate::support::nightread();
        command.current_dir(shelf.path()).envs(storage).env("NIGHTREAD_MODELS_DIR", "");
        command.env("NIGHTREAD_MODELS_REGISTRY", "models").env("NIGHTREAD_MODELS_PINNED", pins.join(","));
        command.env("NIGHTREAD_MODELS_REGISTRY_CACHE", shelf.path().join("cache"));
        command.args([
            "process", "a.png", "--root", ".", "--model", "together", "--out", out, "--format", "json",
        ]);
        command.output().unwrap()
    };
    let (_, fetched) = crate::support::shelves::read(&read(&pins, "fetched"), shelf.path());
    assert_eq!(fetched["findings"], local["findings"]);
    // A pinned model that cannot be read with is not left out.
    let ran = read(&pins[1..], "lacking");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains("ensemble.members[0]"), "{said}");
}
