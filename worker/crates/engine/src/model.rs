//! A model whose weights were found to be the ones its manifest names.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::cams::Cams;
use crate::digest::Digesting;
use crate::manifest::{Availability, Manifest, Precision};
use crate::processor::Processor;
use crate::provider::Provider;
use crate::{digest, onnx};

/// A model as the engine and the result path name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelKey {
    pub name: String,
    /// With precision: `1.0.0-fp32`.
    pub version: String,
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A manifest and one of its precisions with verified weights, ready for [`Engine::start`](crate::Engine::start).
#[derive(Clone, Debug)]
pub struct VerifiedModel {
    manifest: Arc<Manifest>,
    precision: Precision,
    key: ModelKey,
    sha256: String,
    /// Every file of the weights, the ONNX file first.
    files: Vec<Digested>,
    /// Whether bf16 is tried here for its record, on a processor that was looked at.
    is_trial: bool,
    cams: Arc<Cams>,
}

/// A file, and the digest that the manifest gives it.
#[derive(Clone, Debug)]
struct Digested {
    path: PathBuf,
    sha256: String,
}

impl Digested {
    fn verify(&self) -> Result<(), JobError> {
        self.compare(&digest::of_file(&self.path).map_err(|error| self.unreadable(&error))?)
    }

    fn compare(&self, found: &str) -> Result<(), JobError> {
        let Self { path, sha256 } = self;
        if found == sha256 {
            return Ok(());
        }
        let path = path.display();
        Err(mismatch(format!("{path} has sha256 {found}, its manifest says {sha256}")))
    }

    fn unreadable(&self, error: &std::io::Error) -> JobError {
        missing(format!("{} cannot be read: {error}", self.path.display()))
    }
}

impl VerifiedModel {
    /// Finds the weights of a precision, checks the digest of each of their files, and that the graph keeps to those files:
    /// what the manifest does not list is not digested.
    ///
    /// Errors: `model_missing` when weights are not there (with the manifest's own words on how to obtain them),
    /// `model_mismatch` when the precision is not offered, a digest differs, or tensors lie in other files.
    pub fn open(manifest: &Arc<Manifest>, precision: Precision) -> Result<Self, JobError> {
        let name = &manifest.name;
        if manifest.ensemble.is_some() {
            return Err(mismatch(format!("{name} is an ensemble: its members have the weights")));
        }
        let weights = match (manifest.availability(precision), manifest.weights(precision)) {
            (Availability::WeightsMissing(how), _) => {
                return Err(missing(format!(
                    "the weights of {name} are not shipped: {how}; then note their sha256 in the manifest"
                )));
            }
            (Availability::Ready, Some(weights)) => weights,
            _ => {
                let offered: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
                return Err(mismatch(format!(
                    "{name} does not offer {precision}; it offers: {}",
                    offered.join(", ")
                )));
            }
        };
        let graph = (&weights.file, weights.sha256.as_deref().unwrap_or_default());
        let listed: Vec<_> = std::iter::once(graph)
            .chain(weights.data.iter().map(|data| (&data.file, data.sha256.as_str())))
            .collect();
        let mut model = Self {
            precision,
            key: ModelKey { name: name.clone(), version: format!("{}-{precision}", manifest.version) },
            sha256: weights.digest().unwrap_or_default(),
            files: listed
                .iter()
                .map(|&(file, sha256)| Digested { path: manifest.path_of(file), sha256: sha256.to_owned() })
                .collect(),
            is_trial: false,
            manifest: Arc::clone(manifest),
            cams: Arc::default(),
        };
        // The graph is read once, for its digest and for what it says.
        let Some((graph, data)) = model.files.split_first() else { return Ok(model) };
        let mut bytes = Digesting::open(&graph.path).map_err(|error| graph.unreadable(&error))?;
        let used = onnx::data_files(&mut bytes);
        graph.compare(&bytes.finish().map_err(|error| graph.unreadable(&error))?)?;
        data.iter().try_for_each(Digested::verify)?;
        model.keeps_to_its_files(used)?;
        model.cams = Arc::new(Cams::open(manifest, precision)?);
        Ok(model)
    }

    /// The FP32 weights as bf16, for a trial that may give the manifest its record: `processor` is where they are computed.
    ///
    /// Errors: those of [`VerifiedModel::open`] for FP32, and [`Processor::require_bf16`].
    pub fn try_bf16(manifest: &Arc<Manifest>, processor: &Processor) -> Result<Self, JobError> {
        processor.require_bf16()?;
        let fp32 = Self::open(manifest, Precision::Fp32)?;
        let key = ModelKey { version: format!("{}-{}", manifest.version, Precision::Bf16), ..fp32.key };
        Ok(Self { precision: Precision::Bf16, key, is_trial: true, ..fp32 })
    }

    /// Whether `provider` computes this precision on this machine.
    ///
    /// Errors: those of [`Precision::require`].
    pub(crate) fn require(&self, provider: Provider) -> Result<(), JobError> {
        if self.is_trial {
            return self.precision.require_provider(provider);
        }
        self.precision.require(provider)
    }

    /// Compares every file with the manifest's digest. The engine does so again when ONNX Runtime has read them: it reads the
    /// files itself (bytes handed over would cost one more copy of the weights in every session).
    pub(crate) fn verify(&self) -> Result<(), JobError> {
        self.files.iter().try_for_each(Digested::verify)
    }

    /// `model_mismatch` unless the tensors of the graph lie in itself and in exactly the files that the manifest lists.
    fn keeps_to_its_files(&self, used: Result<BTreeSet<String>, String>) -> Result<(), JobError> {
        let listed = self.manifest.weights(self.precision).map_or(&[][..], |weights| &weights.data);
        let shown = self.path().display();
        let used = used.map_err(|words| mismatch(format!("{shown} {words}")))?;
        let table = format!("weights.{}.data", self.precision.of_files());
        for location in &used {
            if listed.iter().any(|data| data.file == *location) {
                continue;
            }
            let words = match Path::new(location).components().collect::<Vec<_>>().as_slice() {
                [Component::Normal(_)] => {
                    format!("which {table} of its manifest does not list: add {{ file, sha256 }} there")
                }
                parts
                    if parts.iter().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) =>
                {
                    "in a sub-folder: all weights must lie beside the manifest".to_owned()
                }
                _ => "outside the model's folder: all weights must lie beside the manifest".to_owned(),
            };
            return Err(mismatch(format!("{shown} keeps weights in {location:?}, {words}")));
        }
        match listed.iter().find(|data| !used.contains(&data.file)) {
            None => Ok(()),
            Some(data) => Err(mismatch(format!(
                "{table} of the manifest lists {:?}, where {shown} keeps no weights",
                data.file
            ))),
        }
    }

    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    pub fn key(&self) -> &ModelKey {
        &self.key
    }

    /// Digest of all the weights, as [`Weights::digest`](crate::Weights::digest) has it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How its class-activation maps are had.
    pub fn cams(&self) -> &Arc<Cams> {
        &self.cams
    }

    /// Bytes of all the files of the weights.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.path.metadata().ok()).map(|facts| facts.len()).sum()
    }

    pub(crate) fn path(&self) -> &Path {
        // There is always the ONNX file.
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }
}

fn missing(words: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::ModelMissing, words)
}

fn mismatch(words: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::ModelMismatch, words)
}
