//! The pages of documents and messages, from their JSON Schemas.

use std::fmt::Write;

use serde_json::Value;

use super::{MADE, row};

const RESULT: &str = include_str!("../../schemas/result.v2.json");
const COMPARISON: &str = include_str!("../../schemas/comparison.v1.json");
const ANNOUNCEMENT: &str = include_str!("../../schemas/announcement.v1.json");
const SET: &str = include_str!("../../schemas/set.v1.json");

pub(super) fn result() -> String {
    let schema: Value = serde_json::from_str(RESULT).unwrap_or_default();
    let mut text = format!(
        "# Result documents\n\n{MADE} Its source is `worker/schemas/result.v2.json`.\n\n{}\n\nA document lies at \
         `<results>/<model>/<version>-<precision>/<container>/<blob path>.json`; `nightread process` calls its container `local`. Fields in \
         *italics* may be missing. One with `\"status\": \"failed\"` has `error`, and one with `\"ok\"` has none.\n\n{HEAD}",
        said(&schema)
    );
    rows(&mut text, "", &schema, &schema);
    text
}

pub(super) fn comparison() -> String {
    let schema: Value = serde_json::from_str(COMPARISON).unwrap_or_default();
    let mut text = format!(
        "# Comparisons\n\n{MADE} Its source is `worker/schemas/comparison.v1.json`.\n\n{}\n\nAll fields are always there; what is undefined \
         is null. Differences are B - A.\n\n{HEAD}",
        said(&schema)
    );
    rows(&mut text, "", &schema, &schema);
    text
}

pub(super) fn announcement() -> String {
    let schema: Value = serde_json::from_str(ANNOUNCEMENT).unwrap_or_default();
    let mut text = format!(
        "# Announcements\n\n{MADE} Its source is `worker/schemas/announcement.v1.json`.\n\n{}\n\nThe routing keys `job.ingest`, `job.bulk` and `job.volumes` \
         choose the [lane](broker.md). A message is one event, a list of up to 5,000 events, or the native form. Fields in *italics* may be \
         missing.\n",
        said(&schema)
    );
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    let mut shown: Vec<_> = definitions.iter().filter(|(_, what)| what.get("properties").is_some()).collect();
    // Whoever writes a sender of their own writes this one.
    shown.sort_by_key(|(name, _)| name.as_str() != "native");
    for (name, definition) in shown {
        let _infallible = write!(text, "\n## {name}\n\n{}\n\n{HEAD}", said(definition));
        rows(&mut text, "", definition, &schema);
    }
    let set: Value = serde_json::from_str(SET).unwrap_or_default();
    let _infallible = write!(
        text,
        "\n## Set documents\n\nTheir source is `worker/schemas/set.v1.json`. {}\n\n{HEAD}",
        said(&set)
    );
    rows(&mut text, "", &set, &set);
    text
}

/// What the schema of results says of a field by its path: `findings[].label`.
pub(super) fn described(field: &str) -> String {
    let schema: Value = serde_json::from_str(RESULT).unwrap_or_default();
    let mut place = &schema;
    for part in field.split('.') {
        let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        place = followed(&place["properties"][name], &schema);
        if is_list {
            place = followed(&place["items"], &schema);
        }
    }
    said(place)
}

const HEAD: &str = "| field | type | meaning |\n|---|---|---|\n";

/// One row for each property, those of objects and of lists of objects under their path.
fn rows(text: &mut String, path: &str, schema: &Value, whole: &Value) {
    let needed: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    for (name, property) in properties.iter().filter(|(_, property)| property.is_object()) {
        let property = followed(property, whole);
        let (path, item) = (format!("{path}{name}"), followed(&property["items"], whole));
        let shown = if needed.contains(&name.as_str()) { format!("`{path}`") } else { format!("*`{path}`*") };
        row(text, &[&shown, &kind(property, item), &meaning(property)]);
        rows(text, &format!("{path}."), property, whole);
        rows(text, &format!("{path}[]."), item, whole);
    }
}

/// What a reference within the schema stands for.
fn followed<'s>(schema: &'s Value, whole: &'s Value) -> &'s Value {
    let pointer = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    pointer.and_then(|pointer| whole.pointer(pointer)).unwrap_or(schema)
}

fn kind(schema: &Value, item: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let of = item["type"].as_str().map_or_else(String::new, |item| format!(" of {item}"));
    names
        .iter()
        .map(|name| if *name == "array" { format!("array{of}") } else { (*name).to_owned() })
        .collect::<Vec<_>>()
        .join(" or ")
}

fn meaning(schema: &Value) -> String {
    let bounds = [("minimum", "from"), ("maximum", "to")];
    let bounds = bounds.iter().filter_map(|(key, word)| Some(format!("{word} {}", schema.get(*key)?)));
    let format = schema["format"].as_str().map(|format| format!("as `{format}`"));
    let described = Some(said(schema).trim_end_matches('.').to_owned()).filter(|text| !text.is_empty());
    let bounds = Some(bounds.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty());
    let parts: Vec<String> = [described, bounds, format].into_iter().flatten().collect();
    parts.join("; ")
}

fn said(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}
