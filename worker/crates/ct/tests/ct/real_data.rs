//! Real series: each trap of geometry that was met somewhere, and the reading of one series by other programs.

use std::path::Path;

use nightread_ct::{CtLimits, CtVolume, PartBytes, from_parts, series_of};
use nightread_dicom::InProcess;

use crate::fixtures::*;

fn folder(path: &Path, prefix: &str) -> Vec<PartBytes> {
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let is_wanted =
        |name: &&std::path::PathBuf| name.file_name().unwrap().to_string_lossy().starts_with(prefix);
    names.iter().filter(is_wanted).map(|name| part(name.display(), std::fs::read(name).unwrap())).collect()
}

fn series(test: &str, path: &str, prefix: &str) -> Option<Vec<PartBytes>> {
    let found = ct_data().map(|data| data.join(path)).filter(|path| path.exists());
    if found.is_none() {
        skipped(test, path);
    }
    found.map(|path| folder(&path, prefix))
}

fn mean(volume: &CtVolume) -> f64 {
    volume.values.iter().map(|&hu| f64::from(hu)).sum::<f64>() / volume.values.len() as f64
}

#[test]
fn traps() {
    for (path, prefix, expected) in [
        ("traps/icometrix_gantrytilting", "", "gantry_tilt"),
        ("traps/icometrix_notavolume", "", "several_volumes"),
        ("traps/icometrix_sliceincrement", "001", "missing_slices"),
        ("traps/icometrix_sliceincrement", "002", "missing_slices"),
        ("traps/icometrix_slicecount", "", "wrong_modality"),
        ("traps/dcm_qa_ct/In/GE", "", "gantry_tilt uneven_slices"),
    ] {
        let Some(parts) = series("traps", path, prefix) else { return };
        let told = match read_parts(&parts) {
            Ok(volume) => {
                let mut codes = warnings(&volume);
                codes.retain(|code| *code != "instance_number_holes");
                codes.join(" ")
            }
            Err(error) => error.code.as_str().to_owned(),
        };
        assert_eq!(told, expected, "{path} {prefix}");
    }
}

#[test]
fn a_tilted_series_with_missing_slices_is_made_whole_where_that_is_allowed() {
    let Some(parts) = series("interpolated", "traps/icometrix_sliceincrement", "002") else { return };
    let lenient = CtLimits { interpolate_missing: true, ..limits() };
    let volume = from_parts(&parts, &lenient, &InProcess).unwrap();
    assert_eq!(warnings(&volume), ["gantry_tilt", "slices_interpolated"]);
    assert_eq!((volume.shape[2], volume.slices.len()), (5, 4));
}

#[test]
fn steps_of_three_lengths_become_one() {
    let Some(parts) = series("uneven", "traps/dcm_qa_ct/In/GE", "") else { return };
    let volume = read_parts(&parts).unwrap();
    // 144.09 mm at steps of at most 4.002 mm.
    assert_eq!((volume.shape[2], volume.slices.len()), (38, 28));
    for (k, slice) in [(0, &volume.slices[0]), (37, &volume.slices[27])] {
        let [x, y, z] = slice.origin_lps_mm;
        assert_near(world(&volume.affine, [0.0, 0.0, f64::from(k)]), [-x, -y, z], 1e-6);
    }
    assert!((volume.facts["tilt_degrees"].as_f64().unwrap() - 18.5).abs() < 0.1);
}

/// Read by SimpleITK 2.5.7 and by pydicom 3.0.2 with OpenJPEG (`parity/parity.py` compares every voxel): these are a few
/// of the figures.
#[test]
fn a_real_series_of_jpeg_2000_without_uids() {
    let Some(parts) = series("example_ct_dicom", "totalsegmentator/example_ct_dicom", "") else { return };
    let volume = read_parts(&parts).unwrap();
    assert_eq!(volume.shape, [512, 512, 20]);
    for (k, slice) in volume.slices.iter().enumerate() {
        let [x, y, z] = slice.origin_lps_mm;
        assert_near(world(&volume.affine, [0.0, 0.0, k as f64]), [-x, -y, z], 1e-9);
        assert!((z - (-804.5 + 2.0 * k as f64)).abs() < 1e-9, "{z}");
    }
    assert_eq!(
        (volume.affine[0][0], volume.affine[1][1], volume.affine[2][2]),
        (-0.976_562_5, -0.976_562_5, 2.0)
    );
    assert!((mean(&volume) - GOLDEN_MEAN).abs() < 1e-9, "{}", mean(&volume));
    let keys: Vec<_> = parts
        .iter()
        .map(|part| series_of(&part.body.head(1 << 16).unwrap()).unwrap().group("folder"))
        .collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "files without UIDs are one series");
}

/// Mean of all voxels in Hounsfield units, by SimpleITK.
const GOLDEN_MEAN: f64 = -624.125_926_780_700_6;

#[test]
fn nifti_volumes() {
    let Some(data) = ct_data() else { return skipped("nifti_volumes", "ct") };
    let bytes = std::fs::read(data.join("totalsegmentator/example_ct.nii.gz")).unwrap();
    let volume = read_parts(&[part("example_ct", bytes)]).unwrap();
    assert_eq!((volume.shape, volume.facts["axes"].as_str()), ([122, 101, 112], Some("RAS")));
    assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
    assert_eq!(
        (volume.facts["least_hu"].as_i64(), volume.facts["greatest_hu"].as_i64()),
        (Some(-1024), Some(3382))
    );
    let labels = std::fs::read(data.join("totalsegmentator/example_seg_fast_force_split.nii.gz")).unwrap();
    assert_eq!(warnings(&read_parts(&[part("labels", labels)]).unwrap()), ["not_hounsfield"]);
}
