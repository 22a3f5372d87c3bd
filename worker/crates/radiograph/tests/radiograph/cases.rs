//! Files that went wrong elsewhere, kept beside the checkout, each held against its right outcome. Says by name when they are
//! not there. `make cases` prints every row.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use nightread_domain::error::JobError;
use nightread_radiograph::{DecodeOptions, Radiograph, XrvPreprocessing, decode, low_contrast, prepare};

use crate::fixtures::{cases, options, skipped, words};

/// Transfer syntaxes whose samples differ a little from decoder to decoder.
const LOSSY: [&str; 5] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
];
/// Doubts that nearly every image has.
const ORDINARY: [&str; 7] = [
    "unverified_modality",
    "unverified_body_part",
    "unverified_view",
    "view_pa",
    "view_ap",
    "outside_training_age",
    "outside_training_size",
];

/// The samples of a NumPy file of bytes or little-endian words, in C order.
fn npy(path: &Path) -> Vec<u16> {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{}", path.display());
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (head, data) = bytes[10..].split_at(header);
    let head = String::from_utf8_lossy(head);
    assert!(head.contains("'fortran_order': False"), "{head}");
    if head.contains("'|u1'") {
        return data.iter().map(|&byte| byte.into()).collect();
    }
    assert!(head.contains("'<u2'"), "{head}");
    data.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

/// What came of a file, with the doubts that a service would write down.
fn read(path: &Path, options: &DecodeOptions) -> Result<(Radiograph, Vec<String>), JobError> {
    let image = decode(&std::fs::read(path).unwrap(), options)?;
    let tensor = prepare(&image, &XrvPreprocessing::new(224).unwrap());
    let warnings = image.warnings().iter().cloned().chain(low_contrast(&tensor));
    let codes = warnings.map(|warning| warning.code).collect();
    Ok((image, codes))
}

/// Holds one outcome against what is right; the reason where it is not.
fn judge(
    outcome: &Result<(Radiograph, Vec<String>), JobError>,
    right: &str,
    folder: &Path,
) -> Result<(), String> {
    if let Some(codes) = right.strip_prefix("refusal: ") {
        let Err(error) = outcome else { return Err("was read".to_owned()) };
        let expected: Vec<&str> = match codes {
            "one value only" => vec!["blank_image"],
            codes => codes.split('/').collect(),
        };
        return expected
            .contains(&error.code.as_str())
            .then_some(())
            .ok_or_else(|| format!("refused as {}", error.code));
    }
    let (image, codes) = outcome.as_ref().map_err(|error| format!("refused: {error}"))?;
    if right == "read" {
        return Ok(());
    }
    let Some(samples) = right.strip_prefix("samples ") else {
        let own = codes.iter().any(|code| !ORDINARY.contains(&code.as_str()));
        return own.then_some(()).ok_or_else(|| "has no warning of its own".to_owned());
    };
    let (file, most) = samples.split_once(" max ").ok_or("the row is not understood")?;
    let most: u32 = most.parse().map_err(|_| "the row is not understood")?;
    if image.max_value() != most {
        return Err(format!("its maximum is {}", image.max_value()));
    }
    let file = folder.join(file);
    if !file.exists() {
        return Ok(()); // a large one whose samples are not kept
    }
    let expected = npy(&file);
    let actual = words(image);
    if actual.len() != expected.len() {
        return Err(format!("{} samples for {}", actual.len(), expected.len()));
    }
    let furthest = actual.iter().zip(&expected).map(|(a, b)| u32::from(a.abs_diff(*b))).max().unwrap_or(0);
    let is_lossy = image.facts().transfer_syntax.as_deref().is_some_and(|uid| LOSSY.contains(&uid));
    if furthest > if is_lossy { most * 2 / 255 } else { 0 } {
        return Err(format!("samples differ by up to {furthest}"));
    }
    Ok(())
}

fn said(outcome: &Result<(Radiograph, Vec<String>), JobError>) -> String {
    match outcome {
        Ok((image, codes)) => format!("max {} {}", image.max_value(), codes.join(",")),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

#[test]
fn every_case_ends_as_written() {
    let Some(folder) = cases("xray") else {
        return skipped("every_case_ends_as_written", "the folder of cases");
    };
    let table = std::fs::read_to_string(folder.join("cases.tsv")).unwrap();
    let (mut report, mut wrong, mut count) = (String::new(), Vec::new(), 0);
    let mut row = |file: &str, right: &str, outcome: &Result<(Radiograph, Vec<String>), JobError>| {
        let judged = judge(outcome, right, &folder);
        let mark = if judged.is_ok() { "right" } else { "WRONG" };
        writeln!(report, "{mark}  {file:<40} {}", said(outcome)).unwrap();
        count += 1;
        if let Err(reason) = judged {
            writeln!(report, "       wanted: {right}; {reason}").unwrap();
            wrong.push(file.to_owned());
        }
    };
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, right) = (columns[0], columns[4]);
        let path = folder.join(file);
        row(file, right, &read(&path, &options()));
        if file == "tif_white_is_zero12.tif" {
            // With its true maximum it is no longer nearly white.
            let told = DecodeOptions { stored_max: Some(4095), ..options() };
            let outcome = read(&path, &told);
            let is_right = matches!(&outcome, Ok((image, codes))
                if image.max_value() == 4095 && !codes.iter().any(|code| code == "low_contrast"));
            row("  with png16_max 4095", if is_right { "read" } else { "samples with 4095" }, &outcome);
        }
    }
    for path in real(&folder) {
        let outcome = read(&path, &options());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A header alone has no pixels; that it was walked to its end is what counts.
        let is_right = match &outcome {
            Ok(_) => true,
            Err(error) => error.message == "the file has no pixel data",
        };
        writeln!(report, "{}  real/{name:<35} {}", if is_right { "right" } else { "WRONG" }, said(&outcome))
            .unwrap();
        count += 1;
        if !is_right {
            wrong.push(name);
        }
    }
    println!("{report}{} of {count} X-ray cases are right", count - wrong.len());
    assert_eq!(wrong, [""; 0], "cases that end otherwise than written\n{report}");
}

fn real(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("real")).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
