//! `nightread models parity`: what is made of images here, beside what the network's own script makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{
    Manifest, ModelSession, Precision, Runtime, Score, SessionOptions, VerifiedModel, scores,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::adapters::python;
use crate::app::{self, WrongUse};
use crate::services::prepare::{Arrays, Preparer};
use crate::services::process::Inputs;
use crate::services::walk::Names;
use crate::settings::Settings;

/// What Python runs.
const REFERENCE: &str = include_str!("reference.py");

/// How far apart the two may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Of an array, as a share of the range of its values ([`Ours::range`]).
    pub share: f64,
    pub probability: f64,
}

/// The comparison of every image.
#[derive(Debug)]
pub(crate) struct Compared {
    model: String,
    tolerance: Tolerance,
    images: Vec<Image>,
}

/// One image, and why it agrees or not.
#[derive(Debug, Serialize)]
struct Image {
    #[serde(serialize_with = "shown")]
    path: PathBuf,
    /// Greatest difference of the arrays, in the network's input.
    difference: Option<f64>,
    /// Length of the range of values that it is held against, and the difference that is let through; where the image was prepared.
    range: Option<f64>,
    allowed: Option<f64>,
    /// Greatest difference of a probability, where the script predicts.
    probability: Option<f64>,
    /// Why it does not agree.
    problem: Option<String>,
}

/// What is made of an image here.
#[derive(Debug, Default)]
struct Ours {
    scores: Vec<Score>,
    /// From the lowest to the highest value of the tensor, and no more than the manifest's `value_range`: in a wide range a narrow
    /// tensor would pass whatever it is.
    range: f64,
    /// The greatest absolute value of the tensor.
    greatest: f64,
}

impl Ours {
    fn new(tensor: &[f32], scores: Vec<Score>, manifest: &Manifest) -> Self {
        let numbers = || tensor.iter().copied().map(f64::from);
        let (low, high) = (numbers().fold(f64::MAX, f64::min), numbers().fold(f64::MIN, f64::max));
        let [from, to] = manifest.input.value_range;
        Self { scores, range: (high - low).clamp(0.0, to - from), greatest: low.abs().max(high.abs()) }
    }

    /// The difference that is let through: two arrays of f32 that differ in the last place alone are equal.
    fn allowed(&self, tolerance: Tolerance) -> f64 {
        (tolerance.share * self.range).max(f64::from(f32::EPSILON) * self.greatest)
    }
}

/// A name that is no text cannot be written as one.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// What the script made of one image. Numbers that are not finite are absent.
#[derive(Debug, Deserialize)]
struct Theirs {
    path: PathBuf,
    difference: Option<f64>,
    #[serde(default)]
    at: Vec<usize>,
    /// Where it is another one.
    shape: Option<Vec<usize>>,
    probabilities: Option<Probabilities>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Probabilities {
    ByName(BTreeMap<String, Option<f64>>),
    /// One for each label of the manifest, suppressed ones too.
    InOrder(Vec<Option<f64>>),
}

/// # Errors
/// [`WrongUse`] for a model that reads no radiographs, or nothing to read; a runtime or a model that cannot be opened; a Python
/// that cannot be run, or a script that ends before its images do.
pub(crate) fn run(
    name: &str,
    script: &Path,
    python: &Path,
    paths: &[PathBuf],
    tolerance: Tolerance,
    settings: &Settings,
) -> Result<Compared> {
    let catalogue = app::catalogue(settings, Some(name))?;
    let manifest = Arc::clone(catalogue.get(name)?);
    let preparer = Preparer::new(&manifest, settings)?;
    let nowhere = Path::new("");
    let files = Inputs::gather(paths, &Names::default(), nowhere)?.files;
    if files.is_empty() {
        return Err(WrongUse("nothing to read: no images are there".to_owned()).into());
    }
    let runtime = Runtime::load(&settings.engine.search())?;
    let model = VerifiedModel::open(&manifest, Precision::Fp32)?;
    let provider = settings.engine.provider();
    let options = SessionOptions { provider, intra_threads: 1, shares_cores: false, memory_plan: true };
    let mut session = ModelSession::open(&runtime, &model, options)?;

    let work = tempfile::Builder::new().prefix("nightread-parity-").tempdir()?;
    let arrays = work.path().join("prepared.npz");
    let mut archive = Arrays::new(std::fs::File::create(&arrays)?);
    let mut images = Vec::new();
    let mut ours: BTreeMap<PathBuf, Ours> = BTreeMap::new();
    for path in files {
        match preparer.tensor(&path) {
            Ok((tensor, _warnings)) => {
                archive.put(&path, &tensor, &manifest.input.item_shape)?;
                let scores = scored(&mut session, &manifest, &tensor)?;
                ours.insert(path, Ours::new(&tensor, scores, &manifest));
            }
            Err(error) => {
                let problem = Some(format!("{}: {}", error.code, error.message));
                let (range, allowed) = (None, None);
                images.push(Image { path, difference: None, range, allowed, probability: None, problem });
            }
        }
    }
    archive.finish()?;
    let compared = Compared { model: name.to_owned(), tolerance, images: Vec::new() };
    for theirs in asked(python, script, &arrays)? {
        let ours = ours.remove(&theirs.path).unwrap_or_default();
        images.push(compared.image(theirs, &ours, &manifest));
    }
    if let Some((path, _)) = ours.pop_first() {
        bail!("the script ended before {}", path.display());
    }
    images.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Compared { images, ..compared })
}

fn scored(session: &mut ModelSession, manifest: &Manifest, tensor: &[f32]) -> Result<Vec<Score>, JobError> {
    let outputs = session.run(&[tensor])?;
    let outputs = outputs.first().ok_or_else(|| {
        JobError::new(Stage::Infer, ErrorCode::InferenceFailed, "a run of one item gave none")
    })?;
    scores(manifest, outputs)
}

/// Has Python run the script over the arrays.
fn asked(python: &Path, script: &Path, arrays: &Path) -> Result<Vec<Theirs>> {
    let said = python::answer(python, REFERENCE, &[script, arrays])?;
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("the script's answer is not understood")).collect()
}

impl Compared {
    fn image(&self, theirs: Theirs, ours: &Ours, manifest: &Manifest) -> Image {
        let probability = theirs.probabilities.map(|theirs| furthest(&ours.scores, &theirs, manifest));
        let allowed = ours.allowed(self.tolerance);
        let problem = match (theirs.error, theirs.shape, theirs.difference, &probability) {
            (Some(error), ..) => Some(format!("the script failed: {error}")),
            (_, Some(shape), ..) => {
                Some(format!("the script's array is {shape:?}, not {:?}", manifest.input.item_shape))
            }
            (_, _, None, _) => Some("the script's array has values that are not finite".to_owned()),
            (_, _, Some(difference), _) if difference > allowed => Some(format!(
                "the arrays are {difference:.3e} apart at {:?}; {allowed:.3e} is let through, of a range of {:.3e}",
                theirs.at, ours.range
            )),
            (.., Some(Err(problem))) => Some(problem.clone()),
            (.., Some(Ok(apart))) if *apart > self.tolerance.probability => {
                Some(format!("a probability is {apart:.3e} apart"))
            }
            _ => None,
        };
        let probability = probability.and_then(Result::ok);
        let (range, allowed) = (Some(ours.range), Some(allowed));
        Image { path: theirs.path, difference: theirs.difference, range, allowed, probability, problem }
    }

    pub(crate) fn agrees(&self) -> bool {
        self.images.iter().all(|image| image.problem.is_none())
    }

    /// One line for each image that does not agree.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> + '_ {
        let problems = self.images.iter().filter_map(|image| Some((&image.path, image.problem.as_ref()?)));
        problems.map(|(path, problem)| format!("{}: {problem}", path.display()))
    }

    pub(crate) fn as_text(&self) -> String {
        let agreeing = self.images.iter().filter(|image| image.problem.is_none()).count();
        let mut text =
            format!("{}: {agreeing} of {} images agree with the script", self.model, self.images.len());
        if let Some(worst) = greatest(self.images.iter().filter_map(|image| image.difference)) {
            let _ = write!(text, "; arrays at most {worst:.3e} apart");
        }
        let shares = self.images.iter().filter_map(|image| Some(image.difference? / image.range?));
        if let Some(worst) = greatest(shares.filter(|share| share.is_finite())) {
            let _ = write!(text, ", {worst:.3e} of the range of an image's values");
        }
        if let Some(worst) = greatest(self.images.iter().filter_map(|image| image.probability)) {
            let _ = write!(text, "; probabilities at most {worst:.3e} apart");
        }
        text
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({ "model": self.model, "agrees": self.agrees(), "images": self.images })
    }
}

fn greatest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

/// The greatest difference of a probability. Errors are words.
fn furthest(scores: &[Score], theirs: &Probabilities, manifest: &Manifest) -> Result<f64, String> {
    let mut furthest = 0.0_f64;
    for score in scores {
        let (label, index) = (&score.label, score.index);
        let other = match theirs {
            Probabilities::ByName(values) => values.get(label).copied().flatten(),
            Probabilities::InOrder(values) if values.len() == manifest.labels.len() => {
                values.get(index).copied().flatten()
            }
            Probabilities::InOrder(values) => {
                let (given, wanted) = (values.len(), manifest.labels.len());
                return Err(format!("the script gives {given} probabilities for {wanted} labels"));
            }
        };
        let Some(other) = other else {
            return Err(format!("the script gives no probability of {label}"));
        };
        furthest = furthest.max((f64::from(score.probability) - other).abs());
    }
    Ok(furthest)
}
