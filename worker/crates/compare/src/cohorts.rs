//! What is kept of the documents of two sides.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use nightread_domain::result::{Component, Finding, Segment};
use nightread_domain::{ErrorCode, ResultDocument, Status};
use serde::Serialize;

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Which {
    /// What stands.
    A,
    /// What is to take its place.
    B,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// What makes two documents those of one study.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKey {
    /// Its container and its name.
    #[default]
    Study,
    /// Its name: the containers of two sides may be called otherwise.
    Name,
}

/// Why a document or a comparison is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareError {
    /// The document is not as documents are.
    Unfit(String),
    /// Two documents of one side are of one study, so that neither is the one to compare.
    Twice { side: Which, study: String, models: Box<[ModelIdentity; 2]> },
    /// No study is on both sides.
    NoCommonStudy { a: usize, b: usize },
    /// Studies are on both sides, and were read, but nothing that was said of them has the same name.
    NothingAlike,
    /// Truth that cannot be used.
    Truth(String),
}

impl std::error::Error for CompareError {}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(why) | Self::Truth(why) => f.write_str(why),
            Self::Twice { side, study, models } => {
                let [one, other] = &**models;
                write!(f, "{side} has two documents of {study}: of {one} and of {other}")
            }
            Self::NoCommonStudy { a: 0, b: 0 } => f.write_str("neither side has a document that is compared"),
            Self::NoCommonStudy { a, b } => {
                write!(f, "no study is on both sides: A has {a} and B has {b}, all with other names")
            }
            Self::NothingAlike => f.write_str("the models of A and B have no label in common"),
        }
    }
}

/// A model as documents name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ModelIdentity {
    pub name: String,
    pub version: String,
    pub precision: String,
    pub weights_sha256: String,
    /// Of what the manifest decides, where it was recorded.
    pub manifest_sha256: Option<String>,
}

impl fmt::Display for ModelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.name, self.version, self.precision)
    }
}

/// A model, and how many documents of a side it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelCount {
    #[serde(flatten)]
    pub model: ModelIdentity,
    pub documents: usize,
}

/// One finding, by the number of its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub logit: f32,
    pub probability: f32,
    pub label: u16,
    pub positive: bool,
}

/// One component; its label by number, none where it was withheld.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mapped {
    pub index: u32,
    pub label: Option<u16>,
    pub probability: f32,
    pub group_correlation: Option<f64>,
    pub peak_mni_mm: Option<[f64; 3]>,
}

/// One segment, by the number of its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub volume_ml: f64,
    pub mean_hu: Option<f64>,
    pub label: u16,
    pub found: bool,
}

/// What was read of a study, or why not. A further payload of documents is a further arm here, and a file beside `components.rs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading {
    Failed(Option<ErrorCode>),
    /// In the order of the labels' numbers, each once.
    Findings(Box<[Found]>),
    /// In the order of their indices, each once.
    Components(Box<[Mapped]>),
    /// In the order of the labels' numbers, each once.
    Segments(Box<[Measured]>),
}

impl Reading {
    /// Of a radiograph; none otherwise.
    pub(crate) fn findings(&self) -> &[Found] {
        if let Self::Findings(findings) = self { findings } else { &[] }
    }

    /// Of a scan; none otherwise.
    pub(crate) fn components(&self) -> &[Mapped] {
        if let Self::Components(components) = self { components } else { &[] }
    }

    /// Of a CT volume; none otherwise.
    pub(crate) fn segments(&self) -> &[Measured] {
        if let Self::Segments(segments) = self { segments } else { &[] }
    }
}

/// One document.
#[derive(Clone, Debug)]
pub(crate) struct Study {
    pub key: Box<str>,
    /// The beginning of the SHA-256 of the bytes that were read.
    pub digest: Option<u64>,
    pub model: u16,
    pub reading: Reading,
}

/// Least and greatest threshold of a label.
pub(crate) type Thresholds = BTreeMap<u16, [f32; 2]>;

/// The documents of one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub studies: Vec<Study>,
    /// By the model's number.
    pub documents: BTreeMap<u16, usize>,
    pub thresholds: Thresholds,
}

/// Names by number.
#[derive(Clone, Debug)]
pub(crate) struct Names<T> {
    numbers: HashMap<T, u16>,
    names: Vec<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), names: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Names<T> {
    fn number(&mut self, name: &T) -> Result<u16, CompareError> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = u16::try_from(self.names.len()).map_err(|_| {
            CompareError::Unfit("documents name more than 65,536 labels or models".to_owned())
        })?;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Ok(number)
    }

    pub(crate) fn find(&self, name: &T) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&T> {
        self.names.get(usize::from(number))
    }
}

/// The documents of two sides, of which only what is compared is kept.
#[derive(Clone, Debug, Default)]
pub struct Cohorts {
    key: JoinKey,
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) labels: Names<String>,
    pub(crate) models: Names<ModelIdentity>,
}

impl Cohorts {
    pub fn new(key: JoinKey) -> Self {
        Self { key, ..Self::default() }
    }

    /// What makes two documents those of one study.
    pub fn key(&self) -> JoinKey {
        self.key
    }

    /// Documents taken so far.
    pub fn documents(&self, side: Which) -> usize {
        self.side(side).studies.len()
    }

    pub(crate) fn side(&self, side: Which) -> &Side {
        match side {
            Which::A => &self.a,
            Which::B => &self.b,
        }
    }

    /// Takes what is compared of a document.
    ///
    /// # Errors
    /// [`CompareError::Unfit`] where a label or an index is said twice, or a number is not finite. Nothing of it is kept then.
    pub fn add(&mut self, side: Which, document: &ResultDocument) -> Result<(), CompareError> {
        let reading = self.reading(document)?;
        let model = self.models.number(&model_of(document))?;
        let key = match self.key {
            JoinKey::Study => format!("{}/{}", document.study.container, document.study.name),
            JoinKey::Name => document.study.name.clone(),
        };
        let study = Study { key: key.into(), digest: digest(document), model, reading };
        let findings: Vec<_> = document
            .findings()
            .iter()
            .filter_map(|finding| Some((self.labels.find(&finding.label)?, finding.threshold)))
            .collect();
        let kept = match side {
            Which::A => &mut self.a,
            Which::B => &mut self.b,
        };
        for (label, threshold) in findings {
            let [least, greatest] = kept.thresholds.entry(label).or_insert([threshold; 2]);
            (*least, *greatest) = (least.min(threshold), greatest.max(threshold));
        }
        *kept.documents.entry(model).or_default() += 1;
        kept.studies.push(study);
        Ok(())
    }

    fn reading(&mut self, document: &ResultDocument) -> Result<Reading, CompareError> {
        if document.status == Status::Failed {
            return Ok(Reading::Failed(document.error.as_ref().map(|error| error.code)));
        }
        let Some(payload) = &document.payload else {
            return Err(CompareError::Unfit("it is ok, and says nothing of its study".to_owned()));
        };
        if payload.measurements().is_some_and(|measurements| !measurements.is_empty()) {
            return Err(CompareError::Unfit(
                "it has measurements, which are not compared: make tables of both sides (nightread results table)"
                    .to_owned(),
            ));
        }
        if let Some(findings) = payload.findings() {
            self.findings(findings)
        } else if let Some(components) = payload.components() {
            self.components(components)
        } else if let Some(segments) = payload.segments() {
            self.segments(segments)
        } else {
            let text = format!("results of {} are not compared", document.task.studies());
            Err(CompareError::Unfit(text))
        }
    }

    fn findings(&mut self, findings: &[Finding]) -> Result<Reading, CompareError> {
        let mut rows = Vec::with_capacity(findings.len());
        for finding in findings {
            let Finding { label, logit, probability, threshold, positive } = finding;
            if ![logit, probability, threshold].into_iter().all(|number| number.is_finite()) {
                return Err(not_finite(label));
            }
            let label = self.labels.number(label)?;
            rows.push(Found { logit: *logit, probability: *probability, label, positive: *positive });
        }
        rows.sort_unstable_by_key(|row| row.label);
        if rows.windows(2).any(|pair| pair[0].label == pair[1].label) {
            return Err(CompareError::Unfit("a label is said twice".to_owned()));
        }
        Ok(Reading::Findings(rows.into()))
    }

    fn components(&mut self, components: &[Component]) -> Result<Reading, CompareError> {
        let mut rows = Vec::with_capacity(components.len());
        for component in components {
            let index = u32::try_from(component.index).map_err(|_| {
                CompareError::Unfit("the index of a component is out of all bounds".to_owned())
            })?;
            let peak_mni_mm = component.map.as_ref().map(|map| map.peak_mni_mm);
            let group_correlation = component.map.as_ref().and_then(|map| map.group_correlation);
            let numbers = peak_mni_mm.into_iter().flatten().chain(group_correlation);
            if !component.probability.is_finite() || numbers.into_iter().any(|number| !number.is_finite()) {
                return Err(not_finite(&format!("component {index}")));
            }
            let label = component.label.as_ref().map(|label| self.labels.number(label)).transpose()?;
            let probability = component.probability;
            rows.push(Mapped { index, label, probability, group_correlation, peak_mni_mm });
        }
        rows.sort_unstable_by_key(|row| row.index);
        if rows.windows(2).any(|pair| pair[0].index == pair[1].index) {
            return Err(CompareError::Unfit("a component is said twice".to_owned()));
        }
        Ok(Reading::Components(rows.into()))
    }

    fn segments(&mut self, segments: &[Segment]) -> Result<Reading, CompareError> {
        let mut rows = Vec::with_capacity(segments.len());
        for segment in segments {
            let Segment { label, voxels, volume_ml, mean_hu, .. } = segment;
            if !volume_ml.is_finite() || mean_hu.is_some_and(|mean| !mean.is_finite()) {
                return Err(not_finite(label));
            }
            let (label, found) = (self.labels.number(label)?, *voxels > 0);
            rows.push(Measured { volume_ml: *volume_ml, mean_hu: *mean_hu, label, found });
        }
        rows.sort_unstable_by_key(|row| row.label);
        if rows.windows(2).any(|pair| pair[0].label == pair[1].label) {
            return Err(CompareError::Unfit("a label is said twice".to_owned()));
        }
        Ok(Reading::Segments(rows.into()))
    }

    /// A label by its number; none of none.
    pub(crate) fn name(&self, label: Option<u16>) -> Option<String> {
        self.labels.get(label?).cloned()
    }

    /// The models that wrote the documents of a side, in the order of their names.
    pub(crate) fn models_of(&self, side: Which) -> Vec<ModelCount> {
        let counts = self.side(side).documents.iter();
        let named = counts.filter_map(|(number, documents)| {
            Some(ModelCount { model: self.models.get(*number)?.clone(), documents: *documents })
        });
        let mut named: Vec<_> = named.collect();
        named.sort_unstable_by(|one, other| one.model.cmp(&other.model));
        named
    }
}

fn not_finite(of: &str) -> CompareError {
    CompareError::Unfit(format!("a number of {of:?} is not finite"))
}

fn model_of(document: &ResultDocument) -> ModelIdentity {
    let model = &document.model;
    ModelIdentity {
        name: model.name.clone(),
        version: model.version.clone(),
        precision: model.precision.clone(),
        weights_sha256: model.weights_sha256.clone(),
        manifest_sha256: model.manifest_sha256.clone(),
    }
}

fn digest(document: &ResultDocument) -> Option<u64> {
    let text = document.study.sha256.as_deref()?;
    u64::from_str_radix(text.get(..16)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the crate's page says of memory.
    #[test]
    fn a_document_is_as_small_as_it_is_said_to_be() {
        assert_eq!((size_of::<Study>(), size_of::<Found>(), size_of::<Mapped>()), (64, 12, 64));
        assert_eq!(size_of::<Measured>(), 32);
    }
}
