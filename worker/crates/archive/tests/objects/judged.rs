//! A validator, dcmtk and highdicom read every object over every fixture.

use std::path::Path;
use std::process::Command;

use nightread_archive::{
    CtResult, Kind, Object, Options, Panel, ReportClass, SegForm, code_of, of_ct, of_radiograph,
};
use nightread_domain::result::Finding;
use serde_json::{Value, json};

use crate::fixtures;
use crate::fixtures::{codes, ct, document, finding, png, radiographs, usual};
use crate::judges::{of_dcmtk, of_venv, repository, says, write};
use crate::series;

/// Every object that there is, by case, with what a reader must find in it.
fn everything() -> Vec<(String, Vec<Object>, Value)> {
    let mut made = Vec::new();
    let (first, second) = (png(1), png(2));
    let panels =
        [Panel { label: "Pneumonia", png: &first }, Panel { label: "Aortic Atheromatosis", png: &second }];
    for (name, header) in radiographs() {
        let objects = of_radiograph(&header.source(), &usual(), &codes(), &panels, &Options::default());
        made.push((name.to_owned(), objects.expect("objects"), expected_findings()));
    }
    let options = Options { report: ReportClass::Comprehensive3d, ..Options::default() };
    let source = fixtures_source();
    let objects = of_radiograph(&source, &usual(), &codes(), &[], &options).expect("objects");
    made.push(("3d".to_owned(), objects, expected_findings()));
    let nothing = document(vec![finding("Pneumonia", 0.1, 0.2)]);
    let objects = of_radiograph(&source, &nothing, &codes(), &[], &Options::default()).expect("objects");
    made.push(("nothing".to_owned(), objects, json!({"groups": []})));
    let options = Options { scales: &fixtures::scales(), ..Options::default() };
    let objects = of_radiograph(&source, &fixtures::graded(), &codes(), &[], &options).expect("objects");
    let mut expected = expected_groups(&fixtures::graded().findings()[..1], &CERTAINTY);
    expected["grades"] = json!([{
        "scale": ["Oedema grade", "99NIGHTREAD", "Oedema grade"],
        "grade": ["none", "99NIGHTREAD", "none"],
        "number": 83.1,
    }]);
    made.push(("graded".to_owned(), objects, expected));
    let share = ["share-of-votes", "99NIGHTREAD", "Share of networks that find it"];
    let voted = fixtures::voted();
    let objects = of_radiograph(&source, &voted, &codes(), &[], &Options::default()).expect("objects");
    made.push(("voted".to_owned(), objects, expected_groups(voted.findings(), &share)));
    let beyond = document(vec![finding("Épanchement pleural", 0.9, 0.2)]);
    let objects = of_radiograph(&source, &beyond, &[], &[], &Options::default()).expect("objects");
    made.push(("own_text_beyond_ascii".to_owned(), objects, Value::Null));
    for form in [SegForm::Binary, SegForm::LabelMap] {
        let options = Options { segmentation: form, ..Options::default() };
        for case in series::all() {
            let objects = of_series(&case, &ct().source_of_series(), &options);
            made.push((format!("{}_{form:?}", case.name), objects, expected_organs(&case)));
        }
    }
    let case = series::all().remove(0);
    for (name, header) in fixtures::series() {
        let objects = of_series(&case, &header.source_of_series(), &Options::default());
        made.push((name.to_owned(), objects, expected_organs(&case)));
    }
    made
}

fn of_series(
    case: &series::Series,
    source: &nightread_archive::SourceInstance,
    options: &Options<'_>,
) -> Vec<Object> {
    let preview = png(3);
    let result = CtResult {
        organs: &series::organs(),
        missing: &["spleen".to_owned()],
        voxels: Some(case.input()),
        preview: Some(&preview),
        slices: &case.references(),
    };
    of_ct(source, &document(Vec::new()), &result, options).expect("objects")
}

fn fixtures_source() -> nightread_archive::SourceInstance {
    crate::fixtures::cr().source()
}

/// What the number of a finding is called, where it is one of certainty.
const CERTAINTY: [&str; 3] = ["111012", "DCM", "Certainty of Finding"];

fn expected_findings() -> Value {
    let mut expected = expected_groups(usual().findings(), &CERTAINTY);
    expected["absent"] = json!("Effusion");
    expected
}

/// A group for each positive one; `number` is what stands beside it.
fn expected_groups(findings: &[Finding], number: &[&str; 3]) -> Value {
    let groups = findings.iter().filter(|finding| finding.positive).map(|finding| {
        let code = code_of(&finding.label, &codes());
        json!({
            "finding": [code.value, code.scheme, code.meaning],
            "name": number,
            "number": f64::from(finding.probability) * 100.0,
            "image": crate::fixtures::INSTANCE,
        })
    });
    json!({"groups": groups.collect::<Vec<_>>()})
}

fn expected_organs(case: &series::Series) -> Value {
    let organs = series::organs().into_iter().map(|organ| {
        let code = organ.code.unwrap_or_else(|| nightread_archive::Concept::private(&organ.name));
        json!({"name": organ.name, "finding": [code.value, code.scheme, code.meaning], "volume_ml": organ.volume_ml,
               "mean_hu": organ.mean_hu, "sd_hu": organ.sd_hu, "side": organ.laterality.map(|side| format!("{side:?}"))})
    });
    let segments = case.segments.iter().map(|segment| (segment.name.clone(), segment.number.into()));
    json!({
        "organs": organs.collect::<Vec<_>>(),
        "labels": case.labels,
        "shape": series::SHAPE,
        "segments": segments.collect::<serde_json::Map<_, _>>(),
        "images": case.slices.iter().map(images).collect::<Vec<_>>(),
        "positions": case.slices.iter().map(|slice| slice.position).collect::<Vec<_>>(),
        "orientation": case.orientation,
    })
}

/// The images of a slice: UID and frame.
fn images(slice: &nightread_archive::SegSlice) -> Value {
    let images = slice.images.iter().map(|image| json!([image.image.sop_instance, image.frame]));
    images.collect()
}

#[test]
fn the_validator_finds_no_error() {
    let Some(validator) = of_venv("the_validator_finds_no_error", "dciodvfy") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut read = 0;
    for (case, objects, _) in everything() {
        for path in write(folder.path(), &case, &objects) {
            let (_, text) = says(&validator, &["-new"], &path);
            let errors = text.lines().filter(|line| line.starts_with("Error"));
            let errors: Vec<_> =
                errors.filter(|line| !(case.ends_with("LabelMap") && is_of_label_maps(line))).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            assert!(!text.contains("Information Object Not found"), "{}: {text}", path.display());
            read += 1;
        }
    }
    assert!(read > 120, "{read} objects were read");
}

/// The validator of 2026 knows the SOP class of label maps and not yet that they have segments.
fn is_of_label_maps(line: &str) -> bool {
    line.contains("ReferencedSegmentNumber(0062,000b)>")
        && line.ends_with("Shall not be present for Referenced SOP Class that is not segmentation")
}

#[test]
fn dcmtk_reads_every_object() {
    const TEST: &str = "dcmtk_reads_every_object";
    let programs = (of_dcmtk(TEST, "dcm2xml"), of_dcmtk(TEST, "dsrdump"), of_dcmtk(TEST, "dcmftest"));
    let (Some(xml), Some(report), Some(is_file)) = programs else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (case, objects, _) in everything() {
        for (path, object) in write(folder.path(), &case, &objects).iter().zip(&objects) {
            assert!(says(&is_file, &[], path).0, "{}", path.display());
            // Converted to UTF-8, so that a name in no encoding is found.
            let utf8: &[&str] = if has_escapes(&case) { &[] } else { &["+U8"] };
            let (good, text) = says(&xml, utf8, path);
            assert!(good && text.contains("</file-format>"), "{}: {text}", path.display());
            // dcmtk of 2022 refuses a report that points into a label map, whose class it does not know.
            if object.kind == Kind::Report && !case.ends_with("LabelMap") {
                let (good, text) = says(&report, utf8, path);
                let noise: Vec<_> = text.lines().filter(|line| is_noise(&case, line)).collect();
                assert!(good && noise.is_empty(), "{}: {noise:#?}", path.display());
            }
        }
    }
}

/// What dcmtk complains of, less what its release of 2022 does not know: a checker's UTF-8, escapes.
fn is_noise(case: &str, line: &str) -> bool {
    let knows_not = line.contains("VR checker") || has_escapes(case) && line.contains("SpecificCharacterSet");
    (line.starts_with("W:") || line.starts_with("E:")) && !knows_not
}

/// Encodings that Debian's dcmtk cannot convert.
fn has_escapes(case: &str) -> bool {
    matches!(case, "japanese" | "korean" | "ct_japanese" | "ct_korean")
}

#[test]
fn highdicom_reads_what_was_written() {
    let Some(python) = of_venv("highdicom_reads_what_was_written", "python") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (case, objects, expected) in everything() {
        write(folder.path(), &case, &objects);
        std::fs::write(folder.path().join(format!("{case}.json")), expected.to_string()).expect("a file");
    }
    for (case, header) in radiographs().into_iter().chain(fixtures::series()) {
        std::fs::write(folder.path().join(format!("{case}.source")), header.file()).expect("a file");
    }
    let script = repository().join("worker/crates/archive/tests/golden/objects.py");
    let output = run(&python, &script, folder.path());
    assert!(output.0, "{}", output.1);
    println!("{}", output.1);
}

fn run(python: &Path, script: &Path, folder: &Path) -> (bool, String) {
    let output = Command::new(python).arg(script).arg(folder).output().expect("Python runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
