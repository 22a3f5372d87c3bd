//! Group ICA on mixtures with known sources, and its promises about seeds and refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

mod common;

use common::{Nifti, Random, correlation};
use nightread_domain::ErrorCode;
use nightread_fmri::ica::{GroupIca, Options, Progress, group_ica, write_group};
use nightread_fmri::volume::Datatype;
use nightread_fmri::{BytesSource, GroupMaps, Limits, Source};

const DIMS: [i64; 3] = [12, 12, 10];
const VOXELS: usize = 1440;
const COUNT: usize = 4;

/// Blobs apart from each other: sparse, and so far from Gaussian.
fn sources() -> Vec<Vec<f64>> {
    let centres = [[3.0, 3.0, 3.0], [8.0, 3.0, 6.0], [3.0, 8.0, 7.0], [8.0, 8.0, 2.0]];
    centres
        .iter()
        .map(|c| {
            (0..VOXELS)
                .map(|v| {
                    let p = [(v % 12) as f64, (v / 12 % 12) as f64, (v / 144) as f64];
                    (-p.iter().zip(c).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / 4.0).exp()
                })
                .collect()
        })
        .collect()
}

fn file(dims: [i64; 4], values: Vec<f64>) -> Vec<u8> {
    Nifti { datatype: Datatype::F32, dims: dims.to_vec(), ..Nifti::default() }.file(values)
}

/// A cohort of runs of 40 volumes; voxel 0 never changes in the second run.
fn cohort(runs: usize) -> Vec<Vec<u8>> {
    let (mut random, sources) = (Random(42), sources());
    (0..runs)
        .map(|run| {
            let mut values = Vec::new();
            for _ in 0..40 {
                let course: Vec<f64> = (0..COUNT).map(|_| 6.0 * random.normal()).collect();
                values.extend((0..VOXELS).map(|v| {
                    let mix: f64 = course.iter().zip(&sources).map(|(c, s)| c * s[v]).sum();
                    if run == 1 && v == 0 { 500.0 } else { 1000.0 + v as f64 + mix + 2.0 * random.normal() }
                }));
            }
            file([DIMS[0], DIMS[1], DIMS[2], 40], values)
        })
        .collect()
}

fn everywhere() -> Vec<u8> {
    Nifti { datatype: Datatype::U8, dims: DIMS.to_vec(), ..Nifti::default() }.file(vec![1.0; VOXELS])
}

fn run(files: &[Vec<u8>], options: &Options) -> Result<GroupIca, nightread_domain::JobError> {
    let runs: Vec<BytesSource<'_>> = files.iter().map(|file| BytesSource(file)).collect();
    let runs: Vec<&dyn Source> = runs.iter().map(|run| run as &dyn Source).collect();
    group_ica(&runs, &BytesSource(&everywhere()), options, &mut |_| {})
}

#[test]
fn known_sources_come_back() {
    let files = cohort(20);
    // A state of 60 rows is reduced after every second run, as a cohort larger than memory would be.
    let options = Options { max_state_rows: 60, restarts: 4, ..Options::new(COUNT) };
    let group = run(&files, &options).unwrap();
    assert!(group.converged && group.runs == 20 && group.volumes == 800);
    assert_eq!((group.constant_voxels, group.mask.len(), group.mask[0]), (1, VOXELS - 1, 1));
    let mut found = std::collections::BTreeSet::new();
    // Variance normalisation divides every voxel's signal by its own total deviation.
    let all = sources();
    let deviation = |v: usize| (4.0 + all.iter().map(|s| 36.0 * s[v] * s[v]).sum::<f64>()).sqrt();
    for source in &all {
        let source: Vec<f64> = (1..VOXELS).map(|v| source[v] / deviation(v)).collect();
        let (best, k) = (0..COUNT)
            .map(|k| (correlation(group.maps[k].iter().map(|&x| f64::from(x)), source.iter().copied()), k))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap();
        assert!(best > 0.93, "correlation {best}");
        found.insert(k);
    }
    assert_eq!(found.len(), COUNT);
    for map in &group.maps {
        let n = map.len() as f64;
        let mean = map.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let square = map.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4);
        let peak = map.iter().copied().fold(0f32, |a, x| if x.abs() > a.abs() { x } else { a });
        assert!(peak > 0.0);
    }
    assert!(group.explained.is_sorted_by(|a, b| a >= b));
    assert!((group.explained.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(group.stability.iter().all(|&s| s > 0.95));
}

#[test]
fn a_seed_decides_everything() {
    let files = cohort(3);
    let options = Options { restarts: 2, seed: 5, ..Options::new(COUNT) };
    let (a, b) = (run(&files, &options).unwrap(), run(&files, &options).unwrap());
    assert_eq!(a.maps, b.maps);
    assert_eq!(a.explained, b.explained);
}

#[test]
fn progress_is_told_and_the_output_is_read_by_dual_regression() {
    let files = cohort(3);
    let sources: Vec<BytesSource<'_>> = files.iter().map(|file| BytesSource(file)).collect();
    let runs: Vec<&dyn Source> = sources.iter().map(|run| run as &dyn Source).collect();
    let (mut read, mut starts) = (0, 0);
    let options = Options { restarts: 2, ..Options::new(COUNT) };
    let group = group_ica(&runs, &BytesSource(&everywhere()), &options, &mut |progress| match progress {
        Progress::Run { of: 3, .. } => read += 1,
        Progress::Restart { of: 2, .. } => starts += 1,
        other => panic!("{other:?}"),
    })
    .unwrap();
    assert_eq!((read, starts), (3, 2));

    let folder = tempfile::tempdir().unwrap();
    write_group(&group, folder.path(), true).unwrap();
    let bytes = std::fs::read(folder.path().join("maps.nii.gz")).unwrap();
    let maps = GroupMaps::read(&BytesSource(&bytes), None, &Limits::default()).unwrap();
    assert_eq!((maps.count(), maps.mask().len(), *maps.grid()), (COUNT, VOXELS - 1, group.grid));
    let text = std::fs::read_to_string(folder.path().join("maps.toml")).unwrap();
    for line in ["[maps]", "file = \"maps.nii.gz\"", "count = 4", "grid = [12, 12, 10]", "des_norm = true"] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

#[test]
fn cohorts_that_cannot_be_decomposed_are_refused() {
    let files = cohort(2);
    let code = |files: &[Vec<u8>], options: &Options| run(files, options).unwrap_err().code;
    assert_eq!(code(&[], &Options::new(3)), ErrorCode::TooFewVolumes);
    assert_eq!(code(&files, &Options::new(0)), ErrorCode::TooFewVolumes);
    assert_eq!(code(&files, &Options::new(81)), ErrorCode::TooFewVolumes);
    let single = file([12, 12, 10, 1], vec![1.0; VOXELS]);
    assert_eq!(code(&[single], &Options::new(2)), ErrorCode::NotFourDimensional);
    let still = file([12, 12, 10, 9], vec![7.0; 9 * VOXELS]);
    assert_eq!(code(&[still], &Options::new(2)), ErrorCode::MaskEmpty);
    let mut odd = cohort(2);
    odd.push(file([11, 12, 10, 40], vec![0.5; 11 * 12 * 10 * 40]));
    assert_eq!(code(&odd, &Options::new(2)), ErrorCode::GridMismatch);
    // Two voxels' worth of signal has no third component.
    let poor: Vec<f64> =
        (0..30).flat_map(|t| (0..VOXELS).map(move |v| f64::from(t % 7) * (v % 5) as f64)).collect();
    assert_eq!(code(&[file([12, 12, 10, 30], poor)], &Options::new(3)), ErrorCode::NoUsableComponents);
}
