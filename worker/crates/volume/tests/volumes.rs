//! The NIfTI reader against hand-made bytes, damaged files, its own writer, and real scans.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::unreadable_literal
)]

mod common;

use common::{Nifti, Random, data, gzip, read_all, read_limited, rest32};
use nightread_domain::{ErrorClass, ErrorCode};
use nightread_volume::{
    Affine, BytesSource, Datatype, Description, Endian, Grid, Intent, Limits, Orientation, Storage,
    VolumeStream, VolumeWriter,
};
use proptest::prelude::*;

const TYPES: [Datatype; 10] = [
    Datatype::U8,
    Datatype::I8,
    Datatype::U16,
    Datatype::I16,
    Datatype::U32,
    Datatype::I32,
    Datatype::U64,
    Datatype::I64,
    Datatype::F32,
    Datatype::F64,
];

fn code_of(bytes: &[u8]) -> ErrorCode {
    let error = read_all(bytes).expect_err("the file is bad");
    assert_eq!(error.class, error.code.class());
    error.code
}

#[test]
fn every_version_byte_order_and_datatype_is_read() {
    let stored: Vec<f64> = (0..3 * 4 * 5 * 2).map(|i| f64::from(i % 100)).collect();
    for version in [1, 2] {
        for endian in [Endian::Little, Endian::Big] {
            for datatype in TYPES {
                let dims = vec![3, 4, 5, 2];
                let nifti = Nifti { version, endian, datatype, dims, extension: 32, ..Nifti::default() };
                let plain = nifti.file(stored.iter().copied());
                for bytes in [plain.clone(), gzip(&plain)] {
                    let (header, values, rest) = read_all(&bytes).unwrap();
                    assert_eq!((header.volumes, header.four_dimensional, rest), (2, true, 0));
                    assert_eq!(header.grid.dims, [3, 4, 5]);
                    assert_eq!(header.tr_seconds, Some(2.0));
                    assert_eq!(header.orientation, Orientation::Sform(4));
                    assert_eq!(values, stored, "{version} {endian:?} {datatype:?}");
                }
            }
        }
    }
}

#[test]
fn scaling_applies_unless_the_slope_is_zero_or_nan() {
    for (slope, intercept, expected) in [(0.5, 10.0, 13.0), (0.0, 10.0, 6.0), (f32::NAN, 10.0, 6.0)] {
        let nifti = Nifti { slope, intercept, dims: vec![1, 1, 1], ..Nifti::default() };
        let (header, values, _) = read_all(&nifti.file([6.0])).unwrap();
        assert_eq!((values[0], header.four_dimensional, header.volumes), (expected, false, 1));
    }
    let bad = Nifti { slope: 2.0, intercept: f32::INFINITY, dims: vec![1, 1, 1], ..Nifti::default() };
    assert_eq!(code_of(&bad.file([6.0])), ErrorCode::VolumeHeaderInvalid);
}

#[test]
fn a_quaternion_gives_the_affine() {
    // 90 degrees about z: (a, b, c, d) = (sqrt 1/2, 0, 0, sqrt 1/2), qfac -1 flips the third axis.
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let qform = Some([0.0, 0.0, half, 10.0, 20.0, 30.0]);
    let nifti =
        Nifti { sform: None, qform, pixdim: [-1.0, 2.0, 3.0, 4.0], dims: vec![1, 1, 1], ..Nifti::default() };
    let (header, _, _) = read_all(&nifti.file([0.0])).unwrap();
    assert_eq!(header.orientation, Orientation::Qform(1));
    let want = [[0.0, -3.0, 0.0, 10.0], [2.0, 0.0, 0.0, 20.0], [0.0, 0.0, -4.0, 30.0]];
    for (row, expected) in header.grid.affine.0.iter().flatten().zip(want.iter().flatten()) {
        assert!((row - expected).abs() < 1e-6);
    }
    let wild = Nifti { sform: None, qform: Some([3.0; 6]), dims: vec![1, 1, 1], ..Nifti::default() };
    assert_eq!(code_of(&wild.file([0.0])), ErrorCode::VolumeHeaderInvalid);
}

#[test]
fn times_follow_their_unit() {
    for (units, tr, expected) in
        [(2, 2.0, Some(2.0)), (18, 800.0, Some(0.8)), (26, 1.5e6, Some(1.5)), (10, 0.0, None)]
    {
        let nifti = Nifti { units, tr, dims: vec![1, 1, 1, 1], ..Nifti::default() };
        let got = read_all(&nifti.file([0.0])).unwrap().0.tr_seconds;
        assert_eq!(got.map(|x| (x * 1e6).round()), expected.map(|x: f64| (x * 1e6).round()));
    }
}

#[test]
fn headers_that_lie_are_refused_without_allocating() {
    let base = Nifti { dims: vec![2, 2, 2, 3], ..Nifti::default() };
    let full = base.file((0..24).map(f64::from));
    let with = |dims: Vec<i64>| Nifti { dims, ..base.clone() }.file((0..24).map(f64::from));
    assert_eq!(code_of(&with(vec![2, 2, 2, 4])), ErrorCode::Truncated);
    assert_eq!(code_of(&with(vec![200, 200, 200, 4])), ErrorCode::Truncated);
    assert_eq!(code_of(&with(vec![32767, 32767, 32767, 32767])), ErrorCode::TooManyVoxels);
    assert_eq!(code_of(&with(vec![256, 256, 256, 32767])), ErrorCode::TooManyVoxels);
    assert_eq!(code_of(&with(vec![2, -2, 2, 3])), ErrorCode::VolumeHeaderInvalid);
    assert_eq!(code_of(&with(vec![2, 0, 2, 3])), ErrorCode::VolumeHeaderInvalid);
    assert_eq!(code_of(&with(vec![2, 2, 2, 1, 3])), ErrorCode::NotFourDimensional);
    assert!(read_all(&with(vec![2, 2, 2, 3, 1])).is_ok());
    let huge = Nifti { version: 2, dims: vec![i64::MAX, i64::MAX, 2, 3], ..base.clone() };
    assert_eq!(code_of(&huge.header()), ErrorCode::TooManyVoxels);

    let mut offset = full.clone();
    offset[108..112].copy_from_slice(&3.0e9f32.to_le_bytes());
    assert_eq!(code_of(&offset), ErrorCode::VolumeHeaderInvalid);
    let mut pair = full.clone();
    pair[344..348].copy_from_slice(b"ni1\0");
    assert_eq!(code_of(&pair), ErrorCode::VolumeHeaderInvalid);
    let mut complex = full.clone();
    complex[70] = 32;
    assert_eq!(code_of(&complex), ErrorCode::UnsupportedDatatype);
    let singular = Nifti { sform: Some([[0.0; 4]; 3]), ..base };
    assert_eq!(code_of(&singular.file([0.0])), ErrorCode::VolumeHeaderInvalid);
    assert_eq!(code_of(&[]), ErrorCode::BlobEmpty);
    assert_eq!(code_of(b"\x1f\x8b"), ErrorCode::Truncated);
    assert_eq!(code_of(&[7; 400]), ErrorCode::VolumeHeaderInvalid);
}

#[test]
fn a_voxel_takes_what_its_type_takes_whatever_bitpix_says() {
    for version in [1, 2] {
        for endian in [Endian::Little, Endian::Big] {
            for datatype in TYPES {
                let nifti = Nifti { version, endian, datatype, dims: vec![3, 3, 3, 2], ..Nifti::default() };
                let mut bytes = nifti.file((0..54).map(f64::from));
                let at = if version == 1 { 72 } else { 14 };
                let wrong = if datatype.bytes() == 4 { 2u8 } else { 32 };
                bytes[at..at + 2].copy_from_slice(&match endian {
                    Endian::Little => [wrong, 0],
                    Endian::Big => [0, wrong],
                });
                let (header, values, _) = read_all(&bytes).unwrap();
                assert_eq!(values, (0..54).map(f64::from).collect::<Vec<_>>());
                assert_eq!(header.warnings[0].code, "bitpix_ignored");
            }
        }
    }
}

#[test]
fn padding_and_empty_members_change_nothing() {
    let nifti = Nifti { dims: vec![5, 4, 3, 7], ..Nifti::default() };
    let plain = nifti.file((0..420).map(|i| f64::from(i * i % 251)));
    let right = read_all(&plain).unwrap();
    let join = |parts: &[&[u8]]| parts.concat();
    let (whole, empty) = (gzip(&plain), gzip(&[]));
    for bytes in [
        join(&[&whole, &[0; 1]]),
        join(&[&whole, &vec![0; 700_000]]),
        join(&[&empty, &whole]),
        join(&[&empty, &empty, &whole, &empty]),
        join(&[&gzip(&plain[..1]), &gzip(&plain[1..100]), &gzip(&plain[100..])]),
        join(&[&gzip(&plain[..348]), &[0; 512], &gzip(&plain[348..]), &[0; 3]]),
    ] {
        assert_eq!(read_all(&bytes).unwrap(), right);
    }
    // What follows and is neither padding nor a member is damage, and so is a member that ends early before padding.
    assert_eq!(code_of(&join(&[&whole, &[0, 0], &[7; 20]])), ErrorCode::DecodeFailed);
    assert!(read_all(&join(&[&whole[..whole.len() - 8], &[0; 600]])).is_err());
}

#[test]
fn implausible_times_warn() {
    for (units, tr, warned) in [
        (10, 2.0, false),
        (10, 0.0, false),
        (10, 0.72, false),
        (10, 2000.0, true),
        (2, 2000.0, true),
        (18, 2000.0, false),
        (26, 720_000.0, false),
        (18, 2.0, true),
        (10, -2.0, true),
        (10, f32::NAN, true),
        (34, 2.0, true),
    ] {
        let nifti = Nifti { units, tr, dims: vec![1, 1, 1, 2], ..Nifti::default() };
        let header = read_all(&nifti.file([0.0, 1.0])).unwrap().0;
        let codes: Vec<_> = header.warnings.iter().map(|warning| warning.code.as_str()).collect();
        assert_eq!(codes, if warned { vec!["implausible_tr"] } else { vec![] }, "{units} {tr}");
    }
}

#[test]
fn two_forms_that_contradict_each_other_warn() {
    // The sform runs to the left; a quaternion of no rotation runs to the right, at the same corner.
    let sform = Some([[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -12.0], [0.0, 0.0, 4.0, -7.0]]);
    let of = |qform: [f32; 6], size: f32, qfac: f32| {
        let nifti = Nifti {
            sform,
            qform: Some(qform),
            pixdim: [qfac, size, size, size],
            dims: vec![5, 5, 5, 2],
            ..Nifti::default()
        };
        let mut bytes = nifti.file((0..250).map(f64::from));
        bytes[252] = 4; // One space with the sform.
        let header = read_all(&bytes).unwrap().0;
        assert_eq!((header.orientation, header.codes), (Orientation::Sform(4), [4, 4]));
        assert_eq!(header.grid.affine.0[0], [-4.0, 0.0, 0.0, 8.0]);
        header.warnings
    };
    let mirrored = of([0.0, 0.0, 0.0, 8.0, -12.0, -7.0], 4.0, 1.0);
    assert_eq!(mirrored[0].code, "qform_disagrees");
    assert!(mirrored[0].message.contains("RAS") && mirrored[0].message.contains("LAS"));
    // Half a turn about the second axis with a flipped third one is the sform itself.
    assert_eq!(of([0.0, 1.0, 0.0, 8.0, -12.0, -7.0], 4.0, -1.0), []);
    assert_eq!(of([0.0, 1.0, 0.0, 20.0, -12.0, -7.0], 4.0, -1.0)[0].code, "qform_disagrees");
    assert_eq!(of([0.0, 1.0, 0.0, 8.0, -12.0, -7.0], 3.0, -1.0)[0].code, "qform_disagrees");
}

#[test]
fn limits_say_their_setting() {
    use nightread_volume::LimitNames;
    let small = Limits { max_voxels: 10, names: LimitNames::SETTINGS, ..Limits::default() };
    let nifti = Nifti { dims: vec![3, 3, 3, 2], ..Nifti::default() };
    let error = read_limited(&nifti.header(), &small).unwrap_err();
    assert!(error.message.contains("[limits] voxels"), "{error}");
    let small = Limits { max_inflated_bytes: 10, names: LimitNames::SETTINGS, ..Limits::default() };
    let error = read_limited(&nifti.header(), &small).unwrap_err();
    assert!(error.message.contains("[limits] inflated_bytes"), "{error}");
    // Long runs of the usual projects pass by default, and end where their bytes do.
    for dims in [[91, 109, 91, 1200], [97, 115, 97, 1200], [113, 136, 113, 900]] {
        let nifti = Nifti { dims: dims.to_vec(), datatype: Datatype::F32, ..Nifti::default() };
        assert_eq!(code_of(&nifti.header()), ErrorCode::Truncated);
    }
}

#[test]
fn every_cut_of_a_compressed_scan_is_seen() {
    let nifti = Nifti { dims: vec![5, 4, 3, 7], ..Nifti::default() };
    let plain = nifti.file((0..420).map(|i| f64::from(i * i % 251)));
    let whole = gzip(&plain);
    for cut in 1..whole.len() {
        assert_eq!(code_of(&whole[..cut]), ErrorCode::Truncated, "cut at {cut}");
    }
    // A wrong checksum and a wrong length in the trailer, and damage inside.
    for (at, code) in [(whole.len() - 8, ErrorCode::DecodeFailed), (whole.len() - 4, ErrorCode::DecodeFailed)]
    {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        assert_eq!(code_of(&damaged), code);
    }
    // Two members, cut at any byte of the data, are one file; bytes after the data are counted.
    let mut members = gzip(&plain[..500]);
    members.extend(gzip(&plain[500..]));
    assert_eq!(read_all(&members).unwrap().1, read_all(&plain).unwrap().1);
    assert_eq!(code_of(&members[..members.len() - 3]), ErrorCode::Truncated);
    let mut longer = plain.clone();
    longer.extend([1; 99]);
    assert_eq!(read_all(&gzip(&longer)).unwrap().2, 99);
}

#[test]
fn a_bomb_after_the_data_is_stopped() {
    let nifti = Nifti { dims: vec![2, 2, 2, 2], ..Nifti::default() };
    let mut plain = nifti.file([0.0; 16]);
    plain.resize(4 << 20, 0);
    let limits = Limits { max_inflated_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(read_limited(&gzip(&plain), &limits).unwrap_err().code, ErrorCode::InflatesTooLarge);
    let big = Nifti { dims: vec![100, 100, 100, 2], ..Nifti::default() };
    assert_eq!(read_limited(&gzip(&big.header()), &limits).unwrap_err().code, ErrorCode::InflatesTooLarge);
}

#[test]
fn damaged_files_never_panic() {
    let mut random = Random(20_240_131);
    let mut codes = std::collections::BTreeMap::<ErrorCode, u32>::new();
    let limits = Limits {
        max_volume_voxels: 1 << 16,
        max_voxels: 1 << 18,
        max_inflated_bytes: 1 << 20,
        ..Limits::default()
    };
    for round in 0..20_000 {
        let version = 1 + (round % 2) as u8;
        let datatype = TYPES[random.below(10)];
        let endian = if random.below(2) == 0 { Endian::Little } else { Endian::Big };
        let fifth = 1 + i64::from(round % 16 == 0);
        let nifti = Nifti { version, datatype, endian, dims: vec![3, 3, 3, 2, fifth], ..Nifti::default() };
        let mut bytes = nifti.file((0..54).map(f64::from));
        let compress_first = random.below(3) == 0;
        if compress_first {
            bytes = gzip(&bytes);
        }
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(360) };
        for _ in 0..=random.below(6) {
            let at = random.below(reach);
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ (1 << random.below(8)),
                _ => random.bits() as u8,
            };
        }
        if random.below(5) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        if !compress_first && random.below(3) == 0 {
            bytes = gzip(&bytes);
        }
        if let Err(error) = read_limited(&bytes, &limits) {
            assert_eq!(error.class, ErrorClass::Permanent, "{error}");
            *codes.entry(error.code).or_default() += 1;
        }
    }
    // The mutations reach every way out of the reader.
    for code in [
        ErrorCode::VolumeHeaderInvalid,
        ErrorCode::UnsupportedDatatype,
        ErrorCode::NotFourDimensional,
        ErrorCode::TooManyVoxels,
        ErrorCode::Truncated,
        ErrorCode::DecodeFailed,
    ] {
        assert!(codes.contains_key(&code), "{code} was not reached: {codes:?}");
    }
}

proptest! {
    #[test]
    fn written_volumes_are_read_back(
        dims in prop::array::uniform3(1usize..6), volumes in 1usize..4, seed: u64, level in prop::option::of(0u32..4),
    ) {
        let affine = Affine([[-4.0, 0.5, 0.0, 7.0], [0.0, 3.0, 0.0, -2.5], [0.25, 0.0, 2.0, 9.0]]);
        let grid = Grid { dims, affine };
        let mut random = Random(seed);
        let values: Vec<f32> = (0..grid.len() * volumes).map(|_| (random.normal() * 50.0) as f32).collect();
        for (storage, tolerance) in
            [(Storage::F32, 0.0), (Storage::I16 { slope: 0.01 }, 0.0051), (Storage::I8 { slope: 2.0 }, 1.01)]
        {
            let description = Description {
                grid, volumes: Some(volumes), storage, tr_seconds: Some(0.72), space: 4, text: "test".into(),
            };
            let intent = Intent::T;
            let mut writer =
                VolumeWriter::of_intent(Vec::new(), description, intent, 40.0, level).unwrap();
            for volume in values.chunks(grid.len()) {
                writer.write_volume(volume).unwrap();
            }
            prop_assert!(writer.write_volume(&values[..grid.len()]).is_err());
            let (header, got, rest) = read_all(&writer.finish().unwrap()).unwrap();
            prop_assert_eq!(rest, 0);
            prop_assert_eq!(header.intent, intent);
            prop_assert_eq!(header.grid, grid);
            prop_assert!((header.tr_seconds.unwrap() - 0.72).abs() < 1e-6);
            let limit = if matches!(storage, Storage::I8 { .. }) { 254.0 } else { 320.0 };
            for (a, b) in got.iter().zip(&values) {
                prop_assert!((a - f64::from(b.clamp(-limit, limit))).abs() <= tolerance);
            }
        }
    }
}

/// Sums from nibabel 5.4 (`numpy.asanyarray(image.dataobj, dtype=float64).sum()` of the first volume).
#[test]
fn real_scans_read_as_nibabel_reads_them() {
    let test = "real_scans_read_as_nibabel_reads_them";
    let Some(root) = data(test, "fmri") else { return };
    for (name, dims, volumes, sum, corner) in REAL {
        let bytes = std::fs::read(root.join(name)).unwrap();
        let (header, values, rest) = read_all(&bytes).unwrap();
        assert_eq!((header.grid.dims, header.volumes, rest), (*dims, *volumes, 0), "{name}");
        let first: f64 = values[..header.grid.len()].iter().sum();
        assert!((first - sum).abs() <= 1e-9 * sum.abs(), "{name}: {first} is not {sum}");
        if header.orientation != Orientation::Unknown {
            let got = header.grid.affine.apply([0.0; 3]);
            assert!(got.iter().zip(corner).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {got:?}");
        }
    }
    let mask =
        std::fs::read(root.join("templates/MNI152NLin6_res-4x4x4_T1w_descr-brainmask.nii.gz")).unwrap();
    let source = BytesSource(&mask);
    let grid = Grid {
        dims: [45, 54, 45],
        affine: Affine([[-4.0, 0.0, 0.0, 90.0], [0.0, 4.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0]]),
    };
    assert_eq!(VolumeStream::open(&source, &Limits::default()).unwrap().header().grid, grid);
    if let Some(paths) = rest32(test) {
        assert_eq!(paths.len(), 32);
        for path in paths {
            let header = read_all(&std::fs::read(path).unwrap()).unwrap().0;
            assert_eq!((header.grid.dims, header.volumes, header.endian), ([17, 20, 17], 148, Endian::Big));
        }
    }
}

type Real = (&'static str, [usize; 3], usize, f64, [f64; 3]);
const REAL: &[Real] = &[
    ("bold/oro.nifti_filtered_func_data.nii.gz", [64, 64, 21], 64, 166341695.0, [31.5, -31.5, -10.0]),
    (
        "bold/sub-ds205s03_task-functionallocalizer_run-01_bold_volreg.nii.gz",
        [53, 53, 27],
        82,
        18823601.660041943,
        [107.23968505859375, -75.27093505859375, -15.47182846069336],
    ),
    ("components/thresh_zstat1.nii.gz", [53, 63, 52], 1, 20726.499977827072, [78.0, -112.0, -70.0]),
    ("rest32/rtswa_14R_3F11.nii", [17, 20, 17], 148, 55314533.8993901, [78.0, -112.0, -70.0]),
    ("templates/Yeo-7_space-MNI152NLin6_res-4x4x4.nii.gz", [45, 54, 45], 1, 36627.0, [88.0, -124.0, -70.0]),
];
