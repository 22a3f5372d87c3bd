//! CT volumes: what was found of each organ, and the stored picture.

use nightread_domain::result::Segment;
use serde::Serialize;
use serde_json::Value;

use crate::gather::{Gathered, Study, meaning};
use crate::overview::moment;

/// One CT volume.
#[derive(Debug, Serialize)]
pub(crate) struct Volume<'a> {
    name: &'a str,
    model: String,
    read_at: String,
    document: Option<&'a str>,
    failure: Option<(&'static str, &'a str)>,
    warnings: Vec<(&'a str, Option<&'static str>)>,
    facts: Vec<(&'static str, String)>,
    preview: Option<&'a str>,
    segments: Vec<Row<'a>>,
    /// Labels of which nothing was found.
    absent: Vec<&'a str>,
}

/// One segment that was found.
#[derive(Debug, Serialize)]
struct Row<'a> {
    label: &'a str,
    /// `10200004 (SCT)`.
    code: Option<String>,
    volume_ml: String,
    mean_hu: Option<String>,
    sd_hu: Option<String>,
    confidence: Option<String>,
    touches_border: bool,
}

impl<'a> Volume<'a> {
    pub fn of(study: &'a Study, gathered: &Gathered) -> Self {
        let segments = study.whole.as_deref().map_or(&[][..], |document| document.segments());
        let (found, absent): (Vec<&Segment>, Vec<&Segment>) =
            segments.iter().partition(|segment| segment.voxels > 0);
        Self {
            name: &study.name,
            model: gathered.models[study.model].title(),
            read_at: moment(study.read_at.unix_timestamp()),
            document: study.document.as_deref(),
            failure: study.failure.as_ref().map(|(cause, said)| (cause.code.as_str(), said.as_str())),
            warnings: study.warnings.iter().map(|code| (code.as_str(), meaning(code))).collect(),
            facts: facts(study),
            preview: study.preview.as_deref(),
            segments: found.into_iter().map(Row::of).collect(),
            absent: absent.into_iter().map(|segment| segment.label.as_str()).collect(),
        }
    }
}

impl<'a> Row<'a> {
    fn of(segment: &'a Segment) -> Self {
        let units = |value: Option<f64>| value.map(|value| format!("{value:.0}"));
        Self {
            label: &segment.label,
            code: segment.code.as_ref().map(|code| format!("{} ({})", code.value, code.scheme)),
            volume_ml: format!("{:.1}", segment.volume_ml),
            mean_hu: units(segment.mean_hu),
            sd_hu: units(segment.sd_hu),
            confidence: segment.confidence.map(|share| format!("{share:.2}")),
            touches_border: segment.touches_border,
        }
    }
}

/// Grid and spacing of the source.
fn facts(study: &Study) -> Vec<(&'static str, String)> {
    let Some(document) = study.whole.as_deref() else { return Vec::new() };
    let listed = |field: &str, digits: usize| -> Option<String> {
        let values = document.input.get(field)?.as_array()?;
        let words: Vec<String> =
            values.iter().filter_map(Value::as_f64).map(|value| format!("{value:.digits$}")).collect();
        Some(words.join(" x "))
    };
    let voxels = listed("grid_voxels", 0).map(|words| ("Voxels", words));
    let spacing = listed("spacing_mm", 2).map(|words| ("Spacing, mm", words));
    let recipe = ("Preprocessing", document.model.preprocessing.clone());
    voxels.into_iter().chain(spacing).chain([recipe]).collect()
}
