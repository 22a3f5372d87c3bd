//! Documents, one after the other, into what a report shows of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nightread_domain::result::{
    ArtefactFacts, ArtefactKind, EnsembleFacts, Measurement, ResultDocument, Status,
};
use nightread_domain::{ErrorCode, Stage, Task, WarningCode};
use time::OffsetDateTime;

/// Bars of a distribution of probabilities.
pub(crate) const BINS: usize = 20;

/// What a report shows of all documents. Rows are bounded, counts are not.
#[derive(Debug)]
pub struct Gathered {
    max_rows: usize,
    pub models: Vec<ModelRun>,
    /// Readings of radiographs, and those that failed; the first `max_rows` by name.
    pub radiographs: Vec<Radiograph>,
    /// Readings of scans, and those that failed; likewise.
    pub scans: Vec<Study>,
    /// Readings of CT volumes, and those that failed; likewise.
    pub volumes: Vec<Study>,
    pub radiographs_in_all: u64,
    pub scans_in_all: u64,
    pub volumes_in_all: u64,
    /// Documents by warning code.
    pub warnings: BTreeMap<String, u64>,
    pub failures: BTreeMap<Failure, u64>,
    pub read_at: Vec<i64>,
}

/// Why studies were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    pub stage: Stage,
}

impl Ord for Failure {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.code.as_str(), self.stage.as_str()).cmp(&(other.code.as_str(), other.stage.as_str()))
    }
}

impl PartialOrd for Failure {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// One model as it was run, with the counts of its documents.
#[derive(Clone, Debug)]
pub struct ModelRun {
    pub task: Task,
    pub name: String,
    pub version: String,
    pub precision: String,
    pub weights_sha256: String,
    manifest_sha256: Option<String>,
    /// The networks that were asked together, where there were several.
    pub ensemble: Option<EnsembleFacts>,
    /// Labels in the order of the model, with their thresholds; of radiographs only.
    pub labels: Vec<(String, f32)>,
    pub preprocessing: BTreeSet<String>,
    pub execution_providers: BTreeSet<String>,
    pub workers: BTreeSet<String>,
    pub ok: u64,
    pub failed: u64,
    /// Studies by probability for each label, in bars of 1/20.
    pub histograms: Vec<[u64; BINS]>,
    pub positives: Vec<u64>,
    /// Components of scans by label; `None` where the label was withheld.
    pub components: BTreeMap<Option<String>, u64>,
    /// Milliseconds of each stage, one for each document.
    pub timing_ms: BTreeMap<String, Vec<f32>>,
    /// What regressions said of themselves, for the methods: values by field.
    pub regressions: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Fields of `regression` that the methods tell.
const TOLD_OF_REGRESSIONS: [&str; 5] = ["des_norm", "dof_rule", "grid", "mask", "confounds"];

/// A label of one radiograph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    pub probability: f32,
    pub positive: bool,
}

/// What rows of every kind have.
#[derive(Clone, Debug)]
pub struct Study {
    pub container: String,
    pub name: String,
    /// Index among [`Gathered::models`].
    pub model: usize,
    pub read_at: OffsetDateTime,
    pub failure: Option<(Failure, String)>,
    pub warnings: Vec<String>,
    /// Relative link to the document.
    pub document: Option<String>,
    /// The document itself, of scans and volumes that were read.
    pub whole: Option<Arc<ResultDocument>>,
    /// Address of the stored picture of a volume, for the page.
    pub preview: Option<String>,
    /// Where the scan has a page of its own.
    pub page: Option<String>,
    /// Of the bytes that were read.
    pub sha256: Option<String>,
    /// Files beside the document.
    pub beside: Vec<Beside>,
}

/// A file beside a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    pub kind: ArtefactKind,
    /// The label that it is about.
    pub of: Option<String>,
    /// Where whoever reads it finds it.
    pub place: String,
}

/// A row of the table of radiographs.
#[derive(Clone, Debug)]
pub struct Radiograph {
    pub study: Study,
    /// By the labels of its model; empty for one that failed.
    pub findings: Vec<Finding>,
    pub measurements: Vec<Measurement>,
    /// Labels whose decision is another in the results that these are compared with, with the probability there.
    pub flips: Vec<(usize, f32)>,
    /// Addresses of images for the page: a small one, a larger one, and heatmaps by label.
    pub thumbnail: Option<String>,
    pub image: Option<String>,
    pub heatmaps: Vec<(String, String)>,
}

impl Gathered {
    /// Keeps at most `max_rows` rows of each kind of study: the first by name.
    pub fn new(max_rows: usize) -> Self {
        Self {
            max_rows,
            models: Vec::new(),
            radiographs: Vec::new(),
            scans: Vec::new(),
            volumes: Vec::new(),
            radiographs_in_all: 0,
            scans_in_all: 0,
            volumes_in_all: 0,
            warnings: BTreeMap::new(),
            failures: BTreeMap::new(),
            read_at: Vec::new(),
        }
    }

    /// Takes one document; `link` is the relative link to it, where there is one, and `place` tells where a file beside it lies.
    pub fn add(
        &mut self,
        document: &ResultDocument,
        link: Option<String>,
        place: impl Fn(&ArtefactFacts) -> Option<String>,
    ) {
        let model = self.model_of(document);
        self.models[model].count(document);
        self.read_at.push(document.read_at.unix_timestamp());
        let codes: BTreeSet<&str> = document.warnings.iter().map(|warning| warning.code.as_str()).collect();
        for code in codes {
            *self.warnings.entry(code.to_owned()).or_default() += 1;
        }
        let failure = document.error.as_ref().map(|error| {
            let failure = Failure { code: error.code, stage: error.stage };
            *self.failures.entry(failure).or_default() += 1;
            (failure, error.message.clone())
        });
        let mut study = Study {
            container: document.study.container.clone(),
            name: document.study.name.clone(),
            model,
            read_at: document.read_at,
            failure,
            warnings: document.warnings.iter().map(|warning| warning.code.clone()).collect(),
            document: link,
            whole: None,
            preview: None,
            page: None,
            sha256: document.study.sha256.clone(),
            beside: document
                .artefacts
                .iter()
                .filter_map(|file| Some(Beside { kind: file.kind, of: file.of.clone(), place: place(file)? }))
                .collect(),
        };
        study.warnings.dedup();
        let is_kept = document.status == Status::Ok && document.task != Task::Radiograph;
        let whole = is_kept.then(|| Arc::new(document.clone()));
        let rows = match document.task {
            Task::Radiograph => {
                self.radiographs_in_all += 1;
                self.radiographs.push(Radiograph::new(study, document));
                self.radiographs.len()
            }
            Task::Components => {
                self.scans_in_all += 1;
                self.scans.push(Study { whole, ..study });
                self.scans.len()
            }
            Task::Segmentation => {
                self.volumes_in_all += 1;
                self.volumes.push(Study { whole, ..study });
                self.volumes.len()
            }
        };
        if rows >= self.max_rows.max(1).saturating_mul(2) {
            self.bound();
        }
    }

    /// Orders everything by name, so that the order in which documents came does not matter.
    pub fn finish(&mut self) {
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        order.sort_by_key(|&at| self.models[at].key());
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        self.models = order.iter().map(|&old| self.models[old].clone()).collect();
        for model in &mut self.models {
            for times in model.timing_ms.values_mut() {
                times.sort_by(f32::total_cmp);
            }
        }
        let radiographs = self.radiographs.iter_mut().map(|row| &mut row.study);
        for study in radiographs.chain(&mut self.scans).chain(&mut self.volumes) {
            study.model = place[study.model];
        }
        self.read_at.sort_unstable();
        self.bound();
    }

    fn bound(&mut self) {
        let models = &self.models;
        self.radiographs.sort_by(|a, b| a.study.key(models).cmp(&b.study.key(models)));
        self.radiographs.truncate(self.max_rows);
        for studies in [&mut self.scans, &mut self.volumes] {
            studies.sort_by(|a, b| a.key(models).cmp(&b.key(models)));
            studies.truncate(self.max_rows);
        }
    }

    fn model_of(&mut self, document: &ResultDocument) -> usize {
        let labels: Vec<(String, f32)> =
            document.findings().iter().map(|finding| (finding.label.clone(), finding.threshold)).collect();
        let known = self.models.iter().position(|model| {
            let same = model.labels.is_empty() || labels.is_empty() || model.labels == labels;
            same && model.is_of(document)
        });
        let at = known.unwrap_or_else(|| {
            self.models.push(ModelRun::of(document));
            self.models.len() - 1
        });
        let model = &mut self.models[at];
        if model.labels.is_empty() {
            model.histograms = vec![[0; BINS]; labels.len()];
            model.positives = vec![0; labels.len()];
            model.labels = labels;
        }
        at
    }

    /// Studies of every kind, in all.
    pub fn in_all(&self) -> u64 {
        self.radiographs_in_all + self.scans_in_all + self.volumes_in_all
    }
}

impl Study {
    fn key<'a>(&'a self, models: &'a [ModelRun]) -> ([&'a str; 5], OffsetDateTime, Option<&'a str>) {
        let model = &models[self.model];
        let names = [&self.container, &self.name, &model.name, &model.version, &model.precision];
        (names.map(String::as_str), self.read_at, self.document.as_deref())
    }
}

impl Radiograph {
    fn new(study: Study, document: &ResultDocument) -> Self {
        let findings = document.findings().iter();
        let findings =
            findings.map(|finding| Finding { probability: finding.probability, positive: finding.positive });
        Self {
            study,
            findings: findings.collect(),
            measurements: document.measurements().to_vec(),
            flips: Vec::new(),
            thumbnail: None,
            image: None,
            heatmaps: Vec::new(),
        }
    }
}

impl ModelRun {
    fn of(document: &ResultDocument) -> Self {
        let model = &document.model;
        Self {
            task: document.task,
            name: model.name.clone(),
            version: model.version.clone(),
            precision: model.precision.clone(),
            weights_sha256: model.weights_sha256.clone(),
            manifest_sha256: model.manifest_sha256.clone(),
            ensemble: model.ensemble.clone(),
            labels: Vec::new(),
            preprocessing: BTreeSet::new(),
            execution_providers: BTreeSet::new(),
            workers: BTreeSet::new(),
            ok: 0,
            failed: 0,
            histograms: Vec::new(),
            positives: Vec::new(),
            components: BTreeMap::new(),
            timing_ms: BTreeMap::new(),
            regressions: BTreeMap::new(),
        }
    }

    /// Whether the document is of this model: weights and manifest may differ under one version, and are then told apart.
    fn is_of(&self, document: &ResultDocument) -> bool {
        let model = &document.model;
        self.task == document.task
            && self.name == model.name
            && self.version == model.version
            && self.precision == model.precision
            && self.weights_sha256 == model.weights_sha256
            && self.manifest_sha256 == model.manifest_sha256
    }

    /// The order of models, which does not depend on that of documents.
    fn key(&self) -> ([String; 5], Option<String>, Vec<(String, u32)>) {
        let labels = self.labels.iter().map(|(label, threshold)| (label.clone(), threshold.to_bits()));
        let names = [self.task.as_str(), &self.name, &self.version, &self.precision, &self.weights_sha256];
        (names.map(str::to_owned), self.manifest_sha256.clone(), labels.collect())
    }

    fn count(&mut self, document: &ResultDocument) {
        match document.status {
            Status::Ok => self.ok += 1,
            Status::Failed => self.failed += 1,
        }
        self.preprocessing.insert(document.model.preprocessing.clone());
        self.execution_providers.insert(document.model.execution_provider.clone());
        self.workers.insert(document.worker.version.clone());
        for (stage, ms) in &document.timing_ms {
            self.timing_ms.entry(stage.clone()).or_default().push(*ms as f32);
        }
        for (nth, finding) in document.findings().iter().enumerate() {
            // In single precision, so that 0.9 is on the side of 0.9 on which its digits are.
            let bin = ((finding.probability * BINS as f32) as usize).min(BINS - 1);
            self.histograms[nth][bin] += 1;
            self.positives[nth] += u64::from(finding.positive);
        }
        for component in document.components() {
            *self.components.entry(component.label.clone()).or_default() += 1;
        }
        for field in TOLD_OF_REGRESSIONS {
            if let Some(value) = document.regression().and_then(|facts| facts.get(field)) {
                let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.regressions.entry(field).or_default().insert(said);
            }
        }
        let motion = document.regression().and_then(|facts| facts.get("motion"));
        if let Some(from) = motion.and_then(|motion| motion.get("dvars_from")?.as_str()) {
            self.regressions.entry("dvars_from").or_default().insert(from.to_owned());
        }
    }

    /// What all regressions together said of one thing.
    pub(crate) fn said(&self, field: &str) -> Option<String> {
        self.regressions.get(field).map(joined)
    }

    /// `cxr-pneumonia-demo 1.0.0-fp32`.
    pub fn title(&self) -> String {
        format!("{} {}-{}", self.name, self.version, self.precision)
    }
}

pub(crate) fn joined(set: &BTreeSet<String>) -> String {
    set.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// What a warning means, where this version knows it.
pub(crate) fn meaning(warning: &str) -> Option<&'static str> {
    WarningCode::ALL.iter().find(|code| code.as_str() == warning).map(|code| code.meaning())
}
