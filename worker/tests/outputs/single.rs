//! One network: grades in order, and maps of one whose preprocessing is a list of steps.

use std::fs;
use std::io::BufReader;

use serde_json::{Value, json};

use crate::shelf::{BANDED, Network, SIGMOID, Shelf, numbers};
use crate::support::bands::element;
use crate::support::{self, artefact};

#[test]
fn grades_are_findings_and_the_grade_is_a_measurement() {
    let shelf = Shelf::new();
    shelf.network(&Network { name: "plain", ..Network::default() });
    let output = "activation = \"ordinal-corn\"\ncalibration = \"none\"\ngrade = \"Severity\"\n";
    let labels = ["None", "Mild", "Moderate", "Severe"];
    shelf.network(&Network { name: "graded", output, labels: &labels, ..Network::default() });
    // The same network, whose numbers are logits there.
    let logits = numbers(&shelf.read("plain", &[]), "logit");
    let graded = shelf.read("graded", &[]);
    let mut above = vec![1.0];
    for logit in &logits {
        above.push(above[above.len() - 1] / (1.0 + (-logit).exp()));
    }
    above.push(0.0);
    let found = numbers(&graded, "probability");
    assert_eq!(found.len(), 4);
    for (grade, probability) in found.iter().enumerate() {
        assert!((probability - (above[grade] - above[grade + 1])).abs() < 1e-6, "{found:?}, {above:?}");
    }
    let passed = above[1..4].iter().filter(|probability| **probability > 0.5).count();
    assert_eq!(graded["measurements"], json!([{ "label": "Severity", "value": passed as f64, "unit": "1" }]));
    let (sound, said) = shelf.models(&["check", "graded"]);
    assert!(sound, "{said}");
    // A label for each column is another network.
    shelf.edit("graded", "[[labels]]\nname = \"Severe\"\nthreshold = 0.5\n", "");
    let (sound, said) = shelf.models(&["check", "graded"]);
    assert!(!sound && said.contains("logits"), "{said}");
}

/// Which labels are grades is in the manifest, an ensemble's in those of its members.
#[test]
fn dicom_results_know_grades_from_findings() {
    let shelf = Shelf::new();
    fs::write(shelf.path().join("a.dcm"), radiograph()).unwrap();
    let output = "activation = \"ordinal-corn\"\ncalibration = \"none\"\ngrade = \"Severity\"\n";
    let labels = ["None", "Mild", "Moderate", "Severe"];
    let graded = Network { name: "graded", output, labels: &labels, threshold: 0.01, ..Network::default() };
    shelf.network(&graded);
    shelf.network(&Network { name: "again", range: [0.0, 0.5], ..graded });
    shelf.ensemble("both", &["graded", "again"], "mean", &labels);
    shelf.network(&Network { name: "plain", threshold: 0.01, ..Network::default() });
    for (model, present, said) in
        [("graded", false, "Severity"), ("both", false, "Severity"), ("plain", true, "Mass")]
    {
        let nightread = || {
            let mut command = support::nightread();
            command.current_dir(shelf.path()).env("NIGHTREAD_MODELS_DIR", "models");
            command
        };
        let arguments =
            ["process", "a.dcm", "--root", ".", "--model", model, "--out", model, "--format", "json"];
        let ran = nightread().args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let document = told["results"][0]["path"].as_str().unwrap_or_else(|| panic!("{told:#}"));
        let out = format!("objects-{model}");
        let words = ["dicom", "write", document, "--source", "a.dcm", "--out", &out];
        let ran = nightread().args(words).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let report = fs::read(shelf.path().join(out).join("sr.dcm")).unwrap();
        let has = |text: &str| report.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        // (52101004, SCT, Present)
        assert_eq!((has("52101004"), has(said)), (present, true), "{model}");
    }
}

/// A chest radiograph with an identity, brighter from the left to the right.
fn radiograph() -> Vec<u8> {
    let (class, side) = (b"1.2.840.10008.5.1.4.1.1.1", 64_u16);
    let mut meta = Vec::new();
    element(&mut meta, (2, 2), *b"UI", class);
    element(&mut meta, (2, 3), *b"UI", b"1.2.826.0.1.3680043.2.1143.91.1.1");
    element(&mut meta, (2, 0x10), *b"UI", b"1.2.840.10008.1.2.1");
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    element(&mut file, (2, 0), *b"UL", &(meta.len() as u32).to_le_bytes());
    file.extend(meta);
    element(&mut file, (8, 0x16), *b"UI", class);
    element(&mut file, (8, 0x18), *b"UI", b"1.2.826.0.1.3680043.2.1143.91.1.1");
    element(&mut file, (8, 0x60), *b"CS", b"CR");
    element(&mut file, (0x18, 0x15), *b"CS", b"CHEST");
    element(&mut file, (0x18, 0x5101), *b"CS", b"PA");
    element(&mut file, (0x20, 0xd), *b"UI", b"1.2.826.0.1.3680043.2.1143.91");
    element(&mut file, (0x20, 0xe), *b"UI", b"1.2.826.0.1.3680043.2.1143.91.1");
    element(&mut file, (0x28, 2), *b"US", &1_u16.to_le_bytes());
    element(&mut file, (0x28, 4), *b"CS", b"MONOCHROME2");
    for (number, value) in [(0x10, side), (0x11, side), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)] {
        element(&mut file, (0x28, number), *b"US", &value.to_le_bytes());
    }
    let pixels = (0..side * side).flat_map(|at| ((at % side) * 1000).to_le_bytes());
    element(&mut file, (0x7fe0, 0x10), *b"OW", &pixels.collect::<Vec<_>>());
    file
}

#[test]
fn maps_are_painted_over_what_a_list_of_steps_leaves_of_the_image() {
    let shelf = Shelf::new();
    let output = format!("{SIGMOID}cam = \"cam\"\n");
    shelf.network(&Network {
        name: "seen",
        graph: "cam",
        // The last label's map is twice the image itself: up to 20 logits.
        range: [0.0, 10.0],
        geometry: BANDED,
        output: &output,
        ..Network::default()
    });
    // Wider than high.
    let pixels: Vec<u8> = (0..200 * 100).map(|i| if i % 200 < 100 { 255 } else { 0 }).collect();
    let file = fs::File::create(shelf.path().join("a.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 200, 100);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    let asked = [("NIGHTREAD_IMAGES_WRITE_HEATMAPS", "true"), ("NIGHTREAD_IMAGES_HEATMAP_LABELS", "Nodule")];
    let document = shelf.read("seen", &asked);
    assert_eq!(document["model"]["preprocessing"], "steps-1");
    let file = fs::File::open(shelf.path().join("out").join(artefact(&document, "heatmap"))).unwrap();
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
    let mut painted = vec![0; reader.output_buffer_size().unwrap()];
    let width = reader.next_frame(&mut painted).unwrap().width as usize;
    // In the right one of the two squares of 512: left, above and right of the picture.
    let (left, top) = (2 * 12 + 512, 12 + 20);
    let at = |x: usize, y: usize| {
        let start = 3 * ((top + y) * width + left + x);
        <[u8; 3]>::try_from(&painted[start..start + 3]).unwrap()
    };
    let is_tinted = |[r, g, b]: [u8; 3]| r != g || g != b;
    assert!(is_tinted(at(100, 256)), "the bright half has heat: {:?}", at(100, 256));
    assert!(!is_tinted(at(450, 256)), "the dark half has none: {:?}", at(450, 256));
    for y in [20, 120, 392, 490] {
        assert_eq!(at(100, y), [18; 3], "the bands are not painted: {y}");
    }
}
