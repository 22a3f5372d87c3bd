//! `nightread process` on CT volumes: the real binary, and a network whose labels can be told by hand: soft tissue from 50 HU,
//! hard from 200.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use nightread_volume::{Affine, Description, FileSource, Grid, Limits, Storage, VolumeStream, VolumeWriter};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{Ran, artefact, checked, process, repository};

/// The network of the engine's tests, on a grid of 2 x 2 x 3 mm.
const MANIFEST: &str = r#"schema = 1
name = "bands"
version = "1.0.0"
task = "segmentation"
description = "classes by Hounsfield units, for tests"
card = "README.md"
[weights.fp32]
file = "model.onnx"
sha256 = "SHA256"
[input]
name = "volume"
item_shape = [1, 8, 8, 8]
value_range = [-2.0, 4.0]
[preprocessing]
id = "ct-monai-1"
spacing_mm = [2.0, 2.0, 3.0]
orientation = "RAS"
axis_order = "xyz"
clip = [-200.0, 400.0]
mean = 0.0
std = 100.0
[window]
overlap = 0.5
weights = "gaussian"
placement = "monai"
padding = "edge"
resample = "RESAMPLE"
[output]
logits = "logits"
activation = "softmax"
calibration = "none"
[[labels]]
name = "soft_left"
laterality = "left"
code = { value = "91727004", scheme = "SCT", meaning = "Soft tissue" }
[[labels]]
name = "hard"
[trained_on]
modality_words = "numbers"
demonstration = true
[source]
data = "none"
citation = "none"
url = "none"
licence = "Apache-2.0"
not_for = "anything"
"#;

/// A folder with the one model.
fn models(resample: &str) -> tempfile::TempDir {
    let models = tempfile::tempdir().unwrap();
    let folder = models.path().join("bands");
    fs::create_dir(&folder).unwrap();
    let weights = fs::read(repository().join("worker/crates/engine/tests/models/bands.onnx")).unwrap();
    fs::write(folder.join("model.onnx"), &weights).unwrap();
    fs::write(folder.join("README.md"), "# A model for tests\n").unwrap();
    let text = MANIFEST.replace("SHA256", &hex::encode(Sha256::digest(&weights)));
    fs::write(folder.join("manifest.toml"), text.replace("RESAMPLE", resample)).unwrap();
    models
}

const SHAPE: [usize; 3] = [12, 10, 11];

/// Of a voxel at indices of the RAS grid: air, with a block of 100 HU on the patient's left and one of 300 HU, touching the feet.
fn hounsfield([i, j, k]: [usize; 3]) -> i16 {
    match (i, j, k) {
        (1..=4, 2..=7, 2..=6) => 100,
        (7..=10, 3..=5, 0..=4) => 300,
        _ => -1000,
    }
}

const RAS: [[f64; 4]; 3] = [[2.0, 0.0, 0.0, -30.0], [0.0, 2.0, 0.0, 11.0], [0.0, 0.0, 3.0, -7.0]];

/// The volume as a file that stores its axes in this order, the marked ones backwards.
fn nifti(order: [usize; 3], backwards: [bool; 3]) -> Vec<u8> {
    let dims = order.map(|axis| SHAPE[axis]);
    let mut affine = [[0.0; 4]; 3];
    for (row, place) in RAS.iter().zip(&mut affine) {
        place[3] = row[3];
        for stored in 0..3 {
            let axis = order[stored];
            place[stored] = if backwards[stored] { -row[axis] } else { row[axis] };
            place[3] += if backwards[stored] { row[axis] * (SHAPE[axis] - 1) as f64 } else { 0.0 };
        }
    }
    let values = (0..dims.iter().product::<usize>()).map(|at| {
        let stored = [at % dims[0], at / dims[0] % dims[1], at / dims[0] / dims[1]];
        let mut place = [0; 3];
        for (slot, index) in stored.into_iter().enumerate() {
            place[order[slot]] = if backwards[slot] { dims[slot] - 1 - index } else { index };
        }
        f32::from(hounsfield(place))
    });
    let description = Description {
        grid: Grid { dims, affine: Affine(affine) },
        volumes: None,
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: None,
        space: 1,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, Some(1)).unwrap();
    writer.write_volume(&values.collect::<Vec<f32>>()).unwrap();
    writer.finish().unwrap()
}

/// Reads files with the model, and gives each document with the folder of the results.
fn read(models: &Path, files: &[(&str, Vec<u8>)]) -> (Ran, Vec<Value>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    let models = models.to_str().unwrap();
    let ran = process(&paths, &folder.path().join("out"), &[("NIGHTREAD_MODELS_DIR", models)]);
    let documents = ran.json["results"].as_array().unwrap().iter().map(|row| {
        let document: Value =
            serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap();
        checked(&document);
        document
    });
    let documents = documents.collect();
    (ran, documents, folder)
}

fn label_map(folder: &Path, document: &Value) -> (Grid, Vec<f64>) {
    let file = FileSource(folder.join("out").join(artefact(document, "label_map")));
    let mut stream = VolumeStream::open(&file, &Limits::default()).unwrap();
    let grid = stream.header().grid;
    let mut values = vec![0.0; grid.len()];
    stream.next_volume().unwrap().unwrap().values(&mut values);
    (grid, values)
}

#[test]
fn segments_are_what_the_numbers_say() {
    for resample in ["labels", "logits"] {
        let models = models(resample);
        let (ran, documents, folder) = read(models.path(), &[("ct.nii.gz", nifti([0, 1, 2], [false; 3]))]);
        assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
        let [document] = documents.as_slice() else { panic!("one document") };
        assert_eq!(document["task"], "segmentation");
        assert_eq!(document["input"]["grid_voxels"], serde_json::json!(SHAPE));
        let [soft, hard] = document["segments"].as_array().unwrap().as_slice() else {
            panic!("two segments")
        };
        // 4 x 6 x 5 voxels of 12 mm3, and 4 x 3 x 5.
        assert_eq!((soft["voxels"].as_u64(), hard["voxels"].as_u64()), (Some(120), Some(60)));
        assert!((soft["volume_ml"].as_f64().unwrap() - 1.44).abs() < 1e-9);
        assert_eq!((soft["mean_hu"].as_f64(), hard["mean_hu"].as_f64()), (Some(100.0), Some(300.0)));
        assert_eq!(soft["sd_hu"].as_f64(), Some(0.0));
        assert_eq!(soft["bbox_mm"], serde_json::json!([[-29.0, 14.0, -2.5], [-21.0, 26.0, 12.5]]));
        assert_eq!(
            (soft["touches_border"].as_bool(), hard["touches_border"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!(soft["code"]["value"], "91727004");
        assert!(soft["confidence"].as_f64().unwrap() > 0.99);
        let codes: Vec<&str> =
            document["warnings"].as_array().unwrap().iter().map(|w| w["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["segment_at_border", "demonstration_model"]);
        let (grid, labels) = label_map(folder.path(), document);
        assert_eq!(grid.dims, SHAPE);
        for (at, label) in labels.iter().enumerate() {
            let place = grid.position(at);
            let expected = match hounsfield(place) {
                100 => 1.0,
                300 => 2.0,
                _ => 0.0,
            };
            assert!((label - expected).abs() < 1e-9, "{resample} {place:?}: {label}");
        }
        let png = fs::read(folder.path().join("out").join(artefact(document, "preview"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
}

#[test]
fn however_a_volume_is_stored_its_segments_lie_where_they_lie() {
    let models = models("labels");
    let (_, straight, _folder) = read(models.path(), &[("ct.nii.gz", nifti([0, 1, 2], [false; 3]))]);
    for (order, backwards) in [
        ([0, 1, 2], [true, false, false]),
        ([0, 1, 2], [true, true, false]),
        ([2, 0, 1], [false, false, true]),
        ([1, 2, 0], [true, true, true]),
    ] {
        let (ran, documents, folder) = read(models.path(), &[("ct.nii.gz", nifti(order, backwards))]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let (ours, theirs) = (&documents[0]["segments"], &straight[0]["segments"]);
        for (one, other) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
            for field in ["voxels", "volume_ml", "mean_hu", "touches_border"] {
                assert_eq!(one[field], other[field], "{order:?} {backwards:?} {field}");
            }
            let corners = |of: &Value| -> Vec<f64> {
                let corners = of["bbox_mm"].as_array().unwrap().iter().flat_map(|c| c.as_array().unwrap());
                corners.map(|x| x.as_f64().unwrap()).collect()
            };
            let far = corners(one).iter().zip(corners(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-4, "{order:?} {backwards:?}: {one} {other}");
        }
        let (grid, labels) = label_map(folder.path(), &documents[0]);
        for (at, label) in labels.iter().enumerate() {
            let [x, y, z] = grid.world(at);
            let place =
                [(x + 30.0) / 2.0, (y - 11.0) / 2.0, (z + 7.0) / 3.0].map(|index| index.round() as usize);
            let expected = match hounsfield(place) {
                100 => 1.0,
                300 => 2.0,
                _ => 0.0,
            };
            assert!((label - expected).abs() < 1e-9, "{order:?} {backwards:?} {place:?}: {label}");
        }
    }
}
