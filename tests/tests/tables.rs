//! Tables of results as their readers see them: pandas, polars, DuckDB, R, Label Studio; from folders and from Azurite; and a data
//! set whose updates are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../../worker/crates/table/tests/support/mod.rs"]
mod documents;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use documents::{Kind, document};
use nightread_domain::{BlobRef, BlobStore, WriteCondition};
use nightread_tests::azurite::Azurite;
use nightread_tests::commands::success;
use nightread_tests::parts::{root, skipped};
use nightread_tests::worker::binary;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

/// Where the document of a study lies below the results.
fn path_of(number: usize) -> String {
    format!("padchest-26/1.0.0-fp32/incoming/{}/{number}.dcm.json", number % 7)
}

fn one(number: usize, seed: u32) -> String {
    document(&format!("{}/{number}.dcm", number % 7), Kind::ALL[number % 4], seed).to_string()
}

fn write(folder: &Path, name: &str, body: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
}

fn results(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        write(folder.path(), &path_of(number), &one(number, number as u32 * 37));
    }
    // What lies beside documents, and is none.
    write(folder.path(), "padchest-26/1.0.0-fp32/incoming/0/0.dcm.ab.heat.0-a.png", "image");
    write(folder.path(), "_outbox/1.json", "{}");
    folder
}

fn table(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(["results", "table"]).args(arguments).envs(environment.iter().copied());
    command.env("ORT_DISABLE_TELEMETRY", "1").stdin(Stdio::null()).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The Python of tests/readers; `None` (said by name) where tests/setup has not made it.
fn python(test: &str) -> Option<PathBuf> {
    let python = root().join(".cache/venv-readers/bin/python");
    if !python.exists() {
        skipped(test, "the environment of tests/readers");
        return None;
    }
    Some(python)
}

fn script(python: &Path, name: &str, arguments: &[&Path]) {
    let output =
        Command::new(python).arg(root().join("tests/readers").join(name)).args(arguments).output().unwrap();
    success(name, &output);
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn readers_agree_with_a_plain_loop_over_the_documents() {
    let Some(python) = python("readers_agree_with_a_plain_loop_over_the_documents") else { return };
    let (folder, work) = (results(50), tempfile::tempdir().unwrap());
    let source = text(folder.path());
    let at = |name: &str| work.path().join(name);
    let names = ["long.parquet", "long.csv", "long.jsonl", "set/", "wide.parquet"].map(at);
    for out in &names {
        let wide: &[&str] = if out.ends_with("wide.parquet") { &["--wide"] } else { &[] };
        success(text(out), &table(&[&[source, "--out", text(out)], wide].concat(), &[]));
    }
    let arguments: Vec<&Path> =
        [folder.path()].into_iter().chain(names.iter().map(PathBuf::as_path)).collect();
    script(&python, "readers.py", &arguments);

    for (format, check) in [("label-studio", "label_studio.py"), ("fiftyone", "fiftyone_labels.py")] {
        let out = at(format);
        success(
            format,
            &table(&[source, "--format", format, "--images", "/data/", "--out", text(&out)], &[]),
        );
        // FiftyOne has an environment of its own, which `make test-fiftyone` makes.
        let own = root().join(format!(".cache/venv-{format}/bin/python"));
        script(if own.exists() { &own } else { &python }, check, &[&out]);
    }
    r_reads(&names[1], &names[2]);
}

/// R has no reader of Parquet among Debian's packages.
fn r_reads(csv: &Path, jsonl: &Path) {
    if Command::new("Rscript").arg("--version").output().is_err() {
        skipped("readers_agree_with_a_plain_loop_over_the_documents", "R (r-base-core)");
        return;
    }
    let lines = fs::read_to_string(jsonl).unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum: f64 = rows.iter().filter_map(|row| row["probability"].as_f64()).sum();
    let mut labels: Vec<_> = rows.iter().filter_map(|row| row["label"].as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let output = Command::new("Rscript")
        .arg("--vanilla")
        .arg(root().join("tests/readers/readers.R"))
        .arg(csv)
        .args([rows.len().to_string(), sum.to_string(), labels.len().to_string()])
        .output()
        .unwrap();
    success("readers.R", &output);
}

#[test]
fn what_cannot_be_read_is_told_and_wrong_use_is_refused() {
    let (folder, work) = (results(8), tempfile::tempdir().unwrap());
    let source = text(folder.path());
    let status = |arguments: &[&str]| {
        let output = table(arguments, &[]);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(status(&[source, "--format", "csv"]).0, 0);
    let out = work.path().join("a.txt");
    for wrong in [
        &["/nowhere/at/all", "--format", "csv"][..],
        &[source, "--out", text(&out)],
        &[source],
        &[source, "--wide", "--format", "fiftyone"],
        &[source, "--format", "csv", "--out", source],
        &[source, "--out", source],
    ] {
        let (code, told) = status(wrong);
        assert_eq!(code, 2, "{wrong:?}: {told}");
        assert!(!told.is_empty());
    }
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "nothing half is left");

    write(folder.path(), "newer.json", r#"{"schema": "nightread.result.v9"}"#);
    let (code, told) = status(&[source, "--format", "csv"]);
    assert!(code == 1 && told.contains("newer.json") && told.contains("nightread.result.v9"), "{told}");
    let (code, told) = status(&[source, "--format", "csv", "--status", "failed", "--prefix", "2/"]);
    assert!(code == 1 && told.contains("1 documents, 1 rows") && told.contains("7 left out"), "{told}");
}

/// Documents of the container; a speed is told of them, and `NIGHTREAD_TEST_DOCUMENTS=5000` makes it one that says something.
fn documents_there() -> usize {
    let number = std::env::var("NIGHTREAD_TEST_DOCUMENTS").map_or(Ok(400), |number| number.parse());
    number.expect("NIGHTREAD_TEST_DOCUMENTS is a number of documents")
}

/// Writes every file below the folder under its name in a new container.
async fn upload(azurite: &Azurite, container: &str, folder: &Path) {
    let store = azurite.store();
    store.create_container(container).await.unwrap();
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = text(path.strip_prefix(folder).unwrap()).to_owned();
        let (blob, body) = (BlobRef::new(container, name).unwrap(), fs::read(&path).unwrap());
        store.write(&blob, body.into(), &BTreeMap::new(), WriteCondition::IfAbsent).await.unwrap();
    }
}

fn in_account(azurite: &Azurite) -> [(&'static str, &str); 2] {
    [
        ("NIGHTREAD_STORAGE_KIND", "azure"),
        ("NIGHTREAD_STORAGE_CONNECTION_STRING", azurite.connection_string()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gives_what_a_folder_gives() {
    let Some(azurite) = Azurite::shared("a_container_gives_what_a_folder_gives").await else { return };
    let count = documents_there();
    let (folder, store) = (results(count), azurite.store());
    upload(azurite, "table-results", folder.path()).await;
    let environment = in_account(azurite);
    let lines = |source: &str, more: &[&str]| {
        let begun = Instant::now();
        let output = table(&[&[source, "--format", "jsonl"], more].concat(), &environment);
        success(source, &output);
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("{source}: {seconds:.2} s: {}", String::from_utf8_lossy(&output.stderr).trim());
        let mut rows: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for row in &mut rows {
            // The mark is the store's own.
            assert!(row["document_etag"].take().is_string());
        }
        rows.sort_by_key(ToString::to_string);
        rows
    };
    let (there, here) = (lines("container:table-results", &[]), lines(text(folder.path()), &[]));
    assert_eq!(here.len(), count / 2 * 3);
    assert_eq!(there, here);
    let model = ["--model", "padchest-26", "--precision", "fp32", "--model-version", "1.0.0"];
    assert_eq!(lines("container:table-results", &model), here);
    assert!(lines("container:table-results", &["--model", "another"]).is_empty());

    // A data set of it notices what changes there.
    let work = tempfile::tempdir().unwrap();
    let set = format!("{}/", work.path().join("set").display());
    let update = || {
        let output = table(&["container:table-results", "--out", &set], &environment);
        success("update", &output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(update().contains(&format!("{count} documents, {} rows", count / 2 * 3)));
    let told = update();
    assert!(
        told.contains("0 documents, 0 rows")
            && told.contains(&format!("{count} documents more as they were")),
        "{told}"
    );
    store.remove(&BlobRef::new("table-results", path_of(5)).unwrap()).await.unwrap();
    let told = update();
    assert!(told.contains(&format!("{} documents", count - 1)), "{told}");
    assert_eq!(rows(Path::new(&set)), count / 2 * 3 - 2, "document 5 was a scan of two components");
}

/// Two versions below one container, as a service leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn two_versions_in_a_container_compare_as_they_do_in_folders() {
    let test = "two_versions_in_a_container_compare_as_they_do_in_folders";
    let Some(azurite) = Azurite::shared(test).await else { return };
    let (folder, work) = (results(40), tempfile::tempdir().unwrap());
    for number in 0..40 {
        let mut other: Value = serde_json::from_str(&one(number, number as u32 * 91)).unwrap();
        other["model"]["version"] = "1.1.0".into();
        write(folder.path(), &path_of(number).replace("1.0.0", "1.1.0"), &other.to_string());
    }
    upload(azurite, "compared-results", folder.path()).await;
    let compared = |a: &str, b: &str, more: &[&str], out: &str| -> Value {
        let out = work.path().join(out);
        let output = Command::new(binary())
            .args(["results", "compare", a, b, "--format", "json", "--out", text(&out)])
            .args(more)
            .envs(in_account(azurite))
            .env("ORT_DISABLE_TELEMETRY", "1")
            .output()
            .unwrap();
        success(out.to_str().unwrap(), &output);
        let mut comparison: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        for side in ["a", "b"] {
            assert!(comparison[side]["source"].take().is_string());
        }
        comparison
    };
    let versions = ["padchest-26/1.0.0-fp32", "padchest-26/1.1.0-fp32"];
    let [a, b] = versions.map(|version| format!("container:compared-results/{version}/"));
    let there = compared(&a, &b, &[], "there.json");
    let [a, b] = versions.map(|version| text(&folder.path().join(version)).to_owned());
    let here = compared(&a, &b, &["--by", "study"], "here.json");
    assert_eq!(there, here);
    assert_eq!(
        (&there["joined_by"], &there["studies"], &there["compared"]),
        (&"study".into(), &40.into(), &30.into())
    );
    assert!(there["flips"].as_u64().unwrap() > 0 && there["a"]["models"][0]["version"] == "1.0.0");
}

/// The rows of a data set; every part is whole.
fn rows(set: &Path) -> usize {
    let parts = fs::read_dir(set).unwrap().map(|entry| {
        let reader = SerializedFileReader::new(File::open(entry.unwrap().path()).unwrap()).unwrap();
        reader.get_row_iter(None).unwrap().map(Result::unwrap).count()
    });
    parts.sum()
}

#[test]
fn killed_at_any_moment_a_data_set_is_the_old_one_or_the_new_one() {
    let (folder, work) = (results(800), tempfile::tempdir().unwrap());
    let set = work.path().join("set");
    let out = format!("{}/", set.display());
    success("the first", &table(&[text(folder.path()), "--out", &out], &[]));
    let mut before = rows(&set);
    assert_eq!(before, 1200);
    let mut killed = 0;
    for round in 0..12_u64 {
        // Every round has one study more, which failed, and so one row more.
        let extra = document("extra", Kind::Failed, round as u32).to_string();
        write(folder.path(), &format!("padchest-26/1.0.0-fp32/incoming/extra/{round}.json"), &extra);
        let mut child = Command::new(binary())
            .args(["results", "table", text(folder.path()), "--out", &out])
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 * round));
        let _ = child.kill();
        let whole = child.wait().unwrap().success();
        killed += usize::from(!whole);
        let after = rows(&set);
        let new = 1200 + round as usize + 1;
        assert!(after == before || after == new, "{before} or {new}, not {after}");
        assert!(!whole || after == new);
        before = after;
    }
    success("the last", &table(&[text(folder.path()), "--out", &out], &[]));
    assert_eq!(rows(&set), 1212);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "what killed updates left is gone");
    eprintln!("{killed} of 12 updates were killed");
}
