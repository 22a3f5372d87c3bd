//! Group ICA on mixtures with known sources, and its promises about seeds and refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

mod common;

use common::{Nifti, Random, correlation};
use nightread_domain::ErrorCode;
use nightread_fmri::GroupMaps;
use nightread_fmri::ica::{GroupIca, Options, Progress, group_ica, write_group};
use nightread_volume::{BytesSource, Datatype, Limits, ScanSource};
use sha2::{Digest, Sha256};

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
    let runs: Vec<&dyn ScanSource> = runs.iter().map(|run| run as &dyn ScanSource).collect();
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
    let runs: Vec<&dyn ScanSource> = sources.iter().map(|run| run as &dyn ScanSource).collect();
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
    // Every file that a manifest names is pinned by its digest.
    for (key, file) in [("sha256", "maps.nii.gz"), ("mask_sha256", "mask.nii.gz")] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let line = format!("\n{key} = \"{}\"\n", hex::encode(Sha256::digest(bytes)));
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
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

fn with_mask(
    files: &[Vec<u8>],
    mask: &[u8],
    options: &Options,
) -> Result<GroupIca, nightread_domain::JobError> {
    let runs: Vec<BytesSource<'_>> = files.iter().map(|file| BytesSource(file)).collect();
    let runs: Vec<&dyn ScanSource> = runs.iter().map(|run| run as &dyn ScanSource).collect();
    group_ica(&runs, &BytesSource(mask), options, &mut |_| {})
}

/// The same file with another sform code; 0 leaves it without a place.
fn coded(mut file: Vec<u8>, code: u8) -> Vec<u8> {
    file[254] = code;
    file
}

/// Codes (qform, sform) and grid of a written file.
fn written(folder: &std::path::Path, name: &str) -> ([i32; 2], nightread_volume::Grid) {
    let source = nightread_volume::FileSource(folder.join(name));
    let stream = nightread_volume::VolumeStream::open(&source, &Limits::default()).unwrap();
    (stream.header().codes, stream.header().grid)
}

#[test]
fn a_space_is_kept_and_never_invented() {
    let quick = Options { restarts: 1, ..Options::new(COUNT) };
    // (scans, mask) by sform code, and the code that is written.
    for (scans, mask, out) in [
        ([4, 4], 4, 4),
        ([1, 1], 4, 1),
        ([2, 4], 4, 2),
        ([0, 0], 0, 0),
        ([0, 0], 4, 0),
        ([4, 4], 0, 0),
        ([4, 0], 4, 0),
    ] {
        let files: Vec<_> = cohort(2).into_iter().zip(scans).map(|(file, code)| coded(file, code)).collect();
        let group = with_mask(&files, &coded(everywhere(), mask), &quick).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_group(&group, folder.path(), true).unwrap();
        for name in ["maps.nii.gz", "mask.nii.gz"] {
            let (codes, grid) = written(folder.path(), name);
            assert_eq!((codes, grid), ([0, out], group.grid), "{scans:?} {mask}");
        }
        let doubts = group.warnings.iter().filter(|warning| warning.code == "no_orientation");
        assert_eq!(doubts.clone().count() > 0, out == 0, "{scans:?} {mask}: {:?}", group.warnings);
        if mask == 4 && scans == [4, 0] {
            assert!(doubts.clone().all(|warning| warning.message.starts_with("scan 2: ")));
            assert!(doubts.clone().all(|warning| warning.message.contains("left to right")));
        }
        let text = std::fs::read_to_string(folder.path().join("maps.toml")).unwrap();
        assert_eq!(text.contains("# no_orientation"), out == 0, "{text}");
    }
    // Another size, or other voxels, without a place: nothing is laid at a corner.
    let small = Nifti { datatype: Datatype::U8, dims: vec![11, 12, 10], sform: None, ..Nifti::default() };
    let coarse = Nifti { dims: DIMS.to_vec(), pixdim: [1.0, 3.0, 3.0, 3.0], ..small.clone() };
    for mask in [small.file(vec![1.0; 11 * 120]), coarse.file(vec![1.0; VOXELS])] {
        assert_eq!(with_mask(&cohort(2), &mask, &quick).unwrap_err().code, ErrorCode::GridMismatch);
    }
}

#[test]
fn one_rule_reads_every_mask_on_its_own_grid_and_on_another() {
    let quick = Options { restarts: 1, ..Options::new(COUNT) };
    let files = cohort(2);
    let inside = |v: usize| v / 12 % 12 >= 3;
    let voxels = |dims: [i64; 3], size: f32, value: &dyn Fn(usize) -> f64| {
        let sform = Some([[size, 0.0, 0.0, -3.0], [0.0, size, 0.0, -4.0], [0.0, 0.0, size, -5.0]]);
        let mask = Nifti { datatype: Datatype::F32, dims: dims.to_vec(), sform, ..Nifti::default() };
        let bytes = mask.file((0..dims.iter().product::<i64>() as usize).map(value));
        with_mask(&files, &bytes, &quick).unwrap()
    };
    let plain = voxels(DIMS, 2.0, &|v| f64::from(u8::from(inside(v))));
    assert_eq!(plain.mask.len(), (0..VOXELS).filter(|&v| inside(v) && v != 0).count());
    assert!(plain.warnings.is_empty(), "{:?}", plain.warnings);
    let bright = voxels(DIMS, 2.0, &|v| 255.0 * f64::from(u8::from(inside(v))));
    assert_eq!((bright.mask.len(), bright.warnings.len()), (plain.mask.len(), 0));
    // Probabilities everywhere: half of the greatest, 0.9, is the border, and said.
    let probable =
        voxels(DIMS, 2.0, &|v| if inside(v) { 0.46 + 0.44 * f64::from(v as u32 % 2) } else { 0.02 });
    assert_eq!(
        (probable.mask.len(), probable.warnings[0].code.as_str()),
        (plain.mask.len(), "mask_not_binary")
    );
    // On a grid of 5 mm, whatever "inside" is called.
    let other = |value: f64| voxels([5, 5, 5], 5.0, &|v| if v / 5 % 5 >= 2 { value } else { 0.0 });
    let (one, many) = (other(1.0), other(255.0));
    assert_eq!(one.mask, many.mask);
    assert!(one.mask.len() > 100 && one.mask.len() < VOXELS);
    let faint = voxels([5, 5, 5], 5.0, &|v| if v / 5 % 5 >= 2 { 0.9 } else { 0.001 });
    assert_eq!(faint.mask.len(), one.mask.len());
}

#[test]
fn a_scan_that_takes_much_of_the_mask_is_named() {
    let mut files = cohort(3);
    let offset = files[2].len() - 40 * VOXELS * 4;
    // The lower half of the third scan never changes.
    for t in 0..40 {
        let at = offset + t * VOXELS * 4;
        files[2][at..at + VOXELS * 2].fill(0);
    }
    let group = run(&files, &Options { restarts: 1, ..Options::new(COUNT) }).unwrap();
    assert_eq!(group.mask.len(), VOXELS / 2);
    let named: Vec<_> = group.warnings.iter().filter(|warning| warning.code == "mask_shrunk").collect();
    assert_eq!(named.len(), 1);
    assert!(named[0].message.starts_with("scan 3: 720 of the mask's 1440 voxels"), "{}", named[0].message);
    // Errors name the scan too, also before the first voxel is read.
    files[1].truncate(9000);
    let error = run(&files, &Options::new(COUNT)).unwrap_err();
    assert!(error.code == ErrorCode::Truncated && error.message.starts_with("scan 2: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub-07_bold.nii");
    std::fs::write(&path, &files[1][..200]).unwrap();
    let source = nightread_volume::FileSource(path);
    let error =
        group_ica(&[&source], &BytesSource(&everywhere()), &Options::new(2), &mut |_| {}).unwrap_err();
    assert!(error.message.starts_with("scan 1 (") && error.message.contains("sub-07_bold.nii)"), "{error}");
}

#[test]
fn the_longest_run_decides_the_reduction_and_mixing_holds_the_explained_variance() {
    let mut files = cohort(4);
    let (header, volume) = (files[0].len() - 40 * VOXELS * 4, VOXELS * 4);
    let mut short = files[0][..header + 5 * volume].to_vec();
    short[48..50].copy_from_slice(&5i16.to_le_bytes());
    files.insert(0, short);
    let group = run(&files, &Options { restarts: 1, ..Options::new(COUNT) }).unwrap();
    // 165 volumes are twice the longest run, and reduced to 79; twice the first would have been 9.
    assert_eq!((group.volumes, group.mixing.len(), group.mixing[0].len()), (165, 79, COUNT));
    let power: Vec<f64> = (0..COUNT).map(|k| group.mixing.iter().map(|row| row[k] * row[k]).sum()).collect();
    let all: f64 = power.iter().sum();
    for (power, explained) in power.iter().zip(&group.explained) {
        assert!((power / all - explained).abs() < 1e-3, "{power} of {all} is not {explained}");
    }
    assert!(
        group.explained_together > 0.01 && group.explained_together < 1.0,
        "{}",
        group.explained_together
    );

    let hasty = run(&files, &Options { restarts: 2, max_iterations: 1, ..Options::new(COUNT) }).unwrap();
    assert!(!hasty.converged);
    let folder = tempfile::tempdir().unwrap();
    write_group(&hasty, folder.path(), true).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(
        read("maps.toml").contains("did NOT converge")
            && read("maps.toml").contains("mask = \"mask.nii.gz\"")
    );
    assert_eq!(read("mixing.tsv").lines().count(), 80);
    assert_eq!(read("components.tsv").lines().count(), COUNT + 1);
    let open = |name: &str| nightread_volume::FileSource(folder.path().join(name));
    let maps = GroupMaps::read(&open("maps.nii.gz"), Some(&open("mask.nii.gz")), &Limits::default()).unwrap();
    assert_eq!(maps.mask().len(), hasty.mask.len());
}
