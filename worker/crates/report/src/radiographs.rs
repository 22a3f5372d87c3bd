//! The table of radiographs, as data for the page's script.

use serde::{Serialize, Serializer};

use crate::gather::{Gathered, ModelRun, Radiograph};
use crate::overview::moment;

/// Names are short because there may be ten thousand rows.
#[derive(Debug, Serialize)]
pub struct Table<'a> {
    models: Vec<ModelOfTable<'a>>,
    labels: Vec<&'a str>,
    warnings: Vec<&'a str>,
    /// Whether the page compares with other results.
    compared: bool,
    images: bool,
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct ModelOfTable<'a> {
    title: String,
    /// Indices among the table's labels.
    labels: Vec<usize>,
    thresholds: Vec<Rounded>,
    preprocessing: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    /// Name of the study, and its container.
    n: &'a str,
    c: &'a str,
    m: usize,
    /// Probabilities by the model's labels; absent where the study was not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p: Vec<Rounded>,
    /// Measurements: label, value, unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    v: Vec<(&'a str, f32, &'a str)>,
    /// The model's labels that are positive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    y: Vec<usize>,
    /// Warnings, as indices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    w: Vec<usize>,
    /// Flips: the model's label, and the probability on the other side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    f: Vec<(usize, Rounded)>,
    /// Code and words of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<(&'static str, &'a str)>,
    /// The document.
    #[serde(skip_serializing_if = "Option::is_none")]
    j: Option<&'a str>,
    /// A small image, a larger one, and heatmaps by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    i: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    h: Vec<(&'a str, &'a str)>,
    r: String,
}

/// A probability to five decimal places; decisions are those of the document and never made anew from it.
#[derive(Clone, Copy, Debug)]
struct Rounded(f32);

impl Serialize for Rounded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((f64::from(self.0) * 1e5).round() / 1e5)
    }
}

impl<'a> ModelOfTable<'a> {
    fn of(model: &'a ModelRun, all: &[&str]) -> Self {
        let places = model.labels.iter().map(|(label, _)| all.iter().position(|known| known == label));
        Self {
            title: model.title(),
            labels: places.map(Option::unwrap_or_default).collect(),
            thresholds: model.labels.iter().map(|(_, threshold)| Rounded(*threshold)).collect(),
            preprocessing: model.preprocessing.iter().map(String::as_str).collect(),
        }
    }
}

impl<'a> Table<'a> {
    /// Of the rows that were kept; `compared`: flips were looked for.
    pub fn of(gathered: &'a Gathered, compared: bool) -> Self {
        let mut labels: Vec<&str> = Vec::new();
        for (label, _) in gathered.models.iter().flat_map(|model| &model.labels) {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        let models = gathered.models.iter().map(|model| ModelOfTable::of(model, &labels));
        let warnings: Vec<&str> = gathered.warnings.keys().map(String::as_str).collect();
        Self {
            models: models.collect(),
            compared,
            images: gathered.radiographs.iter().any(|row| row.image.is_some() || !row.heatmaps.is_empty()),
            rows: gathered.radiographs.iter().map(|row| Row::of(row, &warnings)).collect(),
            labels,
            warnings,
        }
    }
}

impl<'a> Row<'a> {
    fn of(row: &'a Radiograph, warnings: &[&str]) -> Self {
        let study = &row.study;
        let positive = row.findings.iter().enumerate().filter(|(_, finding)| finding.positive);
        let codes = study.warnings.iter().filter_map(|code| warnings.binary_search(&code.as_str()).ok());
        Self {
            n: &study.name,
            c: &study.container,
            m: study.model,
            p: row.findings.iter().map(|finding| Rounded(finding.probability)).collect(),
            v: row.measurements.iter().map(|it| (it.label.as_str(), it.value, it.unit.as_str())).collect(),
            y: positive.map(|(nth, _)| nth).collect(),
            w: codes.collect(),
            f: row.flips.iter().map(|&(label, probability)| (label, Rounded(probability))).collect(),
            e: study.failure.as_ref().map(|(cause, said)| (cause.code.as_str(), said.as_str())),
            j: study.document.as_deref(),
            t: row.thumbnail.as_deref(),
            i: row.image.as_deref(),
            h: row.heatmaps.iter().map(|(label, address)| (label.as_str(), address.as_str())).collect(),
            r: moment(study.read_at.unix_timestamp()),
        }
    }
}
