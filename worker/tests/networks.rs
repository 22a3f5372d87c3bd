//! `nightread models new`, `check` and `parity`: from an ONNX file to a model that was held against its own script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{copy_folder, missing, models, nightread, repository};
use tempfile::TempDir;

fn run(work: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = nightread();
    command.current_dir(work).arg("models").args(arguments).args(["--models", "models", "--format", "json"]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), told)
}

#[test]
fn a_folder_is_begun_tells_what_is_missing_and_is_sound_when_it_is_filled_in() {
    let work = TempDir::new().unwrap();
    let from = models().join("cxr-pneumonia-demo/model.fp32.onnx");
    let (code, told, words) = run(work.path(), &["new", "mine", "--from", from.to_str().unwrap()]);
    assert_eq!((code, &told["faults"]), (Some(0), &serde_json::json!([])), "{words}");
    let folder = work.path().join("models/mine");
    let begun = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    assert!(begun.contains("#   in:  image float32 [batch, 1, 224, 224]"), "{begun}");
    assert_eq!(fs::read(&from).unwrap(), fs::read(folder.join("model.fp32.onnx")).unwrap());

    // Nothing is read with it yet, and every gap is told.
    let (code, told, _) = run(work.path(), &["check", "mine"]);
    let problems = told["problems"].to_string();
    for gap in ["description", "value_range", "preprocessing", "activation", "labels", "trained_on", "source"]
    {
        assert!(code == Some(1) && problems.contains(gap), "{gap}: {problems}");
    }

    // What a person knows of it is taken from the manifest that is there.
    let known = fs::read_to_string(models().join("cxr-pneumonia-demo/manifest.toml")).unwrap();
    let section = |name: &str| {
        let from = known.find(&format!("{name}\n")).unwrap();
        let end = known[from + 1..].find("\n\n").map_or(known.len(), |end| from + 1 + end);
        format!("{}\n\n", &known[from..end])
    };
    let filled = begun
        .replace("# description = \"one line\"", "description = \"mine\"")
        .replace("# value_range = [-1.0, 1.0]", "value_range = [-1024.0, 1024.0]")
        .replace("# activation", "activation")
        .replace("[output]", &format!("{}[output]", section("[preprocessing]")));
    let filled = filled
        + &section("[[labels]]")
        + &section("[trained_on]")
        + &known[known.find("[source]").unwrap()..];
    fs::write(folder.join("manifest.toml"), &filled).unwrap();
    let (code, told, words) = run(work.path(), &["check", "mine"]);
    assert_eq!(code, Some(0), "{told} {words}");
    assert!(told["facts"].to_string().contains("fp32 ran on cpu"), "{told}");

    // Another number of labels than the network has.
    fs::write(
        folder.join("manifest.toml"),
        filled.clone() + "\n" + &section("[[labels]]").replace("Pn", "Qn"),
    )
    .unwrap();
    let (code, told, _) = run(work.path(), &["check", "mine"]);
    assert!(code == Some(1) && told["problems"].to_string().contains("logits"), "{told}");
}

/// Weights of another layer, or turned ones where there are as many labels as channels, fit in shape and colour the wrong places.
#[test]
fn maps_that_are_not_those_of_the_logits_are_told() {
    let work = TempDir::new().unwrap();
    let folder = work.path().join("models/cxr-pneumonia-demo");
    copy_folder(&models().join("cxr-pneumonia-demo"), &folder);
    let manifest = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    // The network's own map is one channel of features, whose classifier has the weight 1.
    for (weight, is_right) in [(1.0, true), (-1.0, false), (1.1, false)] {
        let weights = nightread_radiograph::npy(&[weight], &[1, 1]);
        fs::write(folder.join("weights.npy"), &weights).unwrap();
        let sha256 = nightread_engine::sha256_of(&weights);
        let cam = format!(
            "cam = {{ features = \"cam\", weights_file = \"weights.npy\", weights_sha256 = \"{sha256}\" }}"
        );
        assert!(manifest.contains("cam = \"cam\""));
        fs::write(folder.join("manifest.toml"), manifest.replace("cam = \"cam\"", &cam)).unwrap();
        let (code, told, words) = run(work.path(), &["check", "cxr-pneumonia-demo"]);
        let problems = told["problems"].to_string();
        assert_eq!(code, Some(i32::from(!is_right)), "{weight}: {told} {words}");
        assert_eq!(problems.contains("fp32: the maps of output.cam are not those of"), !is_right, "{told}");
    }
}

#[test]
fn what_can_be_no_model_is_refused_and_leaves_nothing() {
    let work = TempDir::new().unwrap();
    fs::create_dir_all(work.path().join("models/there")).unwrap();
    fs::write(work.path().join("script.pt"), b"PK\x03\x04 and so on").unwrap();
    let from = models().join("cxr-pneumonia-demo/model.fp32.onnx");
    let from = from.to_str().unwrap();
    for (name, from, status, word) in [
        ("there", from, 2, "there already"),
        ("Mine", from, 2, "lower-case"),
        ("../mine", from, 2, "lower-case"),
        ("mine", "script.pt", 1, "TorchScript"),
        ("mine", "absent.onnx", 1, "cannot be read"),
    ] {
        let (code, _, words) = run(work.path(), &["new", name, "--from", from]);
        assert!(code == Some(status) && words.contains(word), "{name} {from}: {code:?} {words}");
    }
    let left: Vec<_> =
        fs::read_dir(work.path().join("models")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["there"]);
    let (code, _, words) = run(work.path(), &["check", "absent"]);
    assert!(code == Some(2) && words.contains("no model"), "{words}");
}

/// Writes images that need no library to be read, and reads them.
const SCRIPT: &str = r#"
import struct, sys, zlib
import numpy as np

def write(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (224, 224), dtype=np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", 224, 224, 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))

def read(path):
    body, at, data = open(path, "rb").read(), 8, b""
    while at < len(body):
        length, kind = struct.unpack(">I4s", body[at:at + 8])
        data += body[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(224, 225)[:, 1:]

def prepare(path):
    print("a script may print")
    return (read(path).astype(np.float32) / np.float32(255) * 2048 - 1024)[None, None]

def predict(path):
    return {"Brightness": 1 / (1 + np.exp(-prepare(path).astype(np.float64).mean()))}

if __name__ == "__main__":
    for seed in range(3):
        write(f"{sys.argv[1]}/{seed}.png", seed)
"#;

/// The images have the size of the input, where a resize changes nothing.
const STEPS: &str = r#"[[preprocessing]]
step = "range"
to = [-1024, 1024]
[[preprocessing]]
step = "resize"
library = "opencv-linear"
side = "exact"
height = 224
width = 224
[[preprocessing]]
step = "channels"
count = 1
layout = "NCHW"
"#;

fn python(test: &str) -> Option<PathBuf> {
    let python = repository().join(".cache/venv-readers/bin/python");
    if !python.exists() {
        missing(test);
        return None;
    }
    Some(python)
}

#[test]
fn a_script_that_agrees_is_told_from_those_that_do_not() {
    let Some(python) = python("a_script_that_agrees_is_told_from_those_that_do_not") else { return };
    let work = TempDir::new().unwrap();
    let folder = work.path().join("models/one-node");
    copy_folder(&repository().join("tests/fixtures/models/one-node"), &folder);
    let manifest = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let listed = manifest.replace("[preprocessing]\nid = \"xrv-1\"\nsize = 224\n", STEPS);
    assert_ne!(listed, manifest);
    fs::write(folder.join("manifest.toml"), listed).unwrap();
    fs::create_dir(work.path().join("images")).unwrap();
    let write = |name: &str, text: &str| fs::write(work.path().join(name), text).unwrap();
    write("script.py", SCRIPT);
    let drawn = std::process::Command::new(&python)
        .current_dir(work.path())
        .args(["script.py", "images"])
        .status()
        .unwrap();
    assert!(drawn.success());
    let parity = |script: &str, more: &[&str]| {
        let mut arguments = vec!["parity", "one-node", "--reference", script];
        arguments.extend(["--python", python.to_str().unwrap()]);
        arguments.extend(more);
        run(work.path(), &arguments)
    };
    let (code, told, words) = parity("script.py", &["images"]);
    assert_eq!((code, told["images"].as_array().map(Vec::len)), (Some(0), Some(3)), "{told} {words}");
    for image in told["images"].as_array().unwrap() {
        assert!(image["difference"].as_f64().unwrap() < 1e-3, "{told}");
        assert!(image["probability"].as_f64().unwrap() < 1e-4, "{told}");
    }

    for (change, with, word) in [
        ("[None, None]", "[::-1][None, None]", "apart at"),
        ("* 2048 - 1024)", "* 2048 - 1000)", "apart at"),
        ("[None, None]", "[None, None, ::2]", "not [1, 224, 224]"),
        ("return (read", "raise ValueError('no')\n    return (read", "ValueError: no"),
        ("{\"Brightness\"", "{\"Other\"", "no probability of Brightness"),
        (".mean()))}", ".mean() - 1))}", "probability is"),
        (
            "return {\"Brightness\": 1 / (1 + np.exp(-prepare(path).astype(np.float64).mean()))}",
            "return [0.5, 0.5]",
            "2 probabilities for 1",
        ),
        ("- 1024)[None", "- 1024 + np.float32('nan'))[None", "not finite"),
    ] {
        let text = SCRIPT.replacen(change, with, 1);
        assert_ne!(text, SCRIPT, "{change}");
        write("other.py", &text);
        let (code, told, words) = parity("other.py", &["images"]);
        assert!(code == Some(1) && told["agrees"] == false && words.contains(word), "{with}: {told} {words}");
    }
    // The tolerance is of an image's own values: in the whole range of the manifest this shift would be lost.
    write("narrow.py", &SCRIPT.replacen("integers(0, 256", "integers(100, 111", 1));
    fs::create_dir(work.path().join("narrow")).unwrap();
    let drawn =
        std::process::Command::new(&python).current_dir(work.path()).args(["narrow.py", "narrow"]).status();
    assert!(drawn.unwrap().success());
    let (code, told, words) = parity("narrow.py", &["narrow"]);
    assert_eq!(code, Some(0), "{told} {words}");
    let range = told["images"][0]["range"].as_f64().unwrap();
    assert!((range - 10.0 / 255.0 * 2048.0).abs() < 1e-2, "{told}");
    write("shifted.py", &SCRIPT.replacen("* 2048 - 1024)", "* 2048 - 1023.99)", 1));
    let (code, told, words) = parity("shifted.py", &["narrow", "--probability", "1"]);
    assert!(code == Some(1) && words.contains("is let through, of a range of 8.031e1"), "{told} {words}");
    // One that cannot be read is told beside the others; a script that is none ends it.
    write("images/words.png", "words");
    let (code, told, words) = parity("script.py", &["images"]);
    assert_eq!((code, told["images"].as_array().map(Vec::len)), (Some(1), Some(4)), "{told} {words}");
    assert!(words.contains("not_an_image"), "{words}");
    write("empty.py", "");
    let (code, _, words) = parity("empty.py", &["images"]);
    assert!(code == Some(1) && words.contains("no function prepare"), "{words}");
}
