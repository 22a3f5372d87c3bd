//! What of a study is the volume, and what is none of it.

use nightread_ct::{SeriesGroup, series_of};

use crate::fixtures::*;

fn localizer() -> Dicom {
    let mut file = slice(90);
    file.text(IMAGE_TYPE, "CS", "ORIGINAL\\PRIMARY\\LOCALIZER")
        .decimals(ORIENTATION, &[1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
    file
}

fn why(files: &[Dicom]) -> Vec<(usize, &'static str)> {
    let volume = read(files).unwrap();
    assert_eq!(volume.shape, [COLUMNS, ROWS, 8]);
    assert!(warnings(&volume).contains(&"files_skipped"));
    volume.skipped.iter().map(|skip| (skip.part, skip.why)).collect()
}

#[test]
fn what_is_no_slice_is_left_out_by_name() {
    let mut files = series(8);
    let mut dose = slice(91);
    dose.text(SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.7");
    let mut colour = slice(92);
    colour.number(SAMPLES, 3);
    let mut other = slice(93);
    other.text(MODALITY, "CS", "MR");
    let mut report = slice(94);
    report.without(PIXELS);
    files.extend([localizer(), dose, colour, other, report]);
    assert_eq!(
        why(&files),
        [
            (8, "localizer"),
            (9, "secondary_capture"),
            (10, "colour"),
            (11, "other_modality"),
            (12, "without_pixels")
        ]
    );
    let mut parts = parts(&series(8));
    parts.push(part("notes", b"a text".to_vec()));
    let volume = read_parts(&parts).unwrap();
    assert_eq!(volume.skipped[0].why, "not_dicom");
}

#[test]
fn the_largest_series_wins_or_none() {
    let strange = |k: usize| {
        let mut file = slice(k);
        file.text(SERIES_UID, "UI", "1.2.99");
        file
    };
    let mut files = series(20);
    files.extend([strange(3), strange(4)]);
    let volume = read(&files).unwrap();
    assert_eq!((volume.shape[2], warnings(&volume)), (20, vec!["files_skipped"]));
    assert!(volume.skipped.iter().all(|skip| skip.why == "other_size_or_orientation"));
    files.push(strange(5));
    assert_eq!(refusal(&files), "mixed_series");

    let mut sizes = series(8);
    for file in &mut sizes[..4] {
        file.decimals(SPACING, &[0.9, 0.9]);
    }
    assert_eq!(refusal(&sizes), "mixed_series");
    let mut turned = series(8);
    turned[2].decimals(ORIENTATION, &[-1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
    assert_eq!(refusal(&turned), "mixed_series");
}

#[test]
fn other_modalities_are_refused() {
    for modality in ["MR", "PT", "CR"] {
        let mut files = series(8);
        for file in &mut files {
            file.text(MODALITY, "CS", modality);
        }
        let error = read(&files).unwrap_err();
        assert_eq!(error.code.as_str(), "wrong_modality");
        assert!(error.text.contains(modality));
    }
    assert_eq!(refusal(&[localizer(), localizer()]), "wrong_modality");
    assert_eq!(read_parts(&[part("x", vec![7; 4000])]).unwrap_err().code.as_str(), "no_dicom");
    assert_eq!(read_parts(&[]).unwrap_err().code.as_str(), "no_dicom");
}

#[test]
fn a_broken_header_is_no_stranger() {
    let mut all = parts(&series(8));
    let cut = slice(8).bytes()[..300].to_vec();
    all.push(part("cut", cut));
    let error = read_parts(&all).unwrap_err();
    assert_eq!(error.code.as_str(), "unreadable");
    assert!(error.text.starts_with("cut: "), "{}", error.text);
}

#[test]
fn files_are_grouped_by_their_header() {
    let mut file = slice(3);
    file.text(SERIES_INSTANCES, "IS", "8");
    let bytes = file.bytes();
    let key = series_of(&bytes[..bytes.len() - 2 * ROWS * COLUMNS]).unwrap();
    assert_eq!(key.group("a"), SeriesGroup::Uid("1.2.2".to_owned()));
    assert_eq!((key.instance_uid.as_deref(), key.number_of_instances), (Some("1.2.3.3"), Some(8)));
    assert_eq!((key.modality.as_deref(), key.frame_of_reference.as_deref()), (Some("CT"), Some("1.2.4")));
    let error = series_of(&bytes[..300]).unwrap_err();
    assert_eq!(error.cause.unwrap().code.as_str(), "truncated");

    let without = |k: usize| {
        let mut file = slice(k);
        file.text(SERIES_UID, "UI", "").text(INSTANCE_UID, "UI", "").text(STUDY_UID, "UI", "");
        series_of(&file.bytes()).unwrap()
    };
    assert_eq!(without(1).group("a"), without(2).group("a"));
    assert_ne!(without(1).group("a"), without(2).group("b"));
    let mut other = slice(1);
    other.text(SERIES_UID, "UI", "").decimals(ORIENTATION, &[1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
    assert_ne!(series_of(&other.bytes()).unwrap().group("a"), without(1).group("a"));
}
