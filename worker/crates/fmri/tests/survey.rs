//! What a look at some volumes tells: the overlap of tissue and mask, and files of maps that pass for scans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Nifti, Random, data, rest32};
use nightread_domain::{ErrorCode, JobError};
use nightread_fmri::regression::Options;
use nightread_fmri::survey::{Overlap, Tissue};
use nightread_fmri::{DualRegression, GroupMaps, dual_regression};
use nightread_volume::{Affine, BytesSource, Datatype, FileSource, Grid, Limits};

const DIMS: [usize; 3] = [15, 18, 15];
const VOXELS: usize = 15 * 18 * 15;

fn grid() -> Grid {
    Grid {
        dims: DIMS,
        affine: Affine([[-4.0, 0.0, 0.0, 28.0], [0.0, 4.0, 0.0, -34.0], [0.0, 0.0, 4.0, -28.0]]),
    }
}

/// An ellipsoid in the middle, about a third of the box.
fn is_brain(v: usize) -> bool {
    let p = grid().position(v);
    let radius: f64 = (0..3)
        .map(|i| {
            let middle = (DIMS[i] - 1) as f64 / 2.0;
            ((p[i] as f64 - middle) / (0.42 * DIMS[i] as f64)).powi(2)
        })
        .sum();
    radius <= 1.0
}

fn maps() -> GroupMaps {
    let mask: Vec<u32> = (0..VOXELS as u32).filter(|&v| is_brain(v as usize)).collect();
    let mut random = Random(1);
    let maps: Vec<Vec<f64>> = (0..3).map(|_| mask.iter().map(|_| random.normal()).collect()).collect();
    GroupMaps::new(grid(), mask, &maps).unwrap()
}

/// A scan of 30 volumes that lies `shift` millimetres along y from where its header says the maps are.
fn scan(shift: f64, mut value: impl FnMut(usize, usize) -> f64) -> Vec<u8> {
    let mut rows = grid().affine.0.map(|row| row.map(|x| x as f32));
    rows[1][3] += shift as f32;
    let nifti = Nifti {
        datatype: Datatype::F32,
        dims: vec![15, 18, 15, 30],
        sform: Some(rows),
        pixdim: [1.0, 4.0, 4.0, 4.0],
        ..Nifti::default()
    };
    nifti.file((0..30).flat_map(|t| (0..VOXELS).map(move |v| (t, v))).map(|(t, v)| value(t, v)))
}

fn regressed(bytes: &[u8]) -> Result<DualRegression, JobError> {
    let options = Options { resample: true, ..Options::default() };
    dual_regression(&BytesSource(bytes), &maps(), &options)
}

fn overlap(bytes: &[u8]) -> (Overlap, bool) {
    let done = regressed(bytes).unwrap();
    (done.facts.overlap, done.warnings.iter().any(|warning| warning.code == "low_overlap"))
}

#[test]
fn tissue_that_lies_on_the_mask_is_told_from_tissue_beside_it() {
    let mut random = Random(2);
    let mut head = |_: usize, v: usize| {
        if is_brain(v) { 900.0 + 5.0 * random.normal() } else { 30.0 + 4.0 * random.normal() }
    };
    let (found, low) = overlap(&scan(0.0, &mut head));
    assert_eq!((found.tissue, low), (Tissue::MeanIntensity, false));
    assert!(found.dice.unwrap() > 0.99, "{found:?}");
    let (found, low) = overlap(&scan(14.0, &mut head));
    assert_eq!((found.tissue, low), (Tissue::MeanIntensity, true));
    assert!(found.dice.unwrap() < 0.8, "{found:?}");
    // Without means it is told by what varies.
    let mut demeaned = |_: usize, v: usize| (if is_brain(v) { 40.0 } else { 3.0 }) * random.normal();
    let (found, low) = overlap(&scan(0.0, &mut demeaned));
    assert_eq!((found.tissue, low), (Tissue::TemporalVariance, false));
    assert!(found.dice.unwrap() > 0.9, "{found:?}");
    let mut elsewhere = |t: usize, v: usize| demeaned(t, v) * if is_brain(v) { 0.05 } else { 10.0 };
    let (found, low) = overlap(&scan(0.0, &mut elsewhere));
    assert_eq!((found.tissue, low), (Tissue::TemporalVariance, true), "{found:?}");
}

#[test]
fn an_overlap_that_cannot_be_told_is_said_so() {
    let mut random = Random(3);
    let masked = scan(0.0, |_, v| if is_brain(v) { 900.0 + random.normal() } else { 0.0 });
    assert_eq!(overlap(&masked), (Overlap { dice: None, tissue: Tissue::Masked }, false));
    let normalised = scan(0.0, |_, _| random.normal());
    assert_eq!(overlap(&normalised), (Overlap { dice: None, tissue: Tissue::NothingStandsOut }, false));
    let level = scan(0.0, |_, _| 500.0 + random.normal());
    assert_eq!(overlap(&level), (Overlap { dice: None, tissue: Tissue::NothingStandsOut }, false));
}

#[test]
fn spatial_maps_are_no_scan() {
    let mut random = Random(4);
    // Every voxel belongs to one map, with noise; as independent components, thresholded or not.
    for noise in [0.1, 0.5, 1.0] {
        let maps = scan(0.0, |t, v| {
            let active = v * 2_654_435_761 % 977 % 30 == t;
            if is_brain(v) { 6.0 * f64::from(u8::from(active)) + noise * random.normal() } else { 0.0 }
        });
        let error = regressed(&maps).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFourDimensional);
        assert!(error.message.contains("spatial maps"), "{error}");
    }
    // Neither white noise nor a demeaned scan with a jerk of the head is taken for them.
    assert!(regressed(&scan(0.0, |_, _| random.normal())).is_ok());
    let jerk = scan(0.0, |t, _| random.normal() * if t == 16 || t == 17 { 30.0 } else { 1.0 });
    assert!(regressed(&jerk).is_ok());
}

#[test]
fn real_scans_lie_on_the_mask_and_the_shipped_maps_are_no_scan() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../models/fmri-networks-demo/maps.nii.gz");
    let shipped = FileSource(shipped.into());
    let all = GroupMaps::read(&shipped, None, &Limits::default()).unwrap();
    let few: Vec<Vec<f64>> =
        (0..2).map(|k| all.mask().iter().map(|&v| f64::from(v * (k + 3) % 101)).collect()).collect();
    let few = GroupMaps::new(*all.grid(), all.mask().to_vec(), &few).unwrap();
    let options = Options { resample: true, ..Options::default() };
    let error = dual_regression(&shipped, &few, &options).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFourDimensional, "{error}");

    let test = "real_scans_lie_on_the_mask_and_the_shipped_maps_are_no_scan";
    for path in rest32(test).into_iter().flatten().take(3) {
        let done = dual_regression(&FileSource(path), &few, &options).unwrap();
        assert_eq!(done.facts.overlap.tissue, Tissue::MeanIntensity);
        assert!(done.facts.overlap.dice.unwrap() > 0.9, "{:?}", done.facts.overlap);
    }
    let native = "fmri/bold/sub-ds205s03_task-functionallocalizer_run-01_bold_volreg.nii.gz";
    if let Some(path) = data(test, native) {
        match dual_regression(&FileSource(path), &few, &options) {
            Ok(done) => {
                assert!(done.facts.overlap.dice.unwrap() < 0.8, "{:?}", done.facts.overlap);
                assert!(done.warnings.iter().any(|warning| warning.code == "low_overlap"));
            }
            // Too little of the mask is in its view.
            Err(error) => assert_ne!(error.code, ErrorCode::NotFourDimensional, "{error}"),
        }
    }
}
