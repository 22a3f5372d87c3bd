//! `nightread process` on scans whose numbers need care: confounds beside them, voxels without signal, filtered volumes.

use std::fs;
use std::path::{Path, PathBuf};

use nightread_fmri::GroupMaps;
use nightread_volume::{Description, FileSource, Limits, Storage, VolumeStream, VolumeWriter};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, artefact, checked, process, repository};

const COUNT: usize = 26;
const NAME: &str = "sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz";
const TABLE: &str = "sub-01_task-rest_desc-confounds_timeseries.tsv";

fn model(file: &str) -> FileSource {
    FileSource(repository().join("models/fmri-networks-demo").join(file))
}

fn maps() -> GroupMaps {
    GroupMaps::read(&model("maps.nii.gz"), Some(&model("mask.nii.gz")), &Limits::default()).unwrap()
}

/// Noise of its own in every voxel and volume, in -1 to 1.
fn noise(v: usize, t: usize) -> f32 {
    let mut x = (v as u64 * 65_537 + t as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A scan on the grid of the shipped maps, zero outside of their mask.
fn write(path: &Path, volumes: usize, value: impl Fn(usize, usize) -> f32) {
    let maps = maps();
    let description = Description {
        grid: *maps.grid(),
        volumes: Some(volumes),
        storage: Storage::F32,
        tr_seconds: Some(2.0),
        space: 4,
        text: "made by a test".to_owned(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, Some(1)).unwrap();
    for t in 0..volumes {
        let mut volume = vec![0.0; maps.grid().len()];
        for &v in maps.mask().iter() {
            volume[v as usize] = value(v as usize, t);
        }
        writer.write_volume(&volume).unwrap();
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
}

fn document(ran: &Ran) -> Value {
    let rows = ran.json["results"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "sidecars are no inputs: {}", ran.json);
    let document = serde_json::from_slice(&fs::read(rows[0]["path"].as_str().unwrap()).unwrap()).unwrap();
    checked(&document);
    document
}

fn warns(document: &Value, code: &str) -> bool {
    document["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let dot: f64 = a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum();
    let square = |x: &[f64], m: f64| x.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    dot / (square(a, ma) * square(b, mb)).sqrt()
}

#[test]
fn confounds_are_taken_from_the_table_beside_the_scan() {
    let work = TempDir::new().unwrap();
    let folder = work.path().join("func");
    fs::create_dir(&folder).unwrap();
    let volumes = 60;
    let moved = |t: usize| if t % 20 == 7 { 0.9 } else { 0.1 };
    // Movement is most of the signal everywhere.
    write(&folder.join(NAME), volumes, |v, t| {
        800.0 + noise(v, t) + 50.0 * noise(1, t) * (v as f32 * 0.01).sin()
    });
    let mut table = "trans_x\ttrans_x_derivative1\trot_z\tframewise_displacement\n".to_owned();
    for t in 0..volumes {
        let first = if t == 0 { "n/a".to_owned() } else { moved(t).to_string() };
        let derivative = if t == 0 { "n/a".to_owned() } else { noise(2, t).to_string() };
        table.extend([format!("{}\t{derivative}\t{}\t{first}\n", noise(1, t), noise(3, t))]);
    }
    fs::write(folder.join(TABLE), &table).unwrap();
    fs::write(folder.join(NAME.replace(".nii.gz", ".json")), r#"{"RepetitionTime": 1.1}"#).unwrap();

    let asked = [
        ("NIGHTREAD_SCANS_CONFOUNDS", "trans_x*,rot_z"),
        ("NIGHTREAD_SCANS_DROP_VOLUMES", "3"),
        ("NIGHTREAD_SCANS_MAX_DISPLACEMENT_MM", "0.5"),
        ("NIGHTREAD_SCANS_WRITE_TIME_COURSES", "true"),
    ];
    let inputs: [PathBuf; 1] = [folder.clone()];
    let out = work.path().join("out");
    let ran = process(&inputs, &out, &asked);
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    let with = document(&ran);
    let facts = &with["regression"];
    assert_eq!(facts["confounds"], serde_json::json!(["trans_x", "trans_x_derivative1", "rot_z"]));
    assert_eq!((&facts["volumes"], &facts["volumes_used"]), (&60.into(), &54.into()));
    assert_eq!((&facts["volumes_dropped"], &facts["volumes_censored"]), (&3.into(), &3.into()));
    assert_eq!((&facts["confounds_rank"], &facts["dof"]), (&3.into(), &(54 - COUNT - 3).into()));
    assert_eq!((&with["input"]["tr_seconds"], &with["input"]["tr_from"]), (&1.1.into(), &"sidecar".into()));
    assert_eq!(facts["tr_seconds"], 1.1);
    let courses = fs::read_to_string(out.join(artefact(&with, "time_courses"))).unwrap();
    assert_eq!(courses.lines().count(), 1 + 54);
    // With the confound regressed out no time course follows the movement; without, most do.
    let follows = |out: &Path, document: &Value, kept: &[usize]| -> Vec<f64> {
        let file = artefact(document, "time_courses");
        let text = fs::read_to_string(out.join(file)).unwrap();
        let rows: Vec<Vec<f64>> =
            text.lines().skip(1).map(|row| row.split('\t').map(|x| x.parse().unwrap()).collect()).collect();
        let movement: Vec<f64> = kept.iter().map(|&t| f64::from(noise(1, t))).collect();
        (0..COUNT)
            .map(|k| correlation(&rows.iter().map(|row| row[k]).collect::<Vec<_>>(), &movement).abs())
            .collect()
    };
    let kept: Vec<usize> = (3..volumes).filter(|t| t % 20 != 7).collect();
    let cleaned = follows(&out, &with, &kept);
    assert!(cleaned.iter().all(|&r| r < 1e-5), "{cleaned:?}");
    let plain = work.path().join("plain");
    let without = document(&process(&inputs, &plain, &asked[3..]));
    let moved = follows(&plain, &without, &(0..volumes).collect::<Vec<_>>());
    assert!(moved.iter().filter(|&&r| r > 0.5).count() > COUNT / 2, "{moved:?}");
    assert!(without["regression"].get("confounds").is_none());

    // What is asked for and absent is never left out in silence.
    for missing in [("NIGHTREAD_SCANS_CONFOUNDS", "csf"), ("NIGHTREAD_SCANS_CONFOUNDS", "rot_z,a_comp_cor_*")]
    {
        let ran = process(&inputs, &work.path().join(missing.1.replace('*', "x")), &[missing]);
        assert_eq!(document(&ran)["error"]["code"], "confounds_missing");
    }
    fs::remove_file(folder.join(TABLE)).unwrap();
    for (number, setting) in asked.iter().enumerate().filter(|(n, _)| [0, 2].contains(n)) {
        let ran = process(&inputs, &work.path().join(format!("absent{number}")), &[*setting]);
        let error = &document(&ran)["error"];
        assert_eq!(error["code"], "confounds_missing");
        assert!(error["message"].as_str().unwrap().contains(TABLE), "{error}");
    }
    fs::write(folder.join(TABLE), "rot_z\n1\n2\n").unwrap();
    let ran = process(&inputs, &work.path().join("short"), &[("NIGHTREAD_SCANS_CONFOUNDS", "rot_z")]);
    assert_eq!(document(&ran)["error"]["code"], "confounds_invalid");
}

#[test]
fn what_a_scan_does_not_cover_is_refused_or_withheld() {
    let work = TempDir::new().unwrap();
    // The strongest voxels of one component, up to three fifths of its squared weights.
    let (mut weights, source) = (Vec::new(), model("maps.nii.gz"));
    let mut stream = VolumeStream::open(&source, &Limits::default()).unwrap();
    for _ in 0..=5 {
        let raw = stream.next_volume().unwrap().unwrap();
        weights = vec![0.0; maps().grid().len()];
        raw.values(&mut weights);
    }
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()));
    let all: f64 = weights.iter().map(|x| x * x).sum();
    let mut gone = vec![false; weights.len()];
    let mut share = 0.0;
    for v in order {
        share += weights[v].powi(2) / all;
        gone[v] = true;
        if share > 0.6 {
            break;
        }
    }
    let scan = work.path().join("hole.nii.gz");
    write(&scan, 60, |v, t| if gone[v] { 0.0 } else { 800.0 + 9.0 * noise(v, t) });
    let ran = process(std::slice::from_ref(&scan), &work.path().join("hole"), &[]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    let hole = document(&ran);
    let component = &hole["components"][5];
    assert_eq!((&component["label"], &component["map"]["peak_z"]), (&Value::Null, &Value::Null));
    assert_eq!(component["flags"], serde_json::json!(["low_coverage"]));
    assert!(warns(&hole, "components_not_covered") && warns(&hole, "trained_on_simulated"));
    let labelled = hole["components"].as_array().unwrap().iter().filter(|c| c["label"].is_string()).count();
    assert!(labelled > COUNT / 2, "{labelled}");

    // White noise: no peak is more than chance would give, in nearly all components.
    let chance = |c: &&Value| c["map"]["peak_at_chance"] == true;
    let noted = hole["components"].as_array().unwrap().iter().filter(chance).count();
    assert!(noted >= COUNT / 2, "{noted}");

    let most = work.path().join("most.nii.gz");
    write(&most, 40, |v, t| if v % 10 < 3 { 7.0 } else { 800.0 + noise(v, t) });
    let ran = process(std::slice::from_ref(&most), &work.path().join("most"), &[]);
    assert_eq!(document(&ran)["error"]["code"], "low_coverage");
}

#[test]
fn volumes_that_are_no_volumes_of_their_own_give_no_z() {
    let work = TempDir::new().unwrap();
    let scan = work.path().join("repeated.nii.gz");
    // Sixty volumes of nineteen directions under 26 maps.
    write(&scan, 60, |v, t| 800.0 + (0..20).map(|n| noise(v, n) * noise(n + 77, t)).sum::<f32>());
    let ran = process(std::slice::from_ref(&scan), &work.path().join("out"), &[]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    let document = document(&ran);
    assert!(document["regression"]["dof"].as_u64().unwrap() < 10);
    assert!(warns(&document, "reduced_rank") && warns(&document, "few_degrees_of_freedom"));
    for component in document["components"].as_array().unwrap() {
        assert!(component["map"]["peak_z"].is_null() && component["label"].is_string(), "{component}");
    }
}
