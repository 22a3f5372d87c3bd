//! The layout of a series: the same slices at the same places as its volume, without their pixels.

use nightread_ct::{Layout, PartBytes, SliceName, layout};
use nightread_dicom::InProcess;

use crate::fixtures::*;
use crate::numbers::enhanced;

fn of(parts: &[PartBytes]) -> Layout {
    layout(parts, &limits(), &InProcess).unwrap().expect("slices")
}

fn uids(slices: &[SliceName]) -> Vec<&str> {
    slices.iter().map(|slice| slice.instance_uid.as_deref().unwrap()).collect()
}

/// Holds a layout against the volume of the same parts.
fn agrees(parts: &[PartBytes]) -> Layout {
    let (found, volume) = (of(parts), read_parts(parts).unwrap());
    assert_eq!((found.shape, found.affine), (volume.shape, volume.affine));
    let names: Vec<_> = volume.slices.iter().map(|slice| slice.instance_uid.as_deref().unwrap()).collect();
    assert_eq!(uids(&found.slices), names);
    assert_eq!(found.layers.len(), volume.shape[2]);
    for (k, layer) in found.layers.iter().enumerate() {
        let [x, y, z] = layer.origin_lps_mm;
        assert_near([-x, -y, z], world(&found.affine, [0.0, 0.0, k as f64]), 1e-6);
    }
    found
}

#[test]
fn layers_are_the_slices_whatever_the_order_of_their_files() {
    let mut files = series(12);
    files.reverse();
    files.swap(3, 8);
    let found = agrees(&parts(&files));
    for (k, layer) in found.layers.iter().enumerate() {
        assert_eq!(uids(&layer.slices), [format!("1.2.3.{k}")]);
        assert_eq!(layer.slices[0].sop_class.as_deref(), Some("1.2.840.10008.5.1.4.1.1.2"));
        assert_eq!(layer.slices[0].frame, None);
    }
    assert_eq!((found.spacing_mm, found.orientation), ([COLUMN_MM, ROW_MM], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
    assert!((found.step_mm - 2.0).abs() < 1e-9);
    assert_eq!(found.first, slice(0).bytes(), "the header that speaks for the series is the first slice's");
    // Along the normal, which negated cosines turn round.
    let turned: Vec<Dicom> = series(12)
        .into_iter()
        .map(|mut file| {
            file.decimals(ORIENTATION, &[1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
            file
        })
        .collect();
    assert_eq!(uids(&agrees(&parts(&turned)).layers[0].slices), ["1.2.3.11"]);
}

#[test]
fn no_pixel_is_looked_at() {
    let cut = |mut file: Dicom| {
        file.words(&[1, 2]);
        file
    };
    let files: Vec<Dicom> = series(12).into_iter().map(cut).collect();
    assert_eq!(of(&parts(&files)).layers.len(), 12);
    assert!(read(&files).is_err(), "there are none");
}

#[test]
fn layers_between_slices_name_both() {
    let files: Vec<Dicom> = [0.0, 2.0, 4.0, 6.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]
        .iter()
        .enumerate()
        .map(|(k, &z)| {
            let mut file = slice(k);
            file.decimals(POSITION, &[-100.0, -200.0, z]);
            file
        })
        .collect();
    let found = agrees(&parts(&files));
    assert_eq!(found.shape[2], 17, "steps of 1 mm");
    assert!((found.step_mm - 1.0).abs() < 1e-9);
    assert_eq!(uids(&found.layers[2].slices), ["1.2.3.1"]);
    assert_eq!(uids(&found.layers[3].slices), ["1.2.3.1", "1.2.3.2"]);
    assert_eq!(uids(&found.layers[16].slices), ["1.2.3.12"]);
}

#[test]
fn frames_and_doubles_are_told_apart() {
    let count = 12;
    let found = agrees(&[part("enhanced", enhanced(count).bytes())]);
    let mut frames: Vec<u32> = found.slices.iter().map(|slice| slice.frame.unwrap()).collect();
    assert_ne!(frames, (1..=count as u32).collect::<Vec<_>>(), "they lie in another order than in the file");
    frames.sort_unstable();
    assert_eq!(frames, (1..=count as u32).collect::<Vec<_>>());

    // The same image twice, and another at its place: pixels decide.
    let mut files = series(12);
    let mut again = slice(4);
    again.text(INSTANCE_UID, "UI", "1.2.3.99");
    files.push(again);
    assert_eq!(uids(&agrees(&parts(&files)).layers[4].slices).len(), 1);
    let mut other = slice(5);
    other.text(INSTANCE_UID, "UI", "1.2.3.98").words(&words(9));
    files.push(other);
    let error = layout(&parts(&files), &limits(), &InProcess).unwrap_err();
    assert_eq!(error.code.as_str(), "several_volumes");
}
