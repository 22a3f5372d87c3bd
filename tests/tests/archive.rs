//! `nightread dicom send` against a real archive: in the patient's own study, once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nightread_tests::orthanc::Orthanc;
use nightread_tests::worker::{binary, runtime};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const STUDY: &str = "1.2.826.0.1.3680043.2.1143.77";

/// A small radiograph in explicit VR little endian, and a document of its reading.
struct Reading {
    folder: TempDir,
}

impl Reading {
    fn new(threshold: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = radiograph();
        let document = json!({
            "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
            "study": {"kind": "blob", "container": "local", "name": "a.dcm", "version": "1", "last_modified": null,
                "bytes": source.len(), "sha256": hex::encode(Sha256::digest(&source)), "media": "dicom"},
            "model": {"name": "cxr-pneumonia-demo", "version": "1.0.1", "precision": "fp32",
                "weights_sha256": "ab".repeat(32), "execution_provider": "cpu", "preprocessing": "xrv-1"},
            "findings": [{"label": "Pneumonia", "logit": 3.0, "probability": 0.95, "threshold": threshold, "positive": true}],
            "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"});
        std::fs::write(folder.path().join("a.dcm"), source).unwrap();
        std::fs::write(folder.path().join("a.dcm.json"), document.to_string()).unwrap();
        Self { folder }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("a.dcm")
    }

    fn send(&self, archive: &str, environment: &[(&str, &str)]) -> Output {
        self.run("send", &[], archive, environment)
    }

    fn run(&self, what: &str, more: &[&Path], archive: &str, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(binary());
        command
            .args(["dicom", what])
            .arg(self.folder.path().join("a.dcm.json"))
            .arg("--source")
            .arg(self.source());
        command.args(["--format", "json"]).args(more).env("NIGHTREAD_DELIVER_ARCHIVE", archive);
        command.env("NIGHTREAD_MODELS_DIR", nightread_tests::parts::root().join("models"));
        command.envs(environment.iter().copied()).output().unwrap()
    }
}

fn radiograph() -> Vec<u8> {
    nightread_tests::radiographs::radiograph(STUDY, 7)
}

fn objects(output: &Output) -> Vec<Value> {
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    answer["objects"].as_array().unwrap().clone()
}

fn modalities(instances: &[(String, String)]) -> Vec<&str> {
    instances.iter().map(|(modality, _)| modality.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_join_their_study_once_by_either_way() {
    let Some(orthanc) = Orthanc::start("results_join_their_study_once_by_either_way").await else { return };
    let reading = Reading::new(0.5);
    let stored = orthanc.store(&reading.source());
    assert!(stored.status.success(), "{}", String::from_utf8_lossy(&stored.stderr));

    // Three times by STOW-RS, with the archive's own list as a witness, and once more by C-STORE: one of each kind.
    let ways = [orthanc.web(), orthanc.web(), orthanc.web(), orthanc.associations("ARCHIVE")];
    for way in &ways {
        let sent = reading.send(way, &[("NIGHTREAD_DELIVER_READ_BACK", "true")]);
        assert_eq!(sent.status.code(), Some(0), "{way}: {}", String::from_utf8_lossy(&sent.stdout));
        assert!(objects(&sent).iter().all(|object| object["stored"] == true));
        assert_eq!(modalities(&orthanc.instances(STUDY).await), ["CR", "OT", "SR"], "{way}");
    }
    // What is listed is what `dicom write` writes.
    let out = tempfile::tempdir().unwrap();
    let written = reading.run("write", &[Path::new("--out"), out.path()], "", &[]);
    let listed = orthanc.instances(STUDY).await;
    for object in objects(&written) {
        let name = object["sop_instance_uid"].as_str().unwrap();
        assert!(listed.iter().any(|(_, uid)| uid == name), "{name}");
    }
    // Another threshold is another result: the former stays.
    let sent = Reading::new(0.6).send(&orthanc.associations("ARCHIVE"), &[]);
    assert_eq!(sent.status.code(), Some(0), "{}", String::from_utf8_lossy(&sent.stdout));
    assert_eq!(modalities(&orthanc.instances(STUDY).await), ["CR", "OT", "OT", "SR", "SR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_result_is_committed_by_hand() {
    let Some(orthanc) = Orthanc::start("one_result_is_committed_by_hand").await else { return };
    let (reading, archive) = (Reading::new(0.5), orthanc.associations("ARCHIVE"));
    let seconds = ("NIGHTREAD_DELIVER_COMMITMENT_SECONDS", "2");
    let sent = reading.send(&archive, &[seconds]);
    assert_eq!(sent.status.code(), Some(1), "nobody listens for its report");
    assert_eq!(objects(&sent)[0]["error"]["code"], "commitment_timeout");
    let here = orthanc.reports_to().to_string();
    let seconds = ("NIGHTREAD_DELIVER_COMMITMENT_SECONDS", "20");
    let sent = reading.send(&archive, &[seconds, ("NIGHTREAD_DELIVER_COMMITMENT_LISTEN", &here)]);
    assert_eq!(sent.status.code(), Some(0), "{}", String::from_utf8_lossy(&sent.stdout));
    let answer: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(answer["commitment"]["outcome"], "committed");
    assert_eq!(modalities(&orthanc.instances(STUDY).await), ["OT", "SR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_refuses_or_is_away_is_told_by_a_code() {
    let Some(mut orthanc) = Orthanc::start("an_archive_that_refuses_or_is_away_is_told_by_a_code").await
    else {
        return;
    };
    let reading = Reading::new(0.5);
    let code = |sent: &Output| {
        assert_eq!(sent.status.code(), Some(1));
        objects(sent)[0]["error"]["code"].as_str().unwrap().to_owned()
    };
    let sent = reading.send(&orthanc.associations("SOMEBODY"), &[]);
    assert_eq!(code(&sent), "delivery_forbidden", "a called title that is not its own");
    let sent =
        reading.send(&orthanc.associations("ARCHIVE"), &[("NIGHTREAD_DELIVER_CALLING_TITLE", "UNKNOWN")]);
    assert_eq!(
        code(&sent),
        "delivery_unavailable",
        "a calling title that it does not know: it breaks the association"
    );
    assert!(String::from_utf8_lossy(&sent.stdout).contains("UNKNOWN"), "the title is in the message");
    let sent = reading.send(&orthanc.web().replace("dicom-web", "elsewhere"), &[]);
    assert_eq!(code(&sent), "delivery_unsupported", "another path");
    orthanc.stop();
    for way in [orthanc.web(), orthanc.associations("ARCHIVE")] {
        assert_eq!(code(&reading.send(&way, &[])), "delivery_unavailable", "{way}");
    }
    orthanc.resume().await;
    assert_eq!(reading.send(&orthanc.web(), &[]).status.code(), Some(0), "it is back");
    assert_eq!(modalities(&orthanc.instances(STUDY).await), ["OT", "SR"]);
    // A source that is another than the one that was read.
    std::fs::write(reading.source(), [radiograph(), vec![0; 8]].concat()).unwrap();
    let sent = reading.send(&orthanc.web(), &[]);
    assert_eq!(sent.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&sent.stderr).contains("source"),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    assert_eq!(orthanc.instances(STUDY).await.len(), 2, "nothing was sent");
}

/// The binary with this checkout's models and runtime.
fn nightread() -> Command {
    let mut command = Command::new(binary());
    command.env("NIGHTREAD_MODELS_DIR", nightread_tests::parts::root().join("models"));
    command.env("NIGHTREAD_MODELS_RUNTIME", runtime().expect("`make runtime`"));
    command
}

/// The demonstration's series, unpacked into this folder; the Study Instance UID.
fn unpacked(folder: &Path) -> String {
    let archive = nightread_tests::parts::root().join("models/ct-organs-demo/sample.zip");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(archive).arg(folder);
    assert!(unzip.status().unwrap().success());
    let mut dump = Command::new("dcmdump");
    let dumped = dump.args(["+P", "StudyInstanceUID"]).arg(folder.join("001.dcm")).output().unwrap();
    String::from_utf8(dumped.stdout).unwrap().split(['[', ']']).nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_comes_back_with_report_pictures_and_segmentation() {
    let Some(orthanc) = Orthanc::start("a_series_comes_back_with_report_pictures_and_segmentation").await
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let slices = folder.path().join("ct");
    std::fs::create_dir(&slices).unwrap();
    let study = unpacked(&slices);
    let count = std::fs::read_dir(&slices).unwrap().count();
    let stored = orthanc.store(&slices);
    assert!(stored.status.success(), "{}", String::from_utf8_lossy(&stored.stderr));

    let out = folder.path().join("out");
    let read =
        nightread().arg("process").arg(&slices).arg("--out").arg(&out).args(["--format", "json"]).output();
    let read = read.unwrap();
    let answer: Value = serde_json::from_slice(&read.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&read.stderr)));
    let document = answer["results"][0]["path"].as_str().unwrap();
    // Twice by one way and once by the other: one of each. An archive of 2022 knows no label maps, so that they are binary.
    for way in [orthanc.web(), orthanc.web(), orthanc.associations("ARCHIVE")] {
        let mut send = nightread();
        send.args(["dicom", "send", document, "--format", "json", "--source"]).arg(&slices);
        send.env("NIGHTREAD_DELIVER_ARCHIVE", &way).env("NIGHTREAD_DELIVER_READ_BACK", "true");
        let sent = send.output().unwrap();
        assert_eq!(sent.status.code(), Some(0), "{way}: {}", String::from_utf8_lossy(&sent.stdout));
        let listed = orthanc.instances(&study).await;
        let of = |modality: &str| listed.iter().filter(|(found, _)| found == modality).count();
        assert_eq!(
            (of("CT"), of("SEG"), of("OT"), of("SR"), listed.len()),
            (count, 1, 2, 1, count + 4),
            "{way}"
        );
    }
}
