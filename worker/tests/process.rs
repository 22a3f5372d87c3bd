//! `nightread process` as a person runs it: the real binary, the real model, real images.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{Ran, checked, copy_folder, missing, nightread, process, pydicom_data, repository, test_data};
use tempfile::TempDir;

/// Where the images of the demo agree with each other, in probability.
const AGREEMENT: f64 = 1e-4;

#[test]
fn encodings_of_one_image_agree() {
    let Some(data) = pydicom_data() else { return missing("encodings_of_one_image_agree") };
    let work = TempDir::new().unwrap();
    let mut inputs: Vec<PathBuf> =
        ["RG1_UNCR.dcm", "RG1_UNCI.dcm", "RG1_J2KR.dcm"].iter().map(|name| data.join(name)).collect();
    if let Some(png) = test_data("xray/png16").and_then(|folder| find(&folder, "fullrange")) {
        inputs.push(png);
    }
    let ran = process(&inputs, work.path(), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let probabilities = probabilities(&ran);
    assert_eq!(probabilities.len(), inputs.len());
    let first = probabilities.values().next().unwrap();
    for (file, probability) in &probabilities {
        assert!((probability - first).abs() <= AGREEMENT, "{file}: {probability} is not {first}");
    }
}

#[test]
fn a_stored_range_png_agrees_when_its_maximum_is_named() {
    let (Some(data), Some(folder)) = (pydicom_data(), test_data("xray/png16")) else {
        return missing("a_stored_range_png_agrees_when_its_maximum_is_named");
    };
    let Some(png) = find(&folder, "inverted") else {
        panic!("no stored-range image in {}", folder.display())
    };
    let work = TempDir::new().unwrap();
    let reference = probabilities(&process(&[data.join("RG1_UNCR.dcm")], work.path(), &[]));
    let named = process(&[png], work.path(), &[("NIGHTREAD_IMAGES_PNG16_MAX", "32767")]);
    assert_eq!(named.code, Some(0), "{}", named.stderr);
    let (named, reference) = (probabilities(&named), reference.into_values().next().unwrap());
    let named = named.into_values().next().unwrap();
    assert!((named - reference).abs() <= AGREEMENT, "{named} is not {reference}");
}

#[test]
fn a_table_has_what_was_read_and_what_was_skipped() {
    let Some(data) = pydicom_data() else { return missing("a_table_has_what_was_read_and_what_was_skipped") };
    let work = TempDir::new().unwrap();
    let tables = ["first.jsonl", "second.jsonl"].map(|name| {
        let table = work.path().join(name);
        let mut command = nightread();
        command.arg("process").arg(data.join("RG1_UNCR.dcm")).arg("--out").arg(work.path().join("out"));
        let ran = command.arg("--table").arg(&table).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        fs::read_to_string(table).unwrap()
    });
    assert_eq!(tables[0], tables[1], "what was skipped is in it as well");
    let row: Value = serde_json::from_str(tables[0].lines().next().unwrap()).unwrap();
    assert_eq!((&row["label"], &row["positive"]), (&Value::from("Pneumonia"), &Value::from(true)));
    let wrong =
        nightread().args(["process", "x.dcm", "--out", "out", "--table", "table.xlsx"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_positive_finding_is_painted_where_that_is_asked_for() {
    let Some(data) = pydicom_data() else {
        return missing("a_positive_finding_is_painted_where_that_is_asked_for");
    };
    let work = TempDir::new().unwrap();
    let document = |out: &Path, settings: &[(&str, &str)]| -> Value {
        let ran = process(&[data.join("RG1_UNCR.dcm")], out, settings);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let path = ran.json["results"][0]["path"].as_str().unwrap();
        let document = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        checked(&document);
        document
    };
    let (plain, asked) = (work.path().join("plain"), work.path().join("asked"));
    let without = document(&plain, &[]);
    assert_eq!(without["findings"][0]["positive"], true);
    assert_eq!(without["artefacts"], serde_json::json!([]), "images are written only where asked for");

    let with = document(&asked, &[("NIGHTREAD_IMAGES_WRITE_HEATMAPS", "true")]);
    assert_eq!(with["findings"][0]["probability"], without["findings"][0]["probability"]);
    let name = with["artefacts"][0]["path"].as_str().unwrap();
    assert!(name.ends_with(".heat.0-pneumonia.png"), "{name}");
    let file = fs::File::open(asked.join(name)).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    assert!(info.width > 2 * 512 && info.height > 512, "the original and what speaks for the finding");
    let coloured = pixels.chunks_exact(3).filter(|rgb| rgb[0] != rgb[1] || rgb[1] != rgb[2]).count();
    assert!(coloured > 1000 && coloured < 512 * 512, "{coloured} pixels have heat");
    let texts = &reader.info().utf8_text;
    let said = texts.iter().find(|chunk| chunk.keyword == "Description").unwrap().get_text().unwrap();
    for part in ["Pneumonia: positive", "cxr-pneumonia-demo", "Not a medical device"] {
        assert!(said.contains(part), "{said}");
    }

    // Forced, it is painted anew; and what the document says of it is true of the bytes that lie there.
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let says = |document: &Value| {
        let artefact = &document["artefacts"][0];
        (artefact["bytes"].as_u64().unwrap(), artefact["sha256"].as_str().unwrap().to_owned())
    };
    let ours = fs::read(asked.join(name)).unwrap();
    assert_eq!(says(&with), (ours.len() as u64, digest(&ours)));
    fs::write(asked.join(name), b"of another reading").unwrap();
    let mut command = nightread();
    command
        .args(["process", "--force", "--format", "json", "--out"])
        .arg(&asked)
        .arg(data.join("RG1_UNCR.dcm"));
    let forced = command.env("NIGHTREAD_IMAGES_WRITE_HEATMAPS", "true").output().unwrap();
    let again = serde_json::from_slice::<Value>(&forced.stdout).unwrap()["results"][0]["document"].take();
    assert_ne!(again["read_at"], with["read_at"]);
    assert_eq!(again["artefacts"][0]["path"], *name);
    let there = fs::read(asked.join(name)).unwrap();
    assert!(there.starts_with(b"\x89PNG"), "what was of another reading is replaced");
    assert_eq!(says(&again), (there.len() as u64, digest(&there)));
}

/// Asked for later, heatmaps are added to the results that lack them, without force, and once.
#[test]
fn heatmaps_that_are_asked_for_later_complete_the_results() {
    let Some(data) = pydicom_data() else {
        return missing("heatmaps_that_are_asked_for_later_complete_the_results");
    };
    let work = TempDir::new().unwrap();
    let out = work.path().join("out");
    let run = |more: &[&str], settings: &[(&str, &str)]| {
        let mut command = nightread();
        command.args(["process", "--format", "json", "--out"]).arg(&out).args(more);
        let ran = command.arg(data.join("RG1_UNCR.dcm")).envs(settings.iter().copied()).output().unwrap();
        let told: Value = serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
        let row = &told["results"][0];
        let document: Value =
            serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap();
        checked(&document);
        (row["outcome"].as_str().unwrap().to_owned(), document)
    };
    let kinds = |document: &Value| -> Vec<String> {
        let artefacts = document["artefacts"].as_array().unwrap().iter();
        artefacts.map(|artefact| artefact["kind"].as_str().unwrap().to_owned()).collect()
    };
    let (_, plain) = run(&[], &[]);
    assert!(kinds(&plain).is_empty());
    let (outcome, painted) = run(&["--heatmaps"], &[]);
    assert_eq!((outcome.as_str(), kinds(&painted)), ("read", vec!["heatmap".to_owned()]));
    assert_eq!(painted["findings"], plain["findings"], "the scores are the same");
    let (outcome, same) = run(&["--heatmaps"], &[]);
    assert_eq!((outcome.as_str(), &same), ("already_done", &painted), "once");

    let arrays = [("NIGHTREAD_IMAGES_WRITE_HEATMAP_ARRAYS", "true")];
    let (outcome, with_array) = run(&["--heatmaps=Pneumonia"], &arrays);
    assert_eq!((outcome.as_str(), kinds(&with_array).len()), ("read", 2));
    let array = with_array["artefacts"].as_array().unwrap().iter().find(|it| it["kind"] == "heatmap_array");
    let array = fs::read(out.join(array.unwrap()["path"].as_str().unwrap())).unwrap();
    assert!(array.starts_with(b"\x93NUMPY") && array.len() == 128 + 4 * 49, "{}", array.len());
    let header = String::from_utf8_lossy(&array[..128]).into_owned();
    assert!(header.contains("'shape': (7, 7)"), "{header}");
    // Its mean and the bias are the logit; the bias of this model is 0.01.
    let values = array[128..].chunks_exact(4).map(|x| f64::from(f32::from_le_bytes(x.try_into().unwrap())));
    let mean = values.sum::<f64>() / 49.0;
    let logit = with_array["findings"][0]["logit"].as_f64().unwrap();
    assert!((mean - logit).abs() < 0.05, "{mean} is not {logit}");
    let (outcome, kept) = run(&[], &[]);
    assert_eq!((outcome.as_str(), kinds(&kept).len()), ("already_done", 2), "nothing is taken away");

    let mut wrong = nightread();
    wrong.args(["process", "--heatmaps=Pnemonia", "--out"]).arg(&out).arg(data.join("RG1_UNCR.dcm"));
    let wrong = wrong.output().unwrap();
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && told.contains("Pnemonia") && told.contains("Pneumonia"), "{told}");
}

#[test]
fn what_is_done_is_skipped_until_forced_or_changed() {
    let Some(data) = pydicom_data() else {
        return missing("what_is_done_is_skipped_until_forced_or_changed");
    };
    let work = TempDir::new().unwrap();
    let input = work.path().join("in/a.dcm");
    fs::create_dir(work.path().join("in")).unwrap();
    fs::copy(data.join("RG1_UNCR.dcm"), &input).unwrap();
    let out = work.path().join("out");
    let outcome = |ran: &Ran| ran.json["results"][0]["outcome"].as_str().unwrap().to_owned();

    let first = process(std::slice::from_ref(&input), &out, &[]);
    assert_eq!(outcome(&first), "read");
    let document = PathBuf::from(first.json["results"][0]["path"].as_str().unwrap());
    let written = fs::read(&document).unwrap();

    assert_eq!(outcome(&process(std::slice::from_ref(&input), &out, &[])), "already_done");
    assert_eq!(fs::read(&document).unwrap(), written, "a skipped study leaves its document alone");

    let forced = nightread()
        .args(["process", "--force", "--format", "json", "--out"])
        .args([&out, &input])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&forced.stdout).contains("\"outcome\": \"read\""));

    fs::copy(data.join("RG3_UNCR.dcm"), &input).unwrap();
    let replaced = process(std::slice::from_ref(&input), &out, &[]);
    assert_eq!(outcome(&replaced), "failed", "the newer version of the source wins, also when it fails");
    assert_eq!(replaced.json["results"][0]["code"], "wrong_body_part");
}

#[test]
fn one_bad_file_never_stops_the_others() {
    let Some(data) = pydicom_data() else { return missing("one_bad_file_never_stops_the_others") };
    let work = TempDir::new().unwrap();
    let folder = work.path().join("in");
    fs::create_dir(&folder).unwrap();
    let whole = fs::read(data.join("RG1_UNCR.dcm")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    put("good.dcm", &whole);
    put("empty.png", b"");
    put("words.dcm", b"this is a letter, not an image");
    put("truncated.dcm", &whole[..whole.len() / 2]);
    put("named-like-a-image.png", &whole);
    for (name, file) in
        [("ct.dcm", "693_UNCR.dcm"), ("mr.dcm", "MR2_UNCR.dcm"), ("ankle.dcm", "RG3_UNCR.dcm")]
    {
        fs::copy(data.join(file), folder.join(name)).unwrap();
    }
    let missing = work.path().join("not-there.png");

    let ran = process(&[folder, missing], &work.path().join("out"), &[]);
    assert_eq!(ran.code, Some(1));
    let codes: BTreeMap<String, String> = ran.json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let name =
                Path::new(row["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
            (name, ended(row).to_owned())
        })
        .collect();
    for (name, code) in [
        ("good.dcm", "ok"),
        ("named-like-a-image.png", "ok"),
        ("empty.png", "blob_empty"),
        ("words.dcm", "not_an_image"),
        ("truncated.dcm", "truncated"),
        ("ct.dcm", "part_of_series"),
        ("mr.dcm", "wrong_modality"),
        ("ankle.dcm", "wrong_body_part"),
        ("not-there.png", "blob_not_found"),
    ] {
        assert_eq!(codes[name], code, "{name}");
    }
    for row in ran.json["results"].as_array().unwrap() {
        let Some(path) = row["path"].as_str() else {
            assert_eq!(row["outcome"], "part_of_series");
            continue;
        };
        let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        checked(&document);
        assert_eq!(document["status"] == "failed", document.get("error").is_some());
    }
}

/// The code of a failure, else what became of the file.
fn ended(row: &Value) -> &str {
    match row["outcome"].as_str().unwrap() {
        "read" => "ok",
        outcome => row["code"].as_str().unwrap_or(outcome),
    }
}

#[test]
fn an_unreadable_file_is_a_failed_document() {
    let work = TempDir::new().unwrap();
    // Root reads everything; as root, the binary is run as nobody.
    let root = fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let input = work.path().join("locked.png");
    fs::write(&input, b"secret").unwrap();
    fs::set_permissions(&input, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let out = work.path().join("out");
    let mut command = nightread();
    if root {
        let binary = work.path().join("nightread");
        fs::copy(env!("CARGO_BIN_EXE_nightread"), &binary).unwrap();
        let models = work.path().join("models");
        support::copy_folder(&support::models(), &models);
        let library = work.path().join("lib");
        support::copy_folder(support::runtime().parent().unwrap(), &library);
        command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary)
            .current_dir(work.path());
        command.env("NIGHTREAD_MODELS_RUNTIME", library).env("NIGHTREAD_MODELS_DIR", models);
    }
    let ran = command.args(["process", "--format", "json", "--out"]).args([&out, &input]).output().unwrap();
    let json: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&ran.stderr)));
    assert_eq!(json["results"][0]["code"], "storage_forbidden");
}

#[test]
fn every_file_of_pydicom_data_ends_as_it_is_written_down() {
    let Some(data) = pydicom_data() else {
        return missing("every_file_of_pydicom_data_ends_as_it_is_written_down");
    };
    let table =
        fs::read_to_string(repository().join("worker/crates/radiograph/tests/pydicom_data.tsv")).unwrap();
    let mut expected: BTreeMap<&str, &str> = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, rest)| (name, rest.split_whitespace().next().unwrap_or(rest)))
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|extension| extension == "dcm"))
        .collect();
    assert_eq!(expected.len(), fs::read_dir(&data).unwrap().count(), "every file is written down");
    // What this program does otherwise than the reading of radiographs would.
    for slice in ["693_J2KR.dcm", "693_UNCI.dcm", "693_UNCR.dcm"] {
        expected.remove(slice);
    }
    expected.extend([
        ("1.2.276.0.7230010.3.1.3.296485376.1.1521713419.1802493", "several_volumes"),
        ("eCT_Supplemental.dcm", "no_hounsfield"),
        ("bad_sequence.dcm", "part_of_series"),
        ("explicit_VR-UN.dcm", "part_of_series"),
        ("liver.dcm", "no_study"),
        ("liver_expb.dcm", "no_study"),
    ]);
    let work = TempDir::new().unwrap();
    let (ran, peak_kib) = support::process_with_peak_memory(&data, work.path());
    let results = ran.json["results"].as_array().unwrap();
    for row in results {
        let name = Path::new(row["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
        assert_eq!(expected.remove(name), Some(ended(row)), "{name}");
        assert_eq!(row["document"].is_null(), ["part_of_series", "no_study"].contains(&ended(row)));
        if !row["document"].is_null() {
            checked(&row["document"]);
        }
    }
    assert!(expected.is_empty(), "every file has a row, or its series: {expected:?}");
    eprintln!("peak memory over {} files: {} MiB", results.len(), peak_kib / 1024);
    assert!(peak_kib < 700 * 1024, "peak memory {} MiB", peak_kib / 1024);
}

#[test]
fn wrong_use_is_two() {
    let work = TempDir::new().unwrap();
    let code = |arguments: &[&str]| nightread().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["process"]), Some(2));
    assert_eq!(code(&["process", "x", "--out", "y", "--format", "xml"]), Some(2));
    let (empty, out) = (work.path().join("empty"), work.path().join("out"));
    fs::create_dir(&empty).unwrap();
    assert_eq!(code(&["process", empty.to_str().unwrap(), "--out", out.to_str().unwrap()]), Some(2));
    let settings = work.path().join("bad.toml");
    fs::write(&settings, "[limits]\nattempts = 0\nspeed = 9").unwrap();
    let ran = nightread().args(["process", "x", "--out", "y", "--config"]).arg(&settings).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(told.contains("attempts") && told.contains("speed"), "{told}");
}

/// Two models on one folder: what each says is what it says alone, to the last digit, and each has its own doubts.
#[test]
fn two_models_read_a_study_as_each_does_alone() {
    let Some(data) = pydicom_data() else { return missing("two_models_read_a_study_as_each_does_alone") };
    let work = TempDir::new().unwrap();
    let models = work.path().join("models");
    copy_folder(&support::models().join("cxr-pneumonia-demo"), &models.join("cxr-pneumonia-demo"));
    copy_folder(&support::models().join("cxr-pneumonia-demo"), &models.join("cxr-other"));
    let manifest = models.join("cxr-other/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let views = text.lines().find(|line| line.starts_with("views = ")).unwrap();
    let text = text.replace(views, "views = [\"PA\"]").replace("\"cxr-pneumonia-demo\"", "\"cxr-other\"");
    fs::write(&manifest, text).unwrap();
    let routes = work.path().join("worker.toml");
    let names = "[\"cxr-pneumonia-demo\", \"cxr-other\"]";
    fs::write(&routes, format!("[[routes]]\ntask = \"radiograph\"\nmodels = {names}\n")).unwrap();
    let run = |out: &str, more: &[&str]| {
        let mut command = nightread();
        command.args(["process", "--format", "json", "--out"]).arg(work.path().join(out)).args(more);
        command.env("NIGHTREAD_MODELS_DIR", &models).arg(data.join("RG1_UNCR.dcm"));
        let ran = command.output().unwrap();
        let told: Value = serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
        assert_eq!(ran.status.code(), Some(0), "{told}");
        told["results"].as_array().unwrap().clone()
    };
    let with_routes = ["--config", routes.to_str().unwrap()];
    let both = run("both", &with_routes);
    assert_eq!(both.len(), 2);
    for row in &both {
        let name = row["model"].as_str().unwrap();
        let alone = run(name, &["--model", name]);
        let [told, own] = [row, &alone[0]].map(|row| &row["document"]);
        checked(told);
        assert_eq!(row["outcome"], "read");
        for part in ["status", "study", "model", "input", "findings", "warnings"] {
            assert_eq!(told[part], own[part], "{part} of {name}");
        }
        let doubts = told["warnings"].as_array().unwrap().iter();
        let doubts_view =
            doubts.filter(|warning| warning["code"].as_str().unwrap().starts_with("view_")).count();
        let view = told["input"]["view"].as_str();
        assert_eq!(doubts_view, usize::from(name != "cxr-other" && view == Some("pa")), "{told}");
    }
    let again = run("both", &with_routes);
    assert!(again.iter().all(|row| row["outcome"] == "already_done"), "{again:?}");
    fs::remove_dir_all(work.path().join("both/cxr-other")).unwrap();
    let mut outcomes: Vec<_> = run("both", &with_routes).iter().map(|row| row["outcome"].clone()).collect();
    outcomes.sort_by_key(ToString::to_string);
    assert_eq!(outcomes, ["already_done", "read"], "only what is missing");
}

#[test]
fn check_tells_every_problem_and_no_secret() {
    let work = TempDir::new().unwrap();
    let settings = work.path().join("worker.toml");
    fs::write(
        &settings,
        "[results]\ncontainer = \"incoming\"\n[broker]\nurl = \"amqp://u:hunter2@h\"\n[[routes]]\ntask = \"components\"\nmodel = \"no-such\"",
    )
    .unwrap();
    let ran = nightread().args(["check", "--config"]).arg(&settings).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.contains("feed itself") && told.contains("no-such"), "{told}");
    assert!(!told.contains("hunter2"));
    let sound = nightread().arg("check").output().unwrap();
    assert_eq!(sound.status.code(), Some(0), "{}", String::from_utf8_lossy(&sound.stdout));
}

#[test]
fn models_are_listed_with_what_is_missing() {
    let ran = nightread().args(["models", "--format", "json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let models = listed["models"].as_array().unwrap();
    let named = |name: &str| models.iter().find(|model| model["name"] == name).unwrap();
    assert_eq!(named("cxr-pneumonia-demo")["precisions"][0], "fp32");
    assert!(named("padchest-26")["bring_your_own"].is_string());
    assert_eq!(named("padchest-26")["labels"].as_array().unwrap().len(), 26);
}

/// Images in JPEG and the like are decoded by the program started again, under a filter of system calls from its first frame on.
#[cfg(target_os = "linux")]
#[test]
fn the_codecs_child_is_confined() {
    use std::io::{BufRead, BufReader, Write};

    let pipe = std::process::Stdio::piped;
    let mut child = nightread().arg("codec-child").stdin(pipe()).stdout(pipe()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"memory_bytes\":1073741824}\n").unwrap();
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    assert_eq!(greeting.trim_end(), r#"{"greeting":"ready"}"#);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!((value("Seccomp:"), value("NoNewPrivs:"), value("Threads:")), ("2", "1", "1"));
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn probabilities(ran: &Ran) -> BTreeMap<String, f64> {
    let rows = ran.json["results"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let probability = row["document"]["findings"][0]["probability"].as_f64().unwrap();
            (row["file"].as_str().unwrap().to_owned(), probability)
        })
        .collect()
}

fn find(folder: &Path, part: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)))
}
