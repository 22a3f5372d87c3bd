//! Scans that went wrong once, from a folder outside of the repository: skipped where that is not there. Every row is
//! printed with what became of it; `make cases` runs these.

use std::fs;
use std::path::{Path, PathBuf};

use nightread_volume::{FileSource, Limits, VolumeStream};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{nightread, process, repository};

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
    /// Read, with fewer than ten degrees of freedom: no component has z, and each says why.
    WithoutZ,
    Refused(&'static str, &'static str),
}

/// Every row as it is printed, and those that are wrong.
#[derive(Default)]
struct Table {
    rows: Vec<String>,
    wrong: Vec<String>,
}

impl Table {
    fn row(&mut self, name: &str, said: &str, is_right: bool) {
        self.rows.push(format!("{}  {name:<56} {said}", if is_right { "right" } else { "WRONG" }));
        if !is_right {
            self.wrong.push(name.to_owned());
        }
    }

    fn close(&self, what: &str) {
        println!("{}", self.rows.join("\n"));
        println!("{} of {} {what} are right", self.rows.len() - self.wrong.len(), self.rows.len());
        assert!(self.wrong.is_empty(), "{} end otherwise than written: {:?}", what, self.wrong);
    }
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

/// Few degrees of freedom leave the maps without z, and so without a threshold, never with one of 30 to 50.
fn is_without_z(document: &Value) -> bool {
    let components = document["components"].as_array().map_or(&[][..], Vec::as_slice);
    !components.is_empty() && components.iter().all(|component| component["map"]["peak_z"].is_null())
}

#[test]
fn scans_that_went_wrong_once() {
    use Right::{AsBase, Refused, Warned, WithoutZ};
    let Some(folder) = cases("scans_that_went_wrong_once") else { return };
    let base = read(&folder.join("base.nii.gz"), false);
    let mut table = Table::default();
    table.row("base.nii.gz", base["status"].as_str().unwrap_or("?"), base["status"] == "ok");
    for (name, resample, right) in [
        ("01-gz-then-zeros.nii.gz", false, AsBase(None)),
        ("02-gz-first-member-100-bytes.nii.gz", false, AsBase(None)),
        ("02-gz-first-member-empty.nii.gz", false, AsBase(None)),
        ("03-bitpix-32-of-int16.nii.gz", false, AsBase(Some("bitpix_ignored"))),
        ("04-forty-voxels-left.nii.gz", false, Refused("low_coverage", "of the brain mask")),
        ("04-seventy-percent-zero.nii.gz", false, Refused("low_coverage", "of the brain mask")),
        ("05-sixty-volumes-of-rank-19.nii.gz", false, WithoutZ),
        ("06-native-space-scanner-code.nii.gz", false, Refused("grid_mismatch", "resampling is off")),
        // Its note wants a warning and an overlap. A third of the brain mask has no signal where the head lies, and that is
        // refused before its place is doubted.
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
        let is_ok = document["status"] == "ok";
        let is_right = match right {
            AsBase(warning) => {
                is_ok
                    && document["components"] == base["components"]
                    && warning.is_none_or(|warning| has(&document, warning))
            }
            Warned(warning) => is_ok && has(&document, warning),
            WithoutZ => is_ok && has(&document, "few_degrees_of_freedom") && is_without_z(&document),
            Refused(wanted, words) => code == Some(wanted) && message.contains(words),
        };
        let warnings: Vec<_> = document["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|w| w["code"].as_str())
            .collect();
        let mut said = code.map_or_else(|| warnings.join(","), |_| message.clone());
        if name.starts_with("06") && resample {
            said.insert_str(0, "(otherwise than its note: coverage comes first) ");
        }
        table.row(&format!("{name}{}", if resample { ", resampled" } else { "" }), &said, is_right);
    }
    table.close("scans");
}

#[test]
fn cohorts_that_went_wrong_once() {
    let Some(folder) = cases("cohorts_that_went_wrong_once") else { return };
    // The space that is written, the voxels inside, and what is told. An error: refused.
    let group = |suffix: &str, mask: &str| -> Result<(i32, usize, String), String> {
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
        let said = String::from_utf8_lossy(&ran.stderr).replace('\n', " ");
        if !ran.status.success() {
            return Err(said);
        }
        let written = FileSource(out.path().join("mask.nii.gz"));
        let mut stream = VolumeStream::open(&written, &Limits::default()).unwrap();
        let header = stream.header().clone();
        let mut inside = vec![0.0; header.grid.len()];
        stream.next_volume().unwrap().unwrap().values(&mut inside);
        Ok((header.codes[1], inside.iter().filter(|&&x| x > 0.0).count(), said))
    };
    let mut table = Table::default();
    let whole = group("", "").map_or(0, |right| right.1);
    let ones = group("", "-5mm-1").map_or(0, |right| right.1);
    for (scans, mask, space, doubt) in [
        ("", "", 4, ""),
        ("-scanner", "", 1, ""),
        ("-no-place", "", 0, "no_orientation"),
        ("-no-place", "-no-place", 0, "no_orientation"),
        ("", "-no-place", 0, "no_orientation"),
        ("", "-5mm-1", 4, ""),
        ("", "-5mm-255", 4, ""),
        ("", "-probability", 4, "mask_not_binary"),
    ] {
        let outcome = group(scans, mask);
        let is_right = outcome.as_ref().is_ok_and(|(code, voxels, said)| {
            let as_many = match mask {
                "-5mm-1" | "-5mm-255" => *voxels == ones, // whatever inside is called
                "-probability" => voxels.abs_diff(whole) * 5 < whole,
                _ => *voxels == whole,
            };
            *code == space && said.contains(doubt) && as_many && *voxels > 0
        });
        let said = match outcome {
            Ok((code, voxels, said)) => format!("code {code}, {voxels} voxels; {said}"),
            Err(said) => format!("refused: {said}"),
        };
        table.row(&format!("g-scan*{scans} under g-mask{mask}"), &said, is_right);
    }
    table.close("cohorts");
}
