//! One network: grades in order, and maps of one whose preprocessing is a list of steps.

use std::fs;
use std::io::BufReader;

use serde_json::json;

use crate::shelf::{BANDED, Network, SIGMOID, Shelf, numbers};
use crate::support::artefact;

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
