//! Every field of a document is in the table, and in the right column.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use nightread_domain::ResultDocument;
use nightread_table::{Batch, Column, Contents, Form, Format, Kind, Located, Unfit, Writer};
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../../schemas/result.v2.json");

/// The leaves of a schema by their paths, with their types.
fn leaves(schema: &Value, whole: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => whole.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let before = if path.is_empty() { String::new() } else { format!("{path}.") };
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            leaves(property, whole, &format!("{before}{name}"), found);
        }
    } else if schema["items"].get("properties").is_some() {
        leaves(&schema["items"], whole, &format!("{path}[]"), found);
    } else {
        found.push((path.to_owned(), schema.clone()));
    }
}

/// Fields that another column holds whole.
fn covers(column: &Column, leaf: &str) -> bool {
    let is_within = leaf.strip_prefix(column.field).is_some_and(|rest| rest.starts_with(['.', '[']));
    column.field == leaf || column.kind == Kind::Json && !column.field.is_empty() && is_within
}

#[test]
fn every_field_of_the_schema_has_a_column_of_its_type() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut fields = Vec::new();
    leaves(&schema, &schema, "", &mut fields);
    assert!(fields.len() > 70, "{}", fields.len());
    let contents = Contents {
        labels: ["Effusion".to_owned()].into(),
        measurements: ["Age".to_owned()].into(),
        components: [0].into(),
        segments: ["liver".to_owned()].into(),
    };
    for form in [Form::Long, Form::Wide(contents)] {
        let columns = form.columns();
        for (field, said) in &fields {
            let fitting: Vec<_> = columns.iter().filter(|column| covers(column, field)).collect();
            // In the wide form labels and indices are in the names of columns.
            let in_names = form != Form::Long
                && ["findings[].label", "components[].index", "segments[].label", "measurements[].label"]
                    .contains(&field.as_str());
            // Those of a shared column are named for findings.
            let shared = [
                "components[].label",
                "components[].probability",
                "segments[].label",
                "measurements[].label",
            ]
            .contains(&field.as_str());
            assert!(!fitting.is_empty() || shared || in_names, "{field} has no column");
            for column in fitting.iter().filter(|column| column.field == *field) {
                assert!(fits(column.kind, said), "{} of {field}: {:?}, {said}", column.name, column.kind);
            }
        }
        let known: BTreeSet<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
        for column in &columns {
            let is_known = known.iter().any(|field| {
                *field == column.field
                    || field.starts_with(&format!("{}.", column.field))
                    || field.starts_with(&format!("{}[]", column.field))
            });
            let is_map = column.field == "timing_ms";
            assert!(
                column.field.is_empty() || is_known || is_map,
                "{}: the schema has no {}",
                column.name,
                column.field
            );
        }
        let names: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), columns.len(), "names are unique");
    }
}

fn fits(kind: Kind, schema: &Value) -> bool {
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is = |wanted: &str| types.contains(&wanted);
    match kind {
        Kind::Time => is("string") && schema["format"] == "date-time",
        Kind::Text => {
            (is("string") && schema["format"] != "date-time")
                || schema.get("enum").is_some()
                || schema.get("const").is_some()
        }
        // A coordinate of a list.
        Kind::Integer => is("integer") || schema["items"]["type"] == "integer",
        Kind::Number => is("number") || schema["items"]["type"] == "number" || is("object"),
        Kind::Single => is("number"),
        Kind::Flag => is("boolean"),
        Kind::Json => is("array") || is("object"),
    }
}

/// A table of these documents as JSON lines, read again.
fn lines(form: &Form, documents: &[Value]) -> Vec<Value> {
    let text = String::from_utf8(written(form, documents, Format::Jsonl)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn written(form: &Form, documents: &[Value], format: Format) -> Vec<u8> {
    let columns = form.columns();
    let mut writer = Writer::new(format, columns.clone(), &[], Vec::new()).unwrap();
    for document in documents {
        let document: ResultDocument = serde_json::from_value(document.clone()).unwrap();
        let mut batch = Batch::new(&columns);
        form.add(&Located { path: "p.json", etag: "e", document: &document }, &mut batch).unwrap();
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn long_has_a_row_for_each_finding_and_component_and_one_for_what_has_none() {
    let documents = support::Kind::ALL.map(|kind| support::document("ward/a", kind, 730));
    let rows = lines(&Form::Long, &documents);
    assert_eq!(rows.len(), 2 + 2 + 1 + 1);
    let [effusion, opacity, dmn, uncovered, failed, empty] = rows.as_slice() else { panic!("six rows") };
    assert_eq!(effusion["label"], "Effusion");
    assert_eq!((&opacity["probability"], &opacity["positive"]), (&json!(0.73), &json!(true)));
    assert_eq!(
        (&effusion["heatmap_path"], &opacity["heatmap_path"]),
        (&Value::Null, &json!("m/1/incoming/a.heat.png"))
    );
    assert_eq!(effusion["warning_codes"], "low_contrast unverified_view");
    assert_eq!(effusion["warnings"], documents[0]["warnings"]);
    assert_eq!(effusion["artefacts"], documents[0]["artefacts"]);
    assert_eq!(effusion["study_last_modified"], "2026-01-31T12:00:00.123456Z");
    assert_eq!((&dmn["component_peak_y_mm"], &dmn["component_peak_z_score"]), (&json!(-54.0), &json!(9.25)));
    assert_eq!((&dmn["regression_overlap_dice"], &dmn["regression_tr_seconds"]), (&json!(0.9), &Value::Null));
    assert_eq!(
        (&dmn["input_grid_y_voxels"], &dmn["input_affine_mm"]),
        (&json!(73), &documents[1]["input"]["affine_mm"])
    );
    assert_eq!((&uncovered["label"], &uncovered["component_peak_x_mm"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&uncovered["component_index"], &uncovered["component_flags"]),
        (&json!(2), &json!(["low_coverage"]))
    );
    assert_eq!((&failed["error_code"], &failed["probability"]), (&json!("blob_empty"), &Value::Null));
    assert_eq!((&empty["status"], &empty["label"]), (&json!("ok"), &Value::Null));
    for row in &rows {
        assert_eq!(
            row.as_object().unwrap().len(),
            Form::Long.columns().len(),
            "every column is in every line"
        );
        assert_eq!(
            (&row["input_other"], &row["regression_other"], &row["timing_other_ms"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}

#[test]
fn wide_has_a_row_for_each_document() {
    let documents = support::Kind::ALL.map(|kind| support::document("ward/a", kind, 730));
    let mut contents = Contents::default();
    for document in &documents {
        contents.add(&serde_json::from_value(document.clone()).unwrap());
    }
    let form = Form::Wide(contents.clone());
    let rows = lines(&form, &documents);
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["probability_Lung Opacity"], json!(0.73));
    assert_eq!((&rows[0]["component_0_label"], &rows[1]["component_0_label"]), (&Value::Null, &json!("DMN")));
    assert_eq!(
        (&rows[1]["component_2_flags"], &rows[1]["component_2_probability"]),
        (&json!(["low_coverage"]), &json!(0.0))
    );
    assert!(rows[1].get("component_1_label").is_none(), "no scan has it");
    assert_eq!(rows[2]["probability_Effusion"], Value::Null);

    let add = |document: &Value| {
        let document: ResultDocument = serde_json::from_value(document.clone()).unwrap();
        form.add(&Located { path: "p", etag: "e", document: &document }, &mut Batch::new(&form.columns()))
    };
    let mut other = documents[0].clone();
    other["findings"][0]["label"] = "Mass".into();
    assert_eq!(add(&other), Err(Unfit::New));
    other["findings"][0]["label"] = "Lung Opacity".into();
    assert!(matches!(add(&other), Err(Unfit::Twice(_))));
}

#[test]
fn measurements_have_rows_and_columns_of_their_own() {
    let mut document = support::document("a", support::Kind::Radiograph, 730);
    document["measurements"] = json!([{"label": "Age", "value": 54.5, "unit": "a"}]);
    let rows = lines(&Form::Long, std::slice::from_ref(&document));
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[2]["label"], &rows[2]["measurement_value"]), (&json!("Age"), &json!(54.5)));
    assert_eq!((&rows[2]["measurement_unit"], &rows[2]["probability"]), (&json!("a"), &Value::Null));
    assert_eq!(rows[0]["measurement_value"], Value::Null);
    let mut contents = Contents::default();
    contents.add(&serde_json::from_value(document.clone()).unwrap());
    let form = Form::Wide(contents);
    let row = &lines(&form, std::slice::from_ref(&document))[0];
    assert_eq!((&row["measurement_value_Age"], &row["measurement_unit_Age"]), (&json!(54.5), &json!("a")));
    document["measurements"][0]["label"] = "Weight".into();
    let other: ResultDocument = serde_json::from_value(document).unwrap();
    let added =
        form.add(&Located { path: "p", etag: "e", document: &other }, &mut Batch::new(&form.columns()));
    assert_eq!(added, Err(Unfit::New));
}

#[test]
fn what_no_column_takes_is_kept_beside() {
    let mut document = support::document("a", support::Kind::Scan, 1);
    document["input"]["detector"] = json!({"maker": "x"});
    document["input"]["volumes"] = json!("many");
    document["regression"]["ridge"] = json!(0.5);
    document["timing_ms"]["segment"] = json!(7.5);
    let row = &lines(&Form::Long, &[document])[0];
    assert_eq!(row["input_other"], json!({"detector": {"maker": "x"}, "volumes": "many"}));
    assert_eq!(row["input_volumes"], Value::Null);
    assert_eq!(
        (&row["regression_other"], &row["timing_other_ms"]),
        (&json!({"ridge": 0.5}), &json!({"segment": 7.5}))
    );
}

#[test]
fn csv_says_what_json_lines_say() {
    let documents = support::Kind::ALL.map(|kind| support::document("ward/a, \"b\"\n", kind, 730));
    let text = written(&Form::Long, &documents, Format::Csv);
    let rows = lines(&Form::Long, &documents);
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let names = reader.headers().unwrap().clone();
    for (record, row) in reader.records().zip(&rows) {
        for (name, field) in names.iter().zip(&record.unwrap()) {
            let said = match &row[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Number(number) => field.parse::<f64>().map_or_else(
                    |_| "no number".to_owned(),
                    |parsed| {
                        assert_eq!(Some(parsed), number.as_f64(), "{name}");
                        field.to_owned()
                    },
                ),
                other => {
                    assert_eq!(&serde_json::from_str::<Value>(field).unwrap(), other, "{name}");
                    field.to_owned()
                }
            };
            assert_eq!(field, said, "{name}");
        }
    }
}
