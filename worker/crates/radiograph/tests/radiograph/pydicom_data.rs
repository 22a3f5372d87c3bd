//! All files of `pydicom-data` 1.0.0 against a written table of outcomes.
//!
//! Most of them are no chest X-rays and are refused by their modality, which says nothing of the decoders. So each is
//! read a second time with `CR` written over its modality: the gate then lets it further, to the body part, the frames,
//! the colours or the pixels. For what decodes, the table holds size, maximum and a checksum of the samples.

use std::collections::BTreeMap;
use std::fmt::Write;

use nightread_dicom::Samples;
use nightread_radiograph::{DecodeLimits, DecodeOptions, decode};

use crate::fixtures::{options, pydicom_data, skipped};

const TABLE: &str = include_str!("../pydicom_data.tsv");

fn outcome(bytes: &[u8]) -> String {
    let limits = DecodeLimits { min_side: 1, ..DecodeLimits::default() };
    match decode(bytes, &DecodeOptions { limits, ..options() }) {
        Ok(image) => {
            let mut crc = flate2::Crc::new();
            match image.samples() {
                Samples::U8(samples) => crc.update(samples),
                Samples::U16(samples) => samples.iter().for_each(|v| crc.update(&v.to_le_bytes())),
            }
            let (width, height) = (image.width(), image.height());
            format!("ok {width}x{height} max {} crc {:08x}", image.max_value(), crc.sum())
        }
        Err(error) => {
            assert!(!error.message.contains("gave up"), "a decoder panicked");
            error.code.as_str().to_owned()
        }
    }
}

/// Writes CR over the value of (0008,0060), in whichever encoding it is found.
fn relabelled(bytes: &[u8]) -> Option<Vec<u8>> {
    let headers: [(&[u8], &[u8]); 6] = [
        (b"\x08\x00\x60\x00CS\x02\x00", b"CR"),
        (b"\x08\x00\x60\x00CS\x04\x00", b"CR  "),
        (b"\x08\x00\x60\x00\x02\x00\x00\x00", b"CR"),
        (b"\x08\x00\x60\x00UN\x00\x00\x02\x00\x00\x00", b"CR"),
        (b"\x00\x08\x00\x60CS\x00\x02", b"CR"),
        (b"\x00\x08\x00\x60CS\x00\x04", b"CR  "),
    ];
    headers.iter().find_map(|(header, value)| {
        let at = bytes.windows(header.len()).position(|window| window == *header)? + header.len();
        let mut bytes = bytes.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        Some(bytes)
    })
}

#[test]
fn every_file_ends_as_written() {
    let Some(folder) = pydicom_data() else { return skipped("every_file_ends_as_written", "pydicom-data") };
    let mut actual = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "dcm") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let again = relabelled(&bytes).map_or_else(|| "-".to_owned(), |bytes| outcome(&bytes));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        actual.insert(name, (outcome(&bytes), again));
    }
    let expected: BTreeMap<String, (String, String)> = TABLE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let mut next = || columns.next().unwrap_or_else(|| panic!("three columns in {line:?}"));
            (next(), (next(), next()))
        })
        .collect();
    if actual != expected {
        let mut table = String::new();
        for (name, (first, second)) in &actual {
            let mark = if expected.get(name) == actual.get(name) { "" } else { "\t<-- differs" };
            writeln!(table, "{name}\t{first}\t{second}{mark}").unwrap();
        }
        panic!("{} files, {} in the table; the outcomes now are\n{table}", actual.len(), expected.len());
    }
}
