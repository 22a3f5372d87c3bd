//! Scans that went wrong once, from a folder outside of the repository: skipped where that is not there. One row a file is
//! printed, with what became of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use nightread_fmri::{FileSource, Limits, VolumeStream};
use serde_json::Value;
use support::{nightread, process, repository};
use tempfile::TempDir;

fn cases(test: &str) -> Option<PathBuf> {
    let root =
        std::env::var_os("NIGHTREAD_CASES").map_or_else(|| repository().join("../shared/cases"), Into::into);
    let folder = root.join("fmri");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {test}: no {} (set NIGHTREAD_CASES)", folder.display());
    None
}

/// What must become of a file.
enum Right {
    /// The same components as `base.nii.gz`, with this warning where one is named.
    AsBase(Option<&'static str>),
    /// Read, with this warning.
    Warned(&'static str),
    Refused(&'static str, &'static str),
}

/// The document of one file, read alone.
fn read(file: &Path, resample: bool) -> Value {
    let out = TempDir::new().unwrap();
    let settings: &[(&str, &str)] = if resample { &[("NIGHTREAD_SCANS_RESAMPLE", "true")] } else { &[] };
    let ran = process(&[file.to_owned()], out.path(), settings);
    let row = ran.json["results"][0].clone();
    match row["path"].as_str().map(fs::read) {
        Some(Ok(bytes)) => serde_json::from_slice(&bytes).unwrap(),
        _ => row,
    }
}

fn has(document: &Value, code: &str) -> bool {
    document["warnings"].as_array().is_some_and(|list| list.iter().any(|warning| warning["code"] == code))
}

#[test]
fn scans_that_went_wrong_once() {
    use Right::{AsBase, Refused, Warned};
    let Some(folder) = cases("scans_that_went_wrong_once") else { return };
    let base = read(&folder.join("base.nii.gz"), false);
    assert_eq!(base["status"], "ok", "{base:#}");
    for (name, resample, right) in [
        ("01-gz-then-zeros.nii.gz", false, AsBase(None)),
        ("02-gz-first-member-100-bytes.nii.gz", false, AsBase(None)),
        ("02-gz-first-member-empty.nii.gz", false, AsBase(None)),
        ("03-bitpix-32-of-int16.nii.gz", false, AsBase(Some("bitpix_ignored"))),
        ("06-native-space-scanner-code.nii.gz", false, Refused("grid_mismatch", "resampling is off")),
        // A third of the brain mask has no signal where the head lies: that is refused before its place is doubted.
        ("06-native-space-scanner-code.nii.gz", true, Refused("low_coverage", "30 %")),
        (
            "07-dr_stage2_no-place-2mm-mirrored.nii.gz",
            false,
            Refused("grid_mismatch", "neither qform nor sform"),
        ),
        (
            "07-dr_stage2_no-place-2mm-mirrored.nii.gz",
            true,
            Refused("grid_mismatch", "neither qform nor sform"),
        ),
        ("08-melodic_IC.nii.gz", false, Warned("read_as_component_maps")),
        ("09-tr-2000-no-unit.nii.gz", false, AsBase(Some("implausible_tr"))),
        ("09-tr-2000-s.nii.gz", false, AsBase(Some("implausible_tr"))),
        ("10-hcp-91x109x91x1200-float32-header-only.nii.gz", true, Refused("truncated", "volume 1 of 1200")),
        ("11-fsl-4mm-grid.nii.gz", false, Refused("grid_mismatch", "its origin is at")),
        ("12-qform-mirrors-sform.nii.gz", false, AsBase(Some("qform_disagrees"))),
        ("13-pair.hdr", false, Refused("unsupported_media", ".hdr/.img pair")),
    ] {
        let document = read(&folder.join(name), resample);
        let (code, message) = (document["error"]["code"].as_str(), document["error"].to_string());
        let said = code.map_or_else(|| document["warnings"].to_string(), |_| message.clone());
        println!("{name}{}: {said}", if resample { ", resampled" } else { "" });
        match right {
            AsBase(warning) => {
                assert_eq!(document["components"], base["components"], "{name}");
                if let Some(warning) = warning {
                    assert!(has(&document, warning), "{name}: {said}");
                }
            }
            Warned(warning) => {
                assert!(document["status"] == "ok" && has(&document, warning), "{name}: {said}");
            }
            Refused(wanted, words) => {
                assert!(code == Some(wanted) && message.contains(words), "{name}: {document:#}");
            }
        }
    }
}

#[test]
fn cohorts_that_went_wrong_once() {
    let Some(folder) = cases("cohorts_that_went_wrong_once") else { return };
    // Scans and mask, the space that is written, and whether a doubt is told. `None`: refused.
    let group = |suffix: &str, mask: &str| -> Option<(i32, usize, String)> {
        let out = TempDir::new().unwrap();
        let mut command = nightread();
        command.arg("group-ica");
        for n in 1..=2 {
            command.arg(folder.join(format!("g-scan{n}{suffix}.nii.gz")));
        }
        let mask = folder.join(format!("g-mask{mask}.nii.gz"));
        command
            .args(["--components", "5", "--restarts", "1", "--mask"])
            .arg(mask)
            .arg("--out")
            .arg(out.path());
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        println!("g-scan*{suffix}: {said}");
        if !ran.status.success() {
            return None;
        }
        let written = FileSource(out.path().join("mask.nii.gz"));
        let mut stream = VolumeStream::open(&written, &Limits::default()).unwrap();
        let header = stream.header().clone();
        let mut inside = vec![0.0; header.grid.len()];
        stream.next_volume().unwrap().unwrap().values(&mut inside);
        Some((header.codes[1], inside.iter().filter(|&&x| x > 0.0).count(), said))
    };
    let right = group("", "").expect("read");
    assert_eq!(right.0, 4);
    assert_eq!(group("-scanner", "").expect("read").0, 1, "the scans' code is kept");
    for (scans, mask) in [("-no-place", ""), ("-no-place", "-no-place"), ("", "-no-place")] {
        let (code, _, said) = group(scans, mask).expect("same size and voxel sizes");
        assert!(code == 0 && said.contains("no_orientation"), "{scans} {mask}: {code} {said}");
    }
    let (one, many) = (group("", "-5mm-1").expect("read"), group("", "-5mm-255").expect("read"));
    assert_eq!(one.1, many.1, "the same voxels, whatever inside is called");
    let probable = group("", "-probability").expect("read");
    assert!(
        probable.2.contains("mask_not_binary") && probable.1.abs_diff(right.1) * 5 < right.1,
        "{probable:?}"
    );
}
