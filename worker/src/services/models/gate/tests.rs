//! Rules and figures of the gate; `tests/bf16.rs` runs networks through it.

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError};
use nightread_engine::ArrayD;
use serde::Deserialize;
use tempfile::TempDir;

use super::interval::Groups;
use super::truth::{Known, Part, Table};
use super::*;
use crate::services::prepare::Arrays as ArraysFile;
use crate::settings::{Problems, RawSettings};

/// What `models/tools/gate_golden.py` wrote.
const GOLDEN: &str = include_str!("golden.json");

#[derive(Deserialize)]
struct Case {
    kind: String,
    manifest: String,
    patients: Vec<String>,
    truth: Value,
    /// By item and label.
    fp32: Vec<Vec<f64>>,
    bf16: Vec<Vec<f64>>,
    evidence: Evidence,
    reasons: Vec<String>,
}

#[derive(Deserialize)]
struct Evidence {
    agreement: f64,
    metric: String,
    fp32: [f64; 3],
    bf16: [f64; 3],
}

fn cases() -> Vec<Case> {
    serde_json::from_str(GOLDEN).unwrap()
}

/// A model folder with this manifest, and nothing to run.
fn written(manifest: &str) -> (TempDir, PathBuf) {
    let models = TempDir::new().unwrap();
    let folder = models.path().join("golden");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.onnx"), "").unwrap();
    fs::write(folder.join("README.md"), "# Made up\n").unwrap();
    fs::write(folder.join(MANIFEST_FILE), manifest).unwrap();
    (models, folder)
}

fn of_kind(kind: &str) -> (TempDir, Manifest) {
    let case = cases().into_iter().find(|case| case.kind == kind).unwrap();
    let (models, folder) = written(&case.manifest);
    let manifest = Manifest::read(&folder).unwrap_or_else(|problems| panic!("{problems}"));
    (models, manifest)
}

impl Case {
    fn items(&self) -> Vec<Item> {
        let known = |truth: &Value| {
            if let Some(class) = truth.as_i64() {
                Known::Class(usize::try_from(class).ok())
            } else {
                let labels = truth.as_array().unwrap().iter().map(|label| match label.as_i64().unwrap() {
                    -1 => None,
                    one => Some(one == 1),
                });
                Known::Labels(labels.collect())
            }
        };
        let pairs = self.patients.iter().zip(self.truth.as_array().unwrap());
        pairs
            .map(|(patient, truth)| Item {
                name: String::new(),
                patient: patient.clone(),
                known: known(truth),
            })
            .collect()
    }

    fn answers(manifest: &Manifest, logits: &[Vec<f64>]) -> Vec<Answer> {
        let answer = |row: &Vec<f64>| {
            let heads = manifest.output.heads.iter().enumerate().map(|(number, head)| {
                let values: Vec<f32> = manifest.columns(number).map(|(index, _)| row[index] as f32).collect();
                let array = ArrayD::from_shape_vec(vec![values.len()], values).unwrap();
                (Arc::from(head.logits.as_str()), array)
            });
            Answer::of(manifest, &heads.collect()).unwrap()
        };
        logits.iter().map(answer).collect()
    }
}

#[test]
fn figures_are_those_of_the_int8_gate_for_the_same_logits() {
    let mut refused = 0;
    for case in cases() {
        let (_models, folder) = written(&case.manifest);
        let manifest = Manifest::read(&folder).unwrap_or_else(|problems| panic!("{}: {problems}", case.kind));
        let (fp32, bf16) = (Case::answers(&manifest, &case.fp32), Case::answers(&manifest, &case.bf16));
        let found = judge(&manifest, &case.items(), &fp32, &bf16);
        let Evidence { agreement, metric, fp32, bf16 } = case.evidence;
        assert_eq!((rounded(found.agreement), found.metric), (agreement, metric.as_str()), "{}", case.kind);
        assert_eq!((found.fp32.rounded(), found.bf16.rounded()), (fp32, bf16), "{}", case.kind);
        assert_eq!(found.reasons(), case.reasons, "{}", case.kind);
        refused += usize::from(!case.reasons.is_empty());
    }
    assert!(refused > 0, "no case is refused");
}

#[test]
fn what_is_not_a_number_passes_no_gate() {
    let case = cases().swap_remove(0);
    let (_models, folder) = written(&case.manifest);
    let manifest = Manifest::read(&folder).unwrap();
    let answers = Case::answers(&manifest, &case.fp32);
    let mut items = case.items();
    for item in &mut items {
        item.known = Known::Labels(vec![None; manifest.labels.len()]);
    }
    let found = judge(&manifest, &items, &answers, &answers);
    assert!(found.fp32.value.is_nan());
    assert_eq!(found.reasons().len(), 1, "{:?}", found.reasons());
    // Everything is alike, also the numbers: nothing was computed otherwise.
    assert!(found.share <= trial::TOLERANCE);
}

/// Draws go by the order of the names, and are as NumPy's: `default_rng(0).integers(3, size=3)`, twice.
#[test]
fn groups_are_drawn_as_numpy_draws_them() {
    let groups = Groups::new(["b", "a", "c", "b"].into_iter());
    assert_eq!((groups.of_item.as_slice(), groups.count()), ([1, 0, 2, 1].as_slice(), 3));
    let drawn = std::cell::RefCell::new(Vec::new());
    let interval = groups.interval(|weights| {
        drawn.borrow_mut().push(weights.to_vec());
        weights[0] as f64
    });
    // 2 1 1, then 0 0 0.
    assert_eq!(drawn.borrow()[..3], [vec![1, 1, 1], vec![0, 2, 1], vec![3, 0, 0]]);
    assert_eq!((interval.low, interval.value), (0.0, 1.0));
}

/// What is wrong with a CSV for the manifest of this kind, or what it holds.
fn read(kind: &str, text: &str) -> Result<Table, String> {
    let (models, manifest) = of_kind(kind);
    let path = models.path().join("truth.csv");
    fs::write(&path, text).unwrap();
    truth::read(&path, &manifest).map_err(|wrong| wrong.0.replace(&path.display().to_string(), "truth.csv"))
}

#[test]
fn truth_is_read_as_the_int8_gate_reads_it() {
    let text = "\u{feff}file, patient,split,L0,L1,L2\na.png,p,evaluation,1,0.0,\n\nb.png,q,calibration,,1.0,0\nc.png,r,,0,0,0\n";
    let table = read("labels", text).unwrap();
    let of_row = |row: usize| (table.rows[row].line, table.rows[row].part, table.rows[row].known.clone());
    let labels = |values: [Option<bool>; 4]| Known::Labels(values.to_vec());
    assert_eq!(of_row(0), (2, Part::Evaluation, labels([Some(true), Some(false), None, None])));
    assert_eq!(of_row(1), (4, Part::Calibration, labels([None, Some(true), Some(false), None])));
    assert_eq!(of_row(2).1, Part::LeftOut);
    assert!(table.has_patients && table.has_split);
    let lines =
        |text: &str| -> Vec<u64> { read("labels", text).unwrap().rows.iter().map(|row| row.line).collect() };
    assert_eq!(lines("file,L0,L1,L2\r\na,,,\r\n\r\n\r\nb,,,\r\n"), [2, 5]);

    let table = read("classes", "class,file\nL2,a.png\n,b.png\n").unwrap();
    let known: Vec<_> = table.rows.iter().map(|row| row.known.clone()).collect();
    assert_eq!(known, [Known::Class(Some(2)), Known::Class(None)]);
    assert_eq!((table.rows[0].patient.as_str(), table.rows[0].part), ("a.png", Part::Evaluation));
    assert!(!table.has_patients && !table.has_split);

    // `other` has L0 and L2, `one` L1 and L3.
    let table = read("heads", "file,L1,L3,other\na.png,1,,L2\nb.png,,0,\n").unwrap();
    let known: Vec<_> = table.rows.iter().map(|row| row.known.clone()).collect();
    assert_eq!(
        known,
        [labels([Some(false), Some(true), Some(true), None]), labels([None, None, None, Some(false)])]
    );
}

#[test]
fn what_is_wrong_with_truth_is_told_with_its_line() {
    for (kind, text, words) in [
        ("labels", "", "no column \"file\" with the names of the files (comma-separated; found: nothing)"),
        (
            "labels",
            "file;L0\n",
            "no column \"file\" with the names of the files (comma-separated; found: file;L0)",
        ),
        (
            "labels",
            "file,L0,L0,L1,L2\n",
            "the header has L0 more than once: each column needs a name of its own",
        ),
        (
            "labels",
            "file,L0\n",
            "no column for L1, L2, which the manifest reports: add it, leave its cells empty",
        ),
        ("labels", "file,L0,L1,L2\n", "has a header and no rows: give one for each file"),
        ("labels", "file,L0,L1,L2\na,1,1\n", "line 2 has 3 cells, the header 4: mend the row"),
        ("labels", "file,L0,L1,L2\n,1,1,1\n", "line 2: \"file\" is empty: name the file"),
        (
            "labels",
            "file,L0,L1,L2\na,1,2,1\n",
            "line 2: L1 is \"2\": write 1, 0, or nothing where it is not known",
        ),
        (
            "labels",
            "file,patient,L0,L1,L2\na,,1,1,1\n",
            "line 2: \"patient\" is empty: name whose file it is",
        ),
        ("labels", "file,split,L0,L1,L2\na,test,1,1,1\n", "line 2: split \"test\" is neither"),
        ("classes", "file,class\na,L9\n", "line 2: class \"L9\" is no label of the manifest (L0, L1, L2)"),
    ] {
        let found = read(kind, text).unwrap_err();
        assert!(found.starts_with("truth.csv: ") && found.contains(words), "{text:?}: {found}");
    }
    let many = format!("file,L0,L1,L2\n{}", "a,x,0,0\n".repeat(8));
    let found = read("labels", &many).unwrap_err();
    assert!(found.lines().count() == 6 && found.ends_with("truth.csv: 3 more like these"), "{found}");
}

/// An archive with an array of zeros for each name.
fn archive(folder: &Path, names: &[&str]) -> Archive {
    let path = folder.join("items.npz");
    let mut file = ArraysFile::new(File::create(&path).unwrap());
    for name in names {
        file.put(Path::new(name), &[0.0; 64], &[1, 8, 8]).unwrap();
    }
    file.finish().unwrap();
    Archive::open(&path).unwrap()
}

/// The names of the arrays that rows with these files are paired with, and what is said, or what is wrong.
fn paired(names: &[&str], rows: &str, leave_out: bool) -> Result<(Vec<String>, Vec<String>), String> {
    let (models, _manifest) = of_kind("classes");
    let table = read("classes", &format!("file,patient,split,class\n{rows}")).unwrap();
    let archive = archive(models.path(), names);
    pairs::evaluated(table, Path::new("truth.csv"), &archive, leave_out)
        .map(|(items, notes)| (items.into_iter().map(|item| item.name).collect(), notes))
        .map_err(|wrong| wrong.0)
}

#[test]
fn rows_find_their_arrays_by_the_end_of_a_path() {
    let names = ["/data/one/a.png", "/data/two/a.png", "b.png", "x/b.png", "left.png"];
    let rows = "one/a.png,p,evaluation,L0\n./data/../two/a.png,q,evaluation,L1\nb.png,r,evaluation,L0\nx//b.png,s,calibration,L0\n";
    let (found, notes) = paired(&names, rows, true).unwrap();
    assert_eq!(found, ["/data/one/a.png", "/data/two/a.png", "b.png"]);
    assert!(notes.len() == 1 && notes[0].starts_with("left out: 1 arrays of "), "{notes:?}");

    let wrong = paired(&names, rows, false).unwrap_err();
    assert!(
        wrong.contains("1 arrays of") && wrong.contains("left.png; add rows, or prepare fewer files"),
        "{wrong}"
    );
    let wrong = paired(&names, "a.png,p,,L0\n", true).unwrap_err();
    assert!(wrong.contains("line 2: \"a.png\" is the end of 2 names"), "{wrong}");
    let wrong = paired(&["a.png"], "a.png,p,,L0\n./a.png,p,,L0\n", true).unwrap_err();
    assert!(wrong.contains("line 3: \"./a.png\" is the file of line 2 already"), "{wrong}");
    let wrong = paired(&["a.png"], "c.png,p,,L0\n", true).unwrap_err();
    assert!(wrong.contains("1 files of truth.csv have no array"), "{wrong}");
    let both = "a.png,p,evaluation,L0\nb.png,p,calibration,L0\n";
    let wrong = paired(&["a.png", "b.png"], both, false).unwrap_err();
    assert!(wrong.contains("truth.csv: p: in calibration and in evaluation"), "{wrong}");
}

/// What `sufficient::check` says of items that each have these values.
fn sufficient(
    count: usize,
    value: impl Fn(usize) -> f32,
    class: impl Fn(usize) -> usize,
) -> Result<Vec<String>, String> {
    let (models, manifest) = of_kind("classes");
    let path = models.path().join("items.npz");
    let mut file = ArraysFile::new(File::create(&path).unwrap());
    let mut items = Vec::new();
    for number in 0..count {
        let name = format!("{number}.png");
        file.put(Path::new(&name), &[value(number); 64], &[1, 8, 8]).unwrap();
        items.push(Item { patient: name.clone(), name, known: Known::Class(Some(class(number))) });
    }
    file.finish().unwrap();
    let mut archive = Archive::open(&path).unwrap();
    sufficient::check(&manifest, &items, &mut archive).map(|found| found.notes).map_err(|wrong| wrong.0)
}

#[test]
fn items_that_say_nothing_are_refused_before_anything_is_computed() {
    let spread = |number: usize| number as f32;
    let notes = sufficient(100, spread, |number| number % 2).unwrap();
    assert_eq!(notes, ["100 items of 100 patients to judge by", "classes that no item has: L2"]);
    for (found, words) in [
        (sufficient(99, spread, |number| number % 2), "evaluation: 99 items, 100 are needed at least"),
        (
            sufficient(100, spread, |_| 1),
            "truth of the evaluation has one class or none (L1): add items of others",
        ),
        (sufficient(100, |number| spread(number) / 1e4, |number| number % 2), "value_range is [-1024, 1024]"),
        (
            sufficient(100, |number| 20.0 * spread(number), |number| number % 2),
            "48 items with values from 0 to 1980",
        ),
        (
            sufficient(
                100,
                |number| if number == 7 { f32::NAN } else { spread(number) },
                |number| number % 2,
            ),
            "1 items with NaN or infinite values: 7.png",
        ),
    ] {
        let found = found.unwrap_err();
        assert!(found.contains(words), "{found}");
    }
}

#[test]
fn arrays_of_another_form_are_refused() {
    let (models, _manifest) = of_kind("classes");
    let mut small = archive(models.path(), &["a.png"]);
    assert_eq!(small.array("a.png", 64).unwrap(), (vec![1, 8, 8], vec![0.0; 64]));
    let words = small.array("b.png", 64).unwrap_err().0;
    assert!(words.contains("items.npz: b.png: cannot be read"), "{words}");
    let path = models.path().join("no.npz");
    fs::write(&path, "no archive").unwrap();
    let words = Archive::open(&path).err().unwrap().0;
    assert!(words.contains("no .npz archive"), "{words}");
    let mut file = ArraysFile::new(File::create(&path).unwrap());
    file.put(Path::new("a.png"), &vec![0.0; 1 << 15], &[1 << 15]).unwrap();
    file.finish().unwrap();
    let words = Archive::open(&path).unwrap().array("a.png", 64).unwrap_err().0;
    assert!(words.contains("and the manifest's input 64 numbers: prepare it for this model"), "{words}");
}

#[test]
fn a_record_leaves_all_else_in_the_manifest_as_it_was() {
    let (_models, manifest) = of_kind("labels");
    let path = manifest.folder.join(MANIFEST_FILE);
    let before = fs::read_to_string(&path).unwrap();
    let with_comments = before.replace("[input]", "# A comment.\n[input] # and another");
    fs::write(&path, &with_comments).unwrap();
    let record = |fp32_sha256: String, agreement: f64| Bf16 {
        target: BF16_TARGET.to_owned(),
        processor: "A \"processor\"".to_owned(),
        runtime: "ONNX Runtime 1.24.1".to_owned(),
        fp32_sha256,
        evidence: Bf16Evidence {
            items_sha256: "a".repeat(64),
            evaluated_items: 150,
            agreement,
            difference: 0.0125,
            metric: "auc".to_owned(),
            fp32: [0.9, 0.85, 0.95],
            bf16: [0.9, 0.85, 0.95],
        },
    };
    for agreement in [1.0, 0.9933] {
        let wanted = record("0".repeat(64), agreement);
        record::install(&manifest.folder, &wanted).unwrap();
        let read = Manifest::read(&manifest.folder).unwrap();
        assert_eq!(read.bf16.as_ref(), Some(&wanted));
        assert_eq!(read.sha256(), manifest.sha256(), "what decides is as it was");
    }
    let after = fs::read_to_string(&path).unwrap();
    let mut lines = after.lines();
    assert!(with_comments.lines().all(|line| lines.any(|other| other == line)), "{after}");
    assert_eq!(after.matches("[weights.bf16").count(), 2, "{after}");

    // The weights were replaced meanwhile.
    let error = record::install(&manifest.folder, &record("1".repeat(64), 1.0)).unwrap_err().to_string();
    assert!(error.contains("stays as it is") && error.contains("other FP32 weights"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
}

#[test]
fn a_processor_without_amx_is_refused_by_name_before_anything_is_read() {
    let mut problems = Problems::default();
    let raw = RawSettings::merge(None, &|_| None, &[], &mut problems);
    let settings = Settings::validate(&raw, &mut problems).unwrap();
    let nowhere = PathBuf::from("/nowhere");
    let asked = Asked { name: "none".to_owned(), items: nowhere.clone(), truth: nowhere, leave_out: false };
    let processor = Processor { name: "Some Processor 1".to_owned(), ..Processor::default() };
    let error = run(&asked, &settings, &processor).unwrap_err();
    let error: JobError = error.downcast().unwrap();
    assert_eq!(error.code, ErrorCode::ProcessorUnfit);
    assert!(error.message.contains("Some Processor 1 lacks amx_tile and amx_bf16"), "{error}");
}
