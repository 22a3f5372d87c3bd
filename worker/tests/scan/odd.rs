//! Scans that cannot be read, or only with a warning: each is told by its own document, and stops no other.

use std::collections::BTreeMap;
use std::fs;

use nightread_fmri::dual_regression;
use nightread_fmri::regression::Options;
use nightread_volume::{Affine, FileSource, Grid, Limits, VolumeStream};
use serde_json::Value;
use tempfile::TempDir;

use super::{COUNT, VOLUMES, documents, gzip, inflated, maps, maps_file, nifti, noise, simulated};
use crate::support::process;

#[test]
fn every_bad_scan_is_a_failed_document_and_stops_no_other() {
    let work = TempDir::new().unwrap();
    let folder = work.path().join("in");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let grid = *maps().grid();
    let good = fs::read(simulated(work.path(), 5)).unwrap();
    let plain = inflated(&work.path().join("simulated-5.nii.gz"));
    put("good.nii.gz", &good);
    put("three-dimensional.nii.gz", &gzip(&noise(grid, None)));
    put("one-volume.nii", &noise(grid, Some(1)));
    put("short.nii.gz", &gzip(&noise(grid, Some(COUNT + 1))));
    put("as-many-as-maps.nii.gz", &gzip(&noise(grid, Some(COUNT))));
    put("truncated.nii.gz", &good[..good.len() * 2 / 3]);
    put("without-trailer.nii.gz", &good[..good.len() - 8]);
    let mut damaged = good.clone();
    let crc = damaged.len() - 6;
    damaged[crc] ^= 0x55;
    put("wrong-checksum.nii.gz", &damaged);
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    put("damaged.nii.gz", &damaged);
    put("cut.nii", &plain[..plain.len() - 1]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        gzip(&bytes)
    };
    let dim = |axis: usize, length: i16| {
        move |bytes: &mut Vec<u8>| {
            bytes[40 + 2 * axis..42 + 2 * axis].copy_from_slice(&length.to_le_bytes());
        }
    };
    put("more-volumes-than-data.nii.gz", &with(&dim(4, 2000)));
    put("no-length.nii.gz", &with(&dim(2, 0)));
    put(
        "five-dimensions.nii.gz",
        &with(&|bytes| {
            dim(0, 5)(bytes);
            dim(5, 3)(bytes);
        }),
    );
    put("huge.nii.gz", &with(&|bytes| (1..5).for_each(|axis| dim(axis, i16::MAX)(bytes))));
    put("complex.nii.gz", &with(&|bytes| bytes[70..74].copy_from_slice(&[32, 0, 64, 0])));
    put("no-place.nii.gz", &with(&|bytes| bytes[280..328].fill(0)));
    put("zero.nii.gz", &gzip(&nifti(grid, Some(VOLUMES), |_| vec![0.0; grid.len()].into())));
    put("not-a-number.nii.gz", &gzip(&nifti(grid, Some(VOLUMES), |_| vec![f32::NAN; grid.len()].into())));
    let coarse = Grid {
        dims: [18, 22, 18],
        affine: Affine([[-10.0, 0.0, 0.0, 88.0], [0.0, 10.0, 0.0, -124.0], [0.0, 0.0, 10.0, -70.0]]),
    };
    put("other-grid.nii.gz", &gzip(&noise(coarse, Some(VOLUMES))));
    put("dr_stage2_other_grid.nii.gz", &gzip(&noise(coarse, Some(COUNT))));

    let expected = BTreeMap::from([
        ("good.nii.gz", "ok"),
        ("three-dimensional.nii.gz", "not_four_dimensional"),
        ("one-volume.nii", "too_few_volumes"),
        ("short.nii.gz", "too_few_volumes"),
        ("as-many-as-maps.nii.gz", "too_few_volumes"),
        ("truncated.nii.gz", "truncated"),
        ("without-trailer.nii.gz", "truncated"),
        ("wrong-checksum.nii.gz", "decode_failed"),
        ("damaged.nii.gz", "decode_failed"),
        ("cut.nii", "truncated"),
        ("more-volumes-than-data.nii.gz", "truncated"),
        ("no-length.nii.gz", "volume_header_invalid"),
        ("five-dimensions.nii.gz", "not_four_dimensional"),
        ("huge.nii.gz", "too_many_voxels"),
        ("complex.nii.gz", "unsupported_datatype"),
        ("no-place.nii.gz", "volume_header_invalid"),
        ("zero.nii.gz", "mask_empty"),
        ("not-a-number.nii.gz", "non_finite_voxels"),
        ("other-grid.nii.gz", "grid_mismatch"),
        ("dr_stage2_other_grid.nii.gz", "grid_mismatch"),
    ]);
    let ran = process(std::slice::from_ref(&folder), &work.path().join("out"), &[]);
    assert_eq!(ran.code, Some(1));
    let read = documents(&ran);
    assert_eq!(read.len(), expected.len());
    for (name, code) in &expected {
        let document = &read[*name];
        assert_eq!(
            document["error"]["code"].as_str().unwrap_or("ok"),
            *code,
            "{name}: {}",
            document["error"]
        );
        assert_eq!(document["model"]["name"], "fmri-networks-demo", "{name}");
        let message = document["error"]["message"].as_str().unwrap_or("").to_owned();
        assert!(!message.contains("panic"), "{name}: {message}");
    }
    assert!(read["other-grid.nii.gz"]["error"]["message"].as_str().unwrap().contains("resampling is off"));

    // The other grids are read when the settings allow it.
    let others = ["other-grid.nii.gz", "dr_stage2_other_grid.nii.gz"].map(|name| folder.join(name));
    let ran = process(&others, &work.path().join("resampled"), &[("NIGHTREAD_SCANS_RESAMPLE", "true")]);
    assert_eq!(ran.code, Some(0), "{}", ran.json);
    let read = documents(&ran);
    assert_eq!(read["other-grid.nii.gz"]["regression"]["grid"], "resampled");
    assert!(read.values().all(|document| document["components"].as_array().unwrap().len() == COUNT));
}

/// Bytes at an offset of an inflated file, and the whole compressed again.
fn patched(plain: &[u8], patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    gzip(&bytes)
}

fn warns(document: &Value, code: &str) -> bool {
    document["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

#[test]
fn odd_files_are_read_as_what_they_hold_and_their_oddness_is_told() {
    let work = TempDir::new().unwrap();
    let folder = work.path().join("in");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let scan = simulated(work.path(), 21);
    let (packed, plain) = (fs::read(&scan).unwrap(), inflated(&scan));
    put("base.nii.gz", &packed);
    put("padded.nii.gz", &[&packed[..], &[0; 1000]].concat());
    put("empty-member.nii.gz", &[gzip(&[]), packed.clone()].concat());
    put("short-member.nii.gz", &[gzip(&plain[..100]), gzip(&plain[100..])].concat());
    put("bitpix.nii.gz", &patched(&plain, &[(72, &64i16.to_le_bytes())]));
    put("tr.nii.gz", &patched(&plain, &[(92, &2000f32.to_le_bytes())]));
    // A qform of the same space that runs the other way, and no forms at all.
    put("mirrored-qform.nii.gz", &patched(&plain, &[(252, &4i16.to_le_bytes()), (76, &1f32.to_le_bytes())]));
    put("no-place.nii.gz", &patched(&plain, &[(254, &0i16.to_le_bytes())]));
    let expected = [
        ("base.nii.gz", None),
        ("padded.nii.gz", None),
        ("empty-member.nii.gz", None),
        ("short-member.nii.gz", None),
        ("bitpix.nii.gz", Some("bitpix_ignored")),
        ("tr.nii.gz", Some("implausible_tr")),
        ("mirrored-qform.nii.gz", Some("qform_disagrees")),
        ("no-place.nii.gz", Some("no_orientation")),
    ];
    let ran = process(std::slice::from_ref(&folder), &work.path().join("out"), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.json);
    let read = documents(&ran);
    let base = &read["base.nii.gz"];
    assert_eq!((&base["input"]["space"], &base["input"]["sform_code"]), (&"mni152".into(), &4.into()));
    assert_eq!(base["input"]["affine_mm"][0], serde_json::json!([-4.0, 0.0, 0.0, 88.0]));
    for (name, code) in expected {
        assert_eq!(read[name]["components"], base["components"], "{name}");
        for (_, other) in expected {
            let Some(other) = other else { continue };
            assert_eq!(warns(&read[name], other), code == Some(other), "{name}: {}", read[name]["warnings"]);
        }
    }
    assert_eq!(read["no-place.nii.gz"]["input"]["space"], "unknown");
    assert_eq!(read["no-place.nii.gz"]["input"].get("affine_mm"), None);

    // Kept in files instead of memory: the same, also where a second pass is needed.
    let mut hole = plain.clone();
    let voxel = maps().mask()[0] as usize;
    let (datatype, bytes) = (i16::from_le_bytes([plain[70], plain[71]]), plain.len());
    if datatype == 16 {
        hole[352 + 4 * voxel..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    put("hole.nii", &hole);
    let files = ["base.nii.gz", "padded.nii.gz", "hole.nii"].map(|name| folder.join(name));
    let ran = process(&files, &work.path().join("kept"), &[("NIGHTREAD_LIMITS_MEMORY_BYTES", "1000")]);
    assert_eq!(ran.code, Some(0), "{}", ran.json);
    let kept = documents(&ran);
    for name in ["base.nii.gz", "padded.nii.gz"] {
        assert_eq!(kept[name]["components"], base["components"], "{name}");
        assert_eq!(kept[name]["study"]["sha256"], read[name]["study"]["sha256"], "{name}");
    }
    assert_eq!(kept["hole.nii"]["study"]["bytes"], bytes);
    assert_eq!(warns(&kept["hole.nii"], "non_finite_voxels"), datatype == 16);
}

#[test]
fn what_is_no_scan_is_named_with_what_to_do() {
    let work = TempDir::new().unwrap();
    let folder = work.path().join("in");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let scan = simulated(work.path(), 22);
    let plain = inflated(&scan);
    put("pair.hdr", &{
        let mut header = plain[..348].to_vec();
        header[344..348].copy_from_slice(b"ni1\0");
        header
    });
    let mut mgh: Vec<u8> = [1i32, 64, 64, 30, 100, 3, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    mgh.resize(4000, 0);
    put("scan.mgz", &gzip(&mgh));
    put("scan.nii.bz2", b"BZh91AY&SY0000");
    put("labels.nii.gz", &patched(&plain, &[(68, &1002i16.to_le_bytes())]));
    // Component maps announced by intent alone, and such as nobody announced.
    let regressed = dual_regression(&FileSource(scan), &maps(), &Options::default()).unwrap().maps;
    let all = nifti(regressed.grid, Some(COUNT), |k| regressed.volume(&regressed.betas[k]).into());
    put("melodic_z.nii.gz", &patched(&all, &[(68, &5i16.to_le_bytes())]));
    put("melodic_t.nii.gz", &patched(&all, &[(68, &3i16.to_le_bytes())]));
    let shipped = FileSource(maps_file());
    let mut stream = VolumeStream::open(&shipped, &Limits::default()).unwrap();
    let mut group = vec![vec![0.0; regressed.grid.len()]; COUNT];
    for map in &mut group {
        stream.next_volume().unwrap().unwrap().values(map);
    }
    let twice = nifti(regressed.grid, Some(2 * COUNT), |k| {
        // Two sets of maps, so that their number would pass for a scan's.
        let turned = |v: usize| group[k % COUNT][if k < COUNT { v } else { group[0].len() - 1 - v }] as f32;
        (0..group[0].len()).map(turned).collect()
    });
    put("unannounced.nii.gz", &gzip(&twice));
    // Maps without a place that are another size, mirrored: never laid anywhere, not even by resampling.
    put("dr_stage2_nowhere.nii.gz", &patched(&all, &[(254, &[0, 0]), (80, &2f32.to_le_bytes())]));

    let ran = process(
        std::slice::from_ref(&folder),
        &work.path().join("out"),
        &[("NIGHTREAD_SCANS_RESAMPLE", "true")],
    );
    let rows = ran.json["results"].as_array().unwrap();
    let read: BTreeMap<String, Value> = documents(&ran);
    for (name, code, words) in [
        ("pair.hdr", "unsupported_media", "fslchfiletype"),
        ("scan.mgz", "unsupported_media", "mri_convert"),
        ("scan.nii.bz2", "unsupported_media", "bzip2"),
        ("labels.nii.gz", "not_four_dimensional", "labels"),
        ("unannounced.nii.gz", "not_four_dimensional", "intent code 3 or 5"),
        ("dr_stage2_nowhere.nii.gz", "grid_mismatch", "neither qform nor sform"),
    ] {
        let error = read.get(name).map_or_else(
            || {
                let row = rows.iter().find(|row| row["file"].as_str().unwrap().ends_with(name));
                row.unwrap_or_else(|| panic!("no row for {name} in {}", ran.json)).clone()
            },
            |document| document["error"].clone(),
        );
        assert!(error.to_string().contains(code) && error.to_string().contains(words), "{name}: {error}");
    }
    for name in ["melodic_z.nii.gz", "melodic_t.nii.gz"] {
        assert!(warns(&read[name], "read_as_component_maps"), "{name}");
        assert_eq!(read[name]["components"].as_array().unwrap().len(), COUNT);
    }
}
