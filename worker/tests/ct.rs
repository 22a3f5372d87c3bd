//! `nightread process` on CT volumes: the real binary, and a network whose labels can be told by hand: soft tissue from 50 HU,
//! hard from 200.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use nightread_volume::{Affine, Description, FileSource, Grid, Limits, Storage, VolumeStream, VolumeWriter};
use serde_json::Value;
use support::bands::{add, element, models, tar};
use support::{Ran, artefact, checked, process};

const SHAPE: [usize; 3] = [12, 10, 11];

/// Of a voxel at indices of the RAS grid: air, with a block of 100 HU on the patient's left and one of 300 HU, touching the feet.
fn hounsfield([i, j, k]: [usize; 3]) -> i16 {
    match (i, j, k) {
        (1..=4, 2..=7, 2..=6) => 100,
        (7..=10, 3..=5, 0..=4) => 300,
        _ => -1000,
    }
}

const RAS: [[f64; 4]; 3] = [[2.0, 0.0, 0.0, -30.0], [0.0, 2.0, 0.0, 11.0], [0.0, 0.0, 3.0, -7.0]];

/// The volume as a file that stores its axes in this order, the marked ones backwards.
fn nifti(order: [usize; 3], backwards: [bool; 3]) -> Vec<u8> {
    let dims = order.map(|axis| SHAPE[axis]);
    let mut affine = [[0.0; 4]; 3];
    for (row, place) in RAS.iter().zip(&mut affine) {
        place[3] = row[3];
        for stored in 0..3 {
            let axis = order[stored];
            place[stored] = if backwards[stored] { -row[axis] } else { row[axis] };
            place[3] += if backwards[stored] { row[axis] * (SHAPE[axis] - 1) as f64 } else { 0.0 };
        }
    }
    let values = (0..dims.iter().product::<usize>()).map(|at| {
        let stored = [at % dims[0], at / dims[0] % dims[1], at / dims[0] / dims[1]];
        let mut place = [0; 3];
        for (slot, index) in stored.into_iter().enumerate() {
            place[order[slot]] = if backwards[slot] { dims[slot] - 1 - index } else { index };
        }
        f32::from(hounsfield(place))
    });
    let description = Description {
        grid: Grid { dims, affine: Affine(affine) },
        volumes: None,
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: None,
        space: 1,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, Some(1)).unwrap();
    writer.write_volume(&values.collect::<Vec<f32>>()).unwrap();
    writer.finish().unwrap()
}

/// Reads files with the model, and gives each document with the folder of the results.
fn read(models: &Path, files: &[(&str, Vec<u8>)]) -> (Ran, Vec<Value>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    let models = models.to_str().unwrap();
    let ran = process(&paths, &folder.path().join("out"), &[("NIGHTREAD_MODELS_DIR", models)]);
    let documents = ran.json["results"].as_array().unwrap().iter().map(|row| {
        let document: Value =
            serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap();
        checked(&document);
        document
    });
    let documents = documents.collect();
    (ran, documents, folder)
}

fn label_map(folder: &Path, document: &Value) -> (Grid, Vec<f64>) {
    let file = FileSource(folder.join("out").join(artefact(document, "label_map")));
    let mut stream = VolumeStream::open(&file, &Limits::default()).unwrap();
    let grid = stream.header().grid;
    let mut values = vec![0.0; grid.len()];
    stream.next_volume().unwrap().unwrap().values(&mut values);
    (grid, values)
}

#[test]
fn segments_are_what_the_numbers_say() {
    for resample in ["labels", "logits"] {
        let models = models(resample);
        let (ran, documents, folder) = read(models.path(), &[("ct.nii.gz", nifti([0, 1, 2], [false; 3]))]);
        assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
        let [document] = documents.as_slice() else { panic!("one document") };
        assert_eq!(document["task"], "segmentation");
        assert_eq!(document["input"]["grid_voxels"], serde_json::json!(SHAPE));
        let [soft, hard] = document["segments"].as_array().unwrap().as_slice() else {
            panic!("two segments")
        };
        // 4 x 6 x 5 voxels of 12 mm3, and 4 x 3 x 5.
        assert_eq!((soft["voxels"].as_u64(), hard["voxels"].as_u64()), (Some(120), Some(60)));
        assert!((soft["volume_ml"].as_f64().unwrap() - 1.44).abs() < 1e-9);
        assert_eq!((soft["mean_hu"].as_f64(), hard["mean_hu"].as_f64()), (Some(100.0), Some(300.0)));
        assert_eq!(soft["sd_hu"].as_f64(), Some(0.0));
        assert_eq!(soft["bbox_mm"], serde_json::json!([[-29.0, 14.0, -2.5], [-21.0, 26.0, 12.5]]));
        assert_eq!(
            (soft["touches_border"].as_bool(), hard["touches_border"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!(soft["code"]["value"], "91727004");
        assert!(soft["confidence"].as_f64().unwrap() > 0.99);
        let codes: Vec<&str> =
            document["warnings"].as_array().unwrap().iter().map(|w| w["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["segment_at_border", "demonstration_model"]);
        let (grid, labels) = label_map(folder.path(), document);
        assert_eq!(grid.dims, SHAPE);
        for (at, label) in labels.iter().enumerate() {
            let place = grid.position(at);
            let expected = match hounsfield(place) {
                100 => 1.0,
                300 => 2.0,
                _ => 0.0,
            };
            assert!((label - expected).abs() < 1e-9, "{resample} {place:?}: {label}");
        }
        let png = fs::read(folder.path().join("out").join(artefact(document, "preview"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
}

#[test]
fn however_a_volume_is_stored_its_segments_lie_where_they_lie() {
    let models = models("labels");
    let (_, straight, _folder) = read(models.path(), &[("ct.nii.gz", nifti([0, 1, 2], [false; 3]))]);
    for (order, backwards) in [
        ([0, 1, 2], [true, false, false]),
        ([0, 1, 2], [true, true, false]),
        ([2, 0, 1], [false, false, true]),
        ([1, 2, 0], [true, true, true]),
    ] {
        let (ran, documents, folder) = read(models.path(), &[("ct.nii.gz", nifti(order, backwards))]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let (ours, theirs) = (&documents[0]["segments"], &straight[0]["segments"]);
        for (one, other) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
            for field in ["voxels", "volume_ml", "mean_hu", "touches_border"] {
                assert_eq!(one[field], other[field], "{order:?} {backwards:?} {field}");
            }
            let corners = |of: &Value| -> Vec<f64> {
                let corners = of["bbox_mm"].as_array().unwrap().iter().flat_map(|c| c.as_array().unwrap());
                corners.map(|x| x.as_f64().unwrap()).collect()
            };
            let far = corners(one).iter().zip(corners(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-4, "{order:?} {backwards:?}: {one} {other}");
        }
        let (grid, labels) = label_map(folder.path(), &documents[0]);
        for (at, label) in labels.iter().enumerate() {
            let [x, y, z] = grid.world(at);
            let place = [(x + 30.0, 2.0), (y - 11.0, 2.0), (z + 7.0, 3.0)]
                .map(|(far, mm)| (far / mm).round() as usize);
            let expected = match hounsfield(place) {
                100 => 1.0,
                300 => 2.0,
                _ => 0.0,
            };
            assert!((label - expected).abs() < 1e-9, "{order:?} {backwards:?} {place:?}: {label}");
        }
    }
}

/// The axial slice `k` of the volume as a DICOM file of a series, columns towards the patient's back.
fn slice(k: usize, series: &str) -> Vec<u8> {
    let mut meta = Vec::new();
    let class = b"1.2.840.10008.5.1.4.1.1.2";
    let instance = format!("{series}.{}", k + 1);
    element(&mut meta, (2, 2), *b"UI", class);
    element(&mut meta, (2, 3), *b"UI", instance.as_bytes());
    element(&mut meta, (2, 0x10), *b"UI", b"1.2.840.10008.1.2.1");
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    element(&mut bytes, (2, 0), *b"UL", &(meta.len() as u32).to_le_bytes());
    bytes.extend(meta);
    let [nx, ny, _] = SHAPE;
    // LPS: rows begin at the greatest x of RAS, columns at the greatest y.
    let [x, y, z] = [
        -(RAS[0][3] + RAS[0][0] * (nx - 1) as f64),
        -(RAS[1][3] + RAS[1][1] * (ny - 1) as f64),
        RAS[2][3] + RAS[2][2] * k as f64,
    ];
    let pixels = (0..nx * ny).flat_map(|at| {
        let (i, j) = (nx - 1 - at % nx, ny - 1 - at / nx);
        hounsfield([i, j, k]).to_le_bytes()
    });
    element(&mut bytes, (8, 0x16), *b"UI", class);
    element(&mut bytes, (8, 0x18), *b"UI", instance.as_bytes());
    element(&mut bytes, (8, 0x60), *b"CS", b"CT");
    element(&mut bytes, (0x10, 0x10), *b"PN", b"Secret^Name");
    element(&mut bytes, (0x20, 0xd), *b"UI", b"1.2.3");
    element(&mut bytes, (0x20, 0xe), *b"UI", series.as_bytes());
    element(&mut bytes, (0x20, 0x13), *b"IS", (k + 1).to_string().as_bytes());
    element(&mut bytes, (0x20, 0x32), *b"DS", format!("{x}\\{y}\\{z}").as_bytes());
    element(&mut bytes, (0x20, 0x37), *b"DS", b"1\\0\\0\\0\\1\\0");
    element(&mut bytes, (0x28, 2), *b"US", &1_u16.to_le_bytes());
    element(&mut bytes, (0x28, 4), *b"CS", b"MONOCHROME2");
    element(&mut bytes, (0x28, 0x10), *b"US", &(ny as u16).to_le_bytes());
    element(&mut bytes, (0x28, 0x11), *b"US", &(nx as u16).to_le_bytes());
    element(&mut bytes, (0x28, 0x30), *b"DS", b"2\\2");
    for (number, value) in [(0x100, 16_u16), (0x101, 16), (0x102, 15), (0x103, 1)] {
        element(&mut bytes, (0x28, number), *b"US", &value.to_le_bytes());
    }
    element(&mut bytes, (0x28, 0x1052), *b"DS", b"0");
    element(&mut bytes, (0x28, 0x1053), *b"DS", b"1");
    element(&mut bytes, (0x7fe0, 0x10), *b"OW", &pixels.collect::<Vec<u8>>());
    bytes
}

fn slices(series: &str) -> Vec<(String, Vec<u8>)> {
    // Names in another order than the slices lie in.
    (0..SHAPE[2]).map(|k| (format!("{:02}.dcm", (k * 7) % SHAPE[2]), slice(k, series))).collect()
}

/// The segments of the one document, without what may differ.
fn segments(ran: &Ran, documents: &[Value]) -> Value {
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    let [document] = documents else { panic!("one document: {documents:?}") };
    assert!(!document.to_string().contains("Secret"), "{document}");
    document["segments"].clone()
}

#[test]
fn a_series_is_one_study_in_a_folder_in_an_archive_and_among_others() {
    let models = models("labels");
    let (ran, documents, _folder) = read(models.path(), &[("ct.nii.gz", nifti([0, 1, 2], [false; 3]))]);
    let straight = segments(&ran, &documents);

    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &tar(&slices("1.2.3.4"))).unwrap();
        encoder.finish().unwrap()
    };
    for (name, bytes) in [("series.tar", tar(&slices("1.2.3.4"))), ("series.tar.gz", gzipped)] {
        let (ran, documents, _folder) = read(models.path(), &[(name, bytes)]);
        assert_eq!(segments(&ran, &documents), straight, "{name}");
        assert_eq!(documents[0]["study"]["kind"], "blob");
    }

    // Two series in one flat folder, and a file that is none.
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    fs::create_dir(&inputs).unwrap();
    for (series, letter) in [("1.2.3.4", 'a'), ("1.2.3.5", 'b')] {
        for (name, bytes) in slices(series) {
            fs::write(inputs.join(format!("{letter}{name}")), bytes).unwrap();
        }
    }
    let variables = [("NIGHTREAD_MODELS_DIR", models.path().to_str().unwrap())];
    let out = folder.path().join("out");
    let ran = process(std::slice::from_ref(&inputs), &out, &variables);
    assert_eq!(ran.code, Some(0), "{} {}", ran.stderr, ran.json);
    let rows = ran.json["results"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{}", ran.json);
    for (row, series) in rows.iter().zip(["1.2.3.4", "1.2.3.5"]) {
        let path = row["path"].as_str().unwrap();
        assert!(path.ends_with(&format!("in/{series}.json")), "{path}");
        let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        checked(&document);
        assert_eq!(document["segments"], straight);
        assert_eq!(document["study"]["kind"], "series");
        assert_eq!(document["input"]["slices"], SHAPE[2]);
    }
    // What was read is not read again; a slice that goes makes another series, which lacks it.
    let again = process(std::slice::from_ref(&inputs), &out, &variables);
    assert!(again.json["results"].as_array().unwrap().iter().all(|row| row["outcome"] == "already_done"));
    fs::remove_file(inputs.join("a07.dcm")).unwrap();
    let without = process(&[inputs], &out, &variables);
    let rows = without.json["results"].as_array().unwrap();
    assert_eq!(rows[0]["code"], "missing_slices", "{}", without.json);
    assert_eq!(rows[1]["outcome"], "already_done");
}

#[test]
fn what_one_network_cannot_read_another_does() {
    let models = models("labels");
    // Half a gigabyte on its grid, which is refused before anything is made.
    add(models.path(), "fine", "labels", "0.05, 0.05, 0.05");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("worker.toml");
    for (names, expected) in [
        (&["fine", "bands"][..], &[("bands", None), ("fine", Some("exceeds_memory"))][..]),
        (&["fine"], &[("fine", Some("exceeds_memory"))]),
    ] {
        fs::write(&settings, format!("[[routes]]\ntask = \"segmentation\"\nmodels = {names:?}\n")).unwrap();
        let file = folder.path().join("ct.nii.gz");
        fs::write(&file, nifti([0, 1, 2], [false; 3])).unwrap();
        let out = folder.path().join(format!("out{}", names.len()));
        let variables = [
            ("NIGHTREAD_MODELS_DIR", models.path().to_str().unwrap()),
            ("NIGHTREAD_CONFIG", settings.to_str().unwrap()),
            ("NIGHTREAD_LIMITS_VOLUME_BYTES", "300000000"),
        ];
        let ran = process(&[file], &out, &variables);
        let rows = ran.json["results"].as_array().unwrap();
        let mut found: Vec<(String, Option<String>)> = Vec::new();
        for row in rows {
            let path = row["path"].as_str().unwrap_or_else(|| panic!("{row}\n{}", ran.stderr));
            let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            checked(&document);
            let code = document["error"]["code"].as_str().map(str::to_owned);
            assert_eq!(code.is_none(), document["segments"].is_array(), "{document}");
            found.push((document["model"]["name"].as_str().unwrap().to_owned(), code));
        }
        found.sort();
        let found: Vec<_> = found.iter().map(|(name, code)| (name.as_str(), code.as_deref())).collect();
        assert_eq!(found, expected, "{}", ran.json);
    }
}
