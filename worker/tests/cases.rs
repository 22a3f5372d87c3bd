//! Scans that went wrong elsewhere, kept beside the checkout, each held against its right outcome by the real binary. Says by
//! name when they are not there. `make cases` prints every row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ran, missing, nightread, process, repository};
use tempfile::TempDir;

/// Rows that wait for what reads scans and makes group maps.
const NOT_YET: &[&str] = &[
    "01-gz-then-zeros.nii.gz",
    "02-gz-first-member-100-bytes.nii.gz",
    "02-gz-first-member-empty.nii.gz",
    "03-bitpix-32-of-int16.nii.gz",
    "04-forty-voxels-left.nii.gz",
    "04-seventy-percent-zero.nii.gz",
    "05-sixty-volumes-of-rank-19.nii.gz",
    "06-native-space-scanner-code.nii.gz",
    "07-dr_stage2_no-place-2mm-mirrored.nii.gz",
    "08-melodic_IC.nii.gz",
    "09-tr-2000-no-unit.nii.gz",
    "09-tr-2000-s.nii.gz",
    "10-hcp-91x109x91x1200-float32-header-only.nii.gz",
    "11-fsl-4mm-grid.nii.gz",
    "12-qform-mirrors-sform.nii.gz",
    "13-pair.hdr",
    "group-ica g-scan*-no-place",
    "group-ica g-mask-no-place, g-scan*-no-place",
    "group-ica g-mask-no-place",
    "group-ica g-scan*-scanner",
    "group-ica g-mask-5mm-255",
    "group-ica g-mask-probability",
];

fn cases() -> Option<PathBuf> {
    let root = std::env::var_os("NIGHTREAD_CASES")
        .map_or_else(|| repository().join("../shared/cases"), PathBuf::from);
    Some(root.join("fmri")).filter(|folder| folder.is_dir())
}

/// Documents by the number in front of the file's name and by the name.
fn documents(ran: &Ran) -> BTreeMap<String, Value> {
    let rows = ran.json["results"].as_array().expect("a list of results").iter();
    rows.filter_map(|row| {
        let name = Path::new(row["file"].as_str()?).file_name()?.to_str()?.to_owned();
        let document = serde_json::from_slice(&fs::read(row["path"].as_str()?).ok()?).ok()?;
        Some((name, document))
    })
    .collect()
}

fn warnings(document: &Value) -> Vec<&str> {
    document["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|warning| warning["code"].as_str())
        .collect()
}

fn reason(document: &Value) -> String {
    let error = &document["error"];
    format!(
        "{}: {}",
        error["code"].as_str().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default()
    )
}

fn is_refused(document: &Value) -> bool {
    document["status"] == "failed"
}

/// Warnings that the sound scan has not.
fn own_warnings<'a>(document: &'a Value, base: &Value) -> Vec<&'a str> {
    let ordinary = warnings(base);
    warnings(document).into_iter().filter(|code| !ordinary.contains(code)).collect()
}

fn judge(file: &str, document: &Value, base: &Value) -> Result<(), String> {
    let hold = |right: bool, wanted: &str| right.then_some(()).ok_or_else(|| wanted.to_owned());
    let same = document["status"] == "ok" && document["components"] == base["components"];
    let warned = !own_warnings(document, base).is_empty();
    match &file[..2] {
        "01" | "02" | "03" => hold(same, "the components of the sound scan"),
        "04" | "07" => hold(is_refused(document), "a refusal"),
        "05" => {
            let components = document["components"].as_array().into_iter().flatten();
            let most = components.filter_map(|component| component["map"]["peak_z"].as_f64()).map(f64::abs);
            hold(
                is_refused(document) || warned && most.fold(0.0, f64::max) < 30.0,
                "no z of 30, and a warning",
            )
        }
        "06" => {
            let facts = document["input"].to_string();
            let figure = facts.contains("overlap") || facts.contains("dice");
            hold(document["status"] == "ok" && warned && figure, "a warning, and an overlap figure")
        }
        "08" => hold(is_refused(document) || warned, "read as component maps, or refused"),
        "09" => hold(document["status"] == "ok" && warned, "read with a warning"),
        "10" => hold(document["error"]["code"] == "truncated", "truncated"),
        "11" => hold(
            is_refused(document) && reason(document).contains("origin"),
            "a refusal that names the origin",
        ),
        "12" => hold(document["status"] == "ok" && warned, "read with a warning"),
        "13" => {
            let reason = reason(document);
            let named = [".hdr", ".img", "pair"].iter().any(|word| reason.contains(word));
            hold(is_refused(document) && named, "a refusal that names the pair")
        }
        _ => hold(same, "the sound scan itself"),
    }
}

#[test]
fn every_scan_of_the_cases_ends_as_written() {
    let Some(folder) = cases() else { return missing("every_scan_of_the_cases_ends_as_written") };
    let work = TempDir::new().unwrap();
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let (group, scans): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| name(path).starts_with("g-"));
    let (resampled, plain): (Vec<PathBuf>, Vec<PathBuf>) =
        scans.into_iter().partition(|path| name(path).starts_with("06"));
    let mut found = documents(&process(&plain, &work.path().join("out"), &[]));
    let resampling = [("NIGHTREAD_SCANS_RESAMPLE", "true")];
    found.extend(documents(&process(&resampled, &work.path().join("resampled"), &resampling)));
    assert_eq!(found.len(), plain.len() + resampled.len(), "each file has a document");
    let base = found["base.nii.gz"].clone();

    let mut rows: Vec<(String, Result<(), String>, String)> = found
        .iter()
        .map(|(file, document)| {
            let said = if is_refused(document) { reason(document) } else { warnings(document).join(",") };
            (file.clone(), judge(file, document, &base), said)
        })
        .collect();
    if !group.is_empty() {
        rows.extend(group_rows(&folder, work.path()));
    }
    for (file, judged, said) in &rows {
        println!("{}  {file:<44} {said}", if judged.is_ok() { "right" } else { "WRONG" });
        if let Err(wanted) = judged {
            println!("       wanted: {wanted}");
        }
    }
    let mut wrong: Vec<&str> =
        rows.iter().filter(|(_, judged, _)| judged.is_err()).map(|(file, ..)| file.as_str()).collect();
    println!("{} of {} fMRI cases are right", rows.len() - wrong.len(), rows.len());
    wrong.retain(|file| !NOT_YET.contains(file));
    assert_eq!(wrong, [""; 0], "cases that end otherwise than written");
}

/// What `nightread group-ica` made of two scans under a mask.
struct Group {
    ok: bool,
    said: String,
    /// Inflated bytes of `maps.nii.gz`.
    maps: Vec<u8>,
}

impl Group {
    fn run(folder: &Path, work: &Path, mask: &str, scans: &str) -> Self {
        let out = work.join(format!("{mask}{scans}"));
        let mut command = nightread();
        command.args(["group-ica", "--components", "3", "--restarts", "2", "--mask"]);
        command.arg(folder.join(format!("g-mask{mask}.nii.gz"))).arg("--out").arg(&out);
        command.args([1, 2].map(|n| folder.join(format!("g-scan{n}{scans}.nii.gz"))));
        let ran = command.output().unwrap();
        let mut maps = Vec::new();
        if let Ok(file) = fs::File::open(out.join("maps.nii.gz")) {
            flate2::read::MultiGzDecoder::new(file).read_to_end(&mut maps).unwrap();
        }
        let stderr = String::from_utf8_lossy(&ran.stderr);
        let said = stderr.lines().last().unwrap_or_default().to_owned();
        Self { ok: ran.status.success(), said, maps }
    }

    /// The code of the sform in the NIfTI-1 header that was written.
    fn sform_code(&self) -> Option<i16> {
        Some(i16::from_le_bytes(*self.maps.get(254..)?.first_chunk()?))
    }
}

fn group_rows(folder: &Path, work: &Path) -> Vec<(String, Result<(), String>, String)> {
    let run = |mask: &str, scans: &str| Group::run(folder, work, mask, scans);
    let row = |name: &str, right: bool, wanted: &str, group: &Group| {
        let judged = right.then_some(()).ok_or_else(|| wanted.to_owned());
        let said = format!("{}{}", if group.ok { "made; " } else { "refused; " }, group.said);
        (format!("group-ica {name}"), judged, said)
    };
    let sound = run("", "");
    let placeless = run("", "-no-place");
    let both_placeless = run("-no-place", "-no-place");
    let mask_placeless = run("-no-place", "");
    let scanner = run("", "-scanner");
    let (mask_1, mask_255) = (run("-5mm-1", ""), run("-5mm-255", ""));
    let probability = run("-probability", "");
    let no_mni = |group: &Group| !group.ok || group.sform_code() == Some(0);
    vec![
        row("g-mask, g-scan*", sound.ok, "maps", &sound),
        row("g-scan*-no-place", no_mni(&placeless), "a refusal, or code 0", &placeless),
        row(
            "g-mask-no-place, g-scan*-no-place",
            no_mni(&both_placeless),
            "a refusal, or code 0",
            &both_placeless,
        ),
        row(
            "g-mask-no-place",
            !mask_placeless.ok || mask_placeless.sform_code() == sound.sform_code(),
            "a refusal, or the scans' code",
            &mask_placeless,
        ),
        row("g-scan*-scanner", scanner.ok && scanner.sform_code() == Some(1), "code 1", &scanner),
        row(
            "g-mask-5mm-255",
            mask_1.ok && mask_255.maps == mask_1.maps,
            "the maps under g-mask-5mm-1",
            &mask_255,
        ),
        row("g-mask-probability", probability.ok, "maps", &probability),
    ]
}
