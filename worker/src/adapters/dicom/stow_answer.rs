//! The answer to a STOW request: DICOM JSON (PS3.18, annex F), of which a few attributes are read.

use std::collections::BTreeMap;

use serde::Deserialize;

const REFERENCED_SOP: &str = "00081199";
const FAILED_SOP: &str = "00081198";
const INSTANCE: &str = "00081155";
const FAILURE_REASON: &str = "00081197";
const WARNING_REASON: &str = "00081196";

/// What an answer says of each object that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StowAnswer {
    /// Instances that were stored, with a reason for a warning.
    pub stored: BTreeMap<String, Option<u16>>,
    /// Instances that were not, and why.
    pub failed: BTreeMap<String, Option<u16>>,
}

type Set = BTreeMap<String, Attribute>;

#[derive(Debug, Deserialize)]
struct Attribute {
    #[serde(rename = "Value", default)]
    value: Vec<serde_json::Value>,
}

impl StowAnswer {
    /// What is no answer of this form says nothing of any object.
    pub fn parse(body: &[u8]) -> Self {
        let sets: Vec<Set> = match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(serde_json::Value::Array(sets)) => sets.into_iter().filter_map(as_set).collect(),
            Ok(set) => as_set(set).into_iter().collect(),
            Err(_) => Vec::new(),
        };
        let mut answer = Self::default();
        for set in sets {
            for item in items(&set, REFERENCED_SOP) {
                answer.stored.extend(text(&item, INSTANCE).map(|name| (name, number(&item, WARNING_REASON))));
            }
            for item in items(&set, FAILED_SOP) {
                answer.failed.extend(text(&item, INSTANCE).map(|name| (name, number(&item, FAILURE_REASON))));
            }
        }
        answer
    }
}

/// Whether the answer to a query (QIDO-RS) lists this instance.
pub(super) fn lists(body: &[u8], instance: &str) -> bool {
    const SOP_INSTANCE: &str = "00080018";
    let sets: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    sets.into_iter().filter_map(as_set).any(|set| text(&set, SOP_INSTANCE).as_deref() == Some(instance))
}

fn as_set(value: serde_json::Value) -> Option<Set> {
    serde_json::from_value(value).ok()
}

fn items(set: &Set, tag: &str) -> Vec<Set> {
    set.get(tag).map_or_else(Vec::new, |found| found.value.iter().cloned().filter_map(as_set).collect())
}

fn text(set: &Set, tag: &str) -> Option<String> {
    set.get(tag)?.value.first()?.as_str().map(str::to_owned)
}

/// Numbers come as such, and from some archives as text.
fn number(set: &Set, tag: &str) -> Option<u16> {
    let value = set.get(tag)?.value.first()?;
    let whole = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    whole.try_into().ok()
}
