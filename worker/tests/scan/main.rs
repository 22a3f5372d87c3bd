//! `nightread process` on resting-state scans: the real binary, the shipped maps and network, simulated scans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod numerics;
mod odd;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nightread_fmri::regression::Options;
use nightread_fmri::{GroupMaps, MNI_4MM, dual_regression};
use nightread_volume::{Affine, Description, FileSource, Grid, Limits, Storage, VolumeStream, VolumeWriter};
use serde_json::Value;
use support::{Ran, artefact, checked, nightread, process, repository};
use tempfile::TempDir;

/// Group maps of the shipped model.
const COUNT: usize = 26;
const VOLUMES: usize = 60;

fn maps_file() -> PathBuf {
    repository().join("models/fmri-networks-demo/maps.nii.gz")
}

fn maps() -> GroupMaps {
    GroupMaps::read(&FileSource(maps_file()), None, &Limits::default()).unwrap()
}

/// `nightread simulate-scan`, on the grid of the shipped maps.
fn simulated(folder: &Path, seed: u64) -> PathBuf {
    let out = folder.join(format!("simulated-{seed}.nii.gz"));
    let mut command = nightread();
    command.arg("simulate-scan").args(["--seed", &seed.to_string(), "--volumes", &VOLUMES.to_string()]);
    let ran = command.arg("--networks").arg(maps_file()).arg("--out").arg(&out).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    out
}

/// Documents by file name, each held against the schema.
fn documents(ran: &Ran) -> BTreeMap<String, Value> {
    let rows = ran.json["results"].as_array().unwrap().iter();
    rows.map(|row| {
        let name = Path::new(row["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        let document: Value =
            serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap();
        checked(&document);
        (name, document)
    })
    .collect()
}

fn only(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    documents(ran).into_values().next().unwrap()
}

fn inflated(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap());
    std::io::Read::read_to_end(&mut reader, &mut out).unwrap();
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A plain NIfTI file of single-precision volumes.
fn nifti<'a>(
    grid: Grid,
    volumes: Option<usize>,
    values: impl Fn(usize) -> std::borrow::Cow<'a, [f32]>,
) -> Vec<u8> {
    let description = Description {
        grid,
        volumes,
        storage: Storage::F32,
        tr_seconds: Some(2.0),
        space: 4,
        text: "made by a test".to_owned(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, None).unwrap();
    for t in 0..volumes.unwrap_or(1) {
        writer.write_volume(&values(t)).unwrap();
    }
    writer.finish().unwrap()
}

/// The affine of the same voxels stored from the other side.
fn mirror(affine: Affine, length: usize) -> Affine {
    Affine(affine.0.map(|[x, y, z, origin]| [-x, y, z, origin + x * (length - 1) as f64]))
}

/// A scan of a cheap hash in every voxel.
fn noise(grid: Grid, volumes: Option<usize>) -> Vec<u8> {
    nifti(grid, volumes, |t| {
        let value = |v: usize| ((v * 31 + t * 977 + v * t * 7) % 1009) as f32;
        (0..grid.len()).map(value).collect()
    })
}

#[test]
fn a_scan_becomes_labelled_components_with_maps_and_time_courses() {
    let work = TempDir::new().unwrap();
    let scan = simulated(work.path(), 7);
    let outputs = [("NIGHTREAD_SCANS_WRITE_MAPS", "true"), ("NIGHTREAD_SCANS_WRITE_TIME_COURSES", "true")];
    let out = work.path().join("out");
    let ran = process(std::slice::from_ref(&scan), &out, &outputs);
    let document = only(&ran);
    assert_eq!(document["model"]["name"], "fmri-networks-demo", "scans go there by themselves");
    assert_eq!(document["study"]["media"], "nifti_gz");
    assert_eq!(document["input"]["volumes"], VOLUMES);
    assert!(document["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "simulated"));

    let facts = &document["regression"];
    let voxels = maps().mask().len();
    assert_eq!(facts["volumes"], VOLUMES);
    assert!((facts["tr_seconds"].as_f64().unwrap() - 2.0).abs() < 1e-6);
    assert_eq!(facts["voxels_mask"], voxels);
    let used = facts["voxels_used"].as_u64().unwrap() as usize;
    assert_eq!(used + facts["voxels_constant"].as_u64().unwrap() as usize, voxels);
    assert!(used > voxels * 9 / 10, "{used} of {voxels}");
    assert_eq!(facts["dof"], VOLUMES - COUNT);
    assert_eq!((facts["des_norm"].as_bool(), facts["grid"].as_str()), (Some(true), Some("same")));
    // Without a table of confounds the scan itself tells how much it changes.
    let motion = &facts["motion"];
    assert_eq!((&motion["dvars_from"], &motion["displacement_from"]), (&"scan".into(), &Value::Null));
    let standardised = motion["standardised_dvars_mean"].as_f64().unwrap();
    assert!((0.5..2.0).contains(&standardised), "{motion}");

    let components = document["components"].as_array().unwrap();
    assert_eq!(components.len(), COUNT);
    let labels: Value =
        serde_json::from_slice(&fs::read(maps_file().with_file_name("maps.labels.json")).unwrap()).unwrap();
    let (mut agree, mut all) = (0, 0);
    for (index, component) in components.iter().enumerate() {
        assert_eq!(component["index"], index);
        let top = component["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(
            (&top[0]["label"], &top[0]["probability"]),
            (&component["label"], &component["probability"])
        );
        assert!(component["map"]["peak_z"].as_f64().unwrap().abs() > 2.0, "{component}");
        assert_eq!(component["flags"], Value::Array(Vec::new()));
        if let Some(made_from) = labels["components"][index].as_str() {
            all += 1;
            agree += usize::from(component["label"] == made_from);
        }
    }
    assert!(agree * 10 >= all * 9, "{agree} of {all} components have the name of what they were made from");

    // The z-maps: one volume a component, with its peak where the document says.
    let beside = |kind: &str| out.join(artefact(&document, kind));
    let source = FileSource(beside("z_maps"));
    let mut stream = VolumeStream::open(&source, &Limits::default()).unwrap();
    let header = stream.header().clone();
    assert_eq!((header.volumes, header.four_dimensional, header.grid.dims), (COUNT, true, MNI_4MM.dims));
    let mut volume = vec![0.0; header.grid.len()];
    for component in components {
        stream.next_volume().unwrap().unwrap().values(&mut volume);
        let strongest =
            (0..volume.len()).max_by(|&a, &b| volume[a].abs().total_cmp(&volume[b].abs())).unwrap();
        let peak = component["map"]["peak_z"].as_f64().unwrap();
        assert!((volume[strongest] - peak).abs() <= 1e-4 * peak.abs(), "{} is not {peak}", volume[strongest]);
        let place: Vec<f64> = serde_json::from_value(component["map"]["peak_mni_mm"].clone()).unwrap();
        for (is, said) in header.grid.world(strongest).iter().zip(place) {
            assert!((is - said).abs() < 1e-3);
        }
    }
    stream.finish().unwrap();
    let table = fs::read_to_string(beside("time_courses")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows.len(), rows[0][0], rows[0].len()), (VOLUMES + 1, "component_000", COUNT));
    assert!(rows[1..].iter().flatten().all(|cell| cell.parse::<f64>().unwrap().is_finite()));

    // Read again by force: the same numbers, and what lies beside the document is no obstacle.
    let mut command = nightread();
    command.args(["process", "--force", "--format", "json", "--out"]).arg(&out).arg(&scan).envs(outputs);
    let forced: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(forced["results"][0]["outcome"], "read");
    let path = forced["results"][0]["path"].as_str().unwrap();
    let again: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_ne!(again["read_at"], document["read_at"]);
    assert_eq!(again["components"], document["components"]);
}

/// A BIDS data set of one simulated scan, with its sidecar and table of confounds, below `work/bids`; the scan's folder.
fn bids_data_set(work: &Path, name: &str) -> PathBuf {
    let folder = work.join("bids/sub-01/func");
    fs::create_dir_all(&folder).unwrap();
    fs::rename(simulated(work, 7), folder.join(format!("{name}.nii.gz"))).unwrap();
    fs::write(folder.join(format!("{name}.json")), r#"{"RepetitionTime": 2.5}"#).unwrap();
    let row = |t: usize| {
        let dvars = if t == 0 { "n/a" } else { "1.5" };
        format!("{}\t0\t0\t0\t0\t{}\t{dvars}\n", t % 2, 0.01 * (t % 2) as f64)
    };
    let header = "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\tstd_dvars\n".to_owned();
    let table = std::iter::once(header).chain((0..VOLUMES).map(row)).collect::<String>();
    fs::write(folder.join("sub-01_task-rest_desc-confounds_timeseries.tsv"), table).unwrap();
    folder
}

/// A scan of a BIDS data set, with its table of confounds, and everything that can be asked for.
#[test]
fn derivatives_of_a_bids_scan_have_bids_names_and_sidecars() {
    let work = TempDir::new().unwrap();
    let name = "sub-01_task-rest_space-MNI152NLin6Asym_res-4_desc-preproc_bold";
    let folder = bids_data_set(work.path(), name);
    let out = work.path().join("out");
    let run = |settings: &[&str]| {
        let mut command = nightread();
        command
            .args(["process", "--format", "json", "--out"])
            .arg(&out)
            .arg("--root")
            .arg(work.path().join("bids"));
        command
            .arg(&folder)
            .envs(settings.iter().map(|name| (format!("NIGHTREAD_SCANS_WRITE_{name}"), "true")));
        let ran = command.output().unwrap();
        let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let row = &told["results"][0];
        let document: Value =
            serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap();
        checked(&document);
        (row["outcome"].as_str().unwrap().to_owned(), document)
    };
    let (_, first) = run(&["MAPS"]);
    let motion = &first["regression"]["motion"];
    let close =
        |value: &Value, wanted: f64| assert!((value.as_f64().unwrap() - wanted).abs() < 1e-9, "{value}");
    // One millimetre and 0.01 radians on a sphere of 50 mm, from each volume to the next.
    close(&motion["displacement_mean_mm"], 1.5);
    close(&motion["displacement_max_mm"], 1.5);
    close(&motion["standardised_dvars_max"], 1.5);
    assert_eq!(motion["dvars_from"], "column");
    assert_eq!((&motion["displacement_from"], &motion["dvars_mean"]), (&"parameters".into(), &Value::Null));

    // The others are asked for later, and z maps not again: all are beside the document.
    let later = ["T_MAPS", "BETAS", "TIME_COURSES", "NETWORK_MATRICES", "MOTION"];
    let (outcome, document) = run(&later);
    assert_eq!(outcome, "read");
    assert_eq!(document["components"], first["components"]);
    let (outcome, same) = run(&later);
    assert_eq!((outcome.as_str(), &same), ("already_done", &document), "once");
    let digest = &document["study"]["sha256"].as_str().unwrap()[..16];
    let stem = "sub-01_task-rest_space-MNI152NLin6Asym_seg-fmrinetworksdemo";
    let version = document["model"]["version"].as_str().unwrap();
    let place = format!("fmri-networks-demo/{version}-fp32/local/sub-01/func");
    let desc = format!("desc-preproc{digest}");
    for (kind, file) in [
        ("z_maps", format!("{stem}_stat-z_{desc}_statmap.nii.gz")),
        ("t_maps", format!("{stem}_stat-t_{desc}_statmap.nii.gz")),
        ("betas", format!("{stem}_stat-effect_{desc}_statmap.nii.gz")),
        ("time_courses", format!("{stem}_{desc}_timeseries.tsv")),
        ("correlations", format!("{stem}_stat-pearsoncorrelation_{desc}_relmat.tsv")),
        ("partial_correlations", format!("{stem}_stat-partialcorrelation_{desc}_relmat.tsv")),
        ("fisher_z", format!("{stem}_stat-fisherz_{desc}_relmat.tsv")),
        ("motion", format!("{stem}_{desc}_motion.tsv")),
    ] {
        let said = artefact(&document, kind);
        assert_eq!(Path::new(said).file_name().unwrap().to_str().unwrap(), file, "{kind}");
        assert!(out.join(said).is_file(), "{said}");
        let sidecar = said.replace(".nii.gz", ".json").replace(".tsv", ".json");
        let known = document["artefacts"].as_array().unwrap();
        assert!(
            known.iter().any(|it| it["kind"] == "sidecar" && it["path"] == sidecar.as_str()),
            "{sidecar}"
        );
        let about: Value = serde_json::from_slice(&fs::read(out.join(sidecar)).unwrap()).unwrap();
        close(&about["RepetitionTime"], 2.5);
        assert_eq!(about["GeneratedBy"][0]["WeightsSHA256"], document["model"]["weights_sha256"]);
        assert_eq!(about["SourceSHA256"], document["study"]["sha256"]);
        assert_eq!(about["Sources"][0], format!("local/sub-01/func/{name}.nii.gz"));
    }
    assert!(artefact(&document, "z_maps").starts_with(&place), "{place}");
    let described = out.join(format!("fmri-networks-demo/{version}-fp32/local/dataset_description.json"));
    let described: Value = serde_json::from_slice(&fs::read(described).unwrap()).unwrap();
    assert_eq!(described["DatasetType"], "derivative");

    // The forms of the maps agree: the same voxels, the sign of the coefficient, and |z| no greater than |t|.
    let volume = |kind: &str| {
        let source = FileSource(out.join(artefact(&document, kind)));
        let mut stream = VolumeStream::open(&source, &Limits::default()).unwrap();
        let header = stream.header().clone();
        let mut values = vec![0.0; header.grid.len()];
        stream.next_volume().unwrap().unwrap().values(&mut values);
        (header.intent.0, values)
    };
    let ((z_code, z), (t_code, t), (code, betas)) = (volume("z_maps"), volume("t_maps"), volume("betas"));
    assert_eq!((z_code, t_code, code), (5, 3, 1001));
    for ((z, t), beta) in z.iter().zip(&t).zip(&betas) {
        assert!(z.abs() <= t.abs() * (1.0 + 1e-6) && z * t >= 0.0 && t * beta >= 0.0, "{z} {t} {beta}");
    }
    assert!(t.iter().any(|t| t.abs() > 3.0));
    let matrix = fs::read_to_string(out.join(artefact(&document, "correlations"))).unwrap();
    assert_eq!(matrix.lines().count(), COUNT + 1);
    let moved = fs::read_to_string(out.join(artefact(&document, "motion"))).unwrap();
    assert_eq!(
        moved.lines().take(2).collect::<Vec<_>>(),
        ["framewise_displacement\tstd_dvars\tused", "n/a\tn/a\t1"]
    );
}

#[test]
fn the_table_tells_components_by_label() {
    let work = TempDir::new().unwrap();
    let scan = simulated(work.path(), 3);
    let ran =
        nightread().arg("process").arg(&scan).arg("--out").arg(work.path().join("out")).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        told.contains("26 components") && told.contains("DEFAULT") && told.contains("! simulated"),
        "{told}"
    );
    let place = |label: &str| told.find(label).unwrap_or_else(|| panic!("no {label} in {told}"));
    assert!(place("VISUAL") < place("NOISE"), "networks come first: {told}");
}

#[test]
fn stage_2_maps_are_read_as_they_are() {
    let work = TempDir::new().unwrap();
    let scan = simulated(work.path(), 11);
    let from_scan = only(&process(std::slice::from_ref(&scan), &work.path().join("a"), &[]));
    let regressed = dual_regression(&FileSource(scan), &maps(), &Options::default()).unwrap();
    let betas = &regressed.maps;
    let whole = |k: usize| std::borrow::Cow::Owned(betas.volume(&betas.betas[k]));

    let folder = work.path().join("in");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let all = nifti(betas.grid, Some(COUNT), whole);
    put("dr_stage2_subject00000.nii.gz", &gzip(&all));
    put("dr_stage2_ic0003.nii", &nifti(betas.grid, None, |_| whole(3)));
    // The standard 4 mm grid, half a voxel away, and its mirror image with the voxels in the other order.
    put("dr_stage2_standard.nii.gz", &gzip(&nifti(MNI_4MM, Some(COUNT), whole)));
    let mirrored = Grid { affine: mirror(betas.grid.affine, betas.grid.dims[0]), ..betas.grid };
    let turn = |k: usize| whole(k).chunks(45).flat_map(|row| row.iter().rev().copied()).collect();
    put("sub-01_dr_stage2_mirrored.nii.gz", &gzip(&nifti(mirrored, Some(COUNT), turn)));
    put("dr_stage2_empty.nii.gz", &gzip(&nifti(betas.grid, None, |_| vec![0.0; betas.grid.len()].into())));

    let ran = process(std::slice::from_ref(&folder), &work.path().join("b"), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.json);
    let read = documents(&ran);
    let expected = from_scan["components"].as_array().unwrap();
    for (name, wanted) in [
        ("dr_stage2_subject00000.nii.gz", &expected[..]),
        ("dr_stage2_standard.nii.gz", &expected[..]),
        ("sub-01_dr_stage2_mirrored.nii.gz", &expected[..]),
        ("dr_stage2_ic0003.nii", &expected[3..4]),
    ] {
        let components = read[name]["components"].as_array().unwrap();
        assert_eq!(components.len(), wanted.len(), "{name}");
        for (is, was) in components.iter().zip(wanted) {
            assert_eq!(is["label"], was["label"], "{name}");
            let difference = is["probability"].as_f64().unwrap() - was["probability"].as_f64().unwrap();
            assert!(difference.abs() < 1e-3, "{name}: {difference}");
            assert_eq!(is["map"]["peak_z"], Value::Null, "maps come without statistics");
        }
        assert!(read[name].get("regression").is_none());
        assert_eq!(read[name]["warnings"][0]["code"], "read_as_component_maps");
    }
    let empty = &read["dr_stage2_empty.nii.gz"]["components"][0];
    assert_eq!((&empty["label"], &empty["map"]), (&Value::from("EMPTY"), &Value::Null));
    assert_eq!(empty["flags"][0], "constant_map", "a map that says nothing never reaches the network");
}
