//! A network whose labels can be told by hand, and what series of its tests are made of.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::repository;

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

/// A folder with the one model: soft tissue from 50 HU, hard from 200.
pub fn models(resample: &str) -> tempfile::TempDir {
    let models = tempfile::tempdir().unwrap();
    add(models.path(), "bands", resample, "2.0, 2.0, 3.0");
    models
}

/// Adds the network under a name, with voxels of so many millimetres.
pub fn add(models: &Path, name: &str, resample: &str, spacing_mm: &str) {
    let folder = models.join(name);
    fs::create_dir(&folder).unwrap();
    let weights = fs::read(repository().join("worker/crates/engine/tests/models/bands.onnx")).unwrap();
    fs::write(folder.join("model.onnx"), &weights).unwrap();
    fs::write(folder.join("README.md"), "# A model for tests\n").unwrap();
    let text = MANIFEST
        .replace("SHA256", &hex::encode(Sha256::digest(&weights)))
        .replace("RESAMPLE", resample)
        .replace("\"bands\"", &format!("{name:?}"))
        .replace("2.0, 2.0, 3.0", spacing_mm);
    fs::write(folder.join("manifest.toml"), text).unwrap();
}

/// One explicit little-endian element.
pub fn element(bytes: &mut Vec<u8>, (group, number): (u16, u16), vr: [u8; 2], value: &[u8]) {
    bytes.extend(group.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(vr);
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if &vr == b"UI" { 0 } else { b' ' });
    }
    if &vr == b"OW" {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
}

/// A tar archive of POSIX.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, body) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend(header);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
