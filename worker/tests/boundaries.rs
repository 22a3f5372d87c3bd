//! The walls between crates: what each may not know, proven from the dependency tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

/// Crates that compute and do nothing else.
const PURE: [&str; 5] =
    ["nightread-domain", "nightread-dicom", "nightread-volume", "nightread-radiograph", "nightread-fmri"];

/// Every crate that `package` needs, directly or not.
fn needs(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .current_dir(support::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn pure_crates_know_no_reactor_broker_cloud_or_runtime() {
    for package in PURE {
        let needed = needs(package);
        assert!(needed.len() > 3, "the tree of {package} was read");
        for name in needed {
            let outside = ["tokio", "lapin", "ort", "ort-sys", "reqwest", "axum"].contains(&name.as_str())
                || name.starts_with("azure_");
            assert!(!outside, "{package} needs {name}");
        }
    }
}

/// Formats know nothing of what is read from them, and readings nothing of each other.
#[test]
fn formats_and_readings_are_apart() {
    for (package, unknown) in [
        ("nightread-domain", &["dicom", "volume", "radiograph", "fmri", "engine"][..]),
        ("nightread-dicom", &["volume", "radiograph", "fmri", "engine"]),
        ("nightread-volume", &["dicom", "radiograph", "fmri", "engine"]),
        ("nightread-radiograph", &["volume", "fmri", "engine"]),
        ("nightread-fmri", &["dicom", "radiograph", "engine"]),
        ("nightread-engine", &["dicom", "volume", "radiograph", "fmri"]),
    ] {
        let needed = needs(package);
        assert!(needed.contains(&package.to_owned()), "the tree of {package} was read");
        for name in unknown {
            assert!(!needed.contains(&format!("nightread-{name}")), "{package} needs nightread-{name}");
        }
    }
}

#[test]
fn only_the_engine_knows_onnx_runtime() {
    for package in PURE {
        assert!(!needs(package).contains(&"ort".to_owned()), "{package}");
    }
    let engine = needs("nightread-engine");
    assert!(engine.contains(&"ort".to_owned()));
    for name in ["tokio", "lapin"] {
        assert!(!engine.contains(&name.to_owned()), "the engine needs {name}");
    }
}
