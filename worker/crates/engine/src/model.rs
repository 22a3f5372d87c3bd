//! A model whose weights were found to be the ones its manifest names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::digest;
use crate::manifest::{Availability, Manifest, Precision};

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
pub struct Model {
    manifest: Arc<Manifest>,
    precision: Precision,
    key: ModelKey,
    sha256: String,
    path: PathBuf,
}

impl Model {
    /// Finds the weights of a precision and checks their digest.
    ///
    /// Errors: `model_missing` when the weights are not there (with the manifest's own words on how to obtain them),
    /// `model_mismatch` when the precision is not offered or the digest differs.
    pub fn open(manifest: &Arc<Manifest>, precision: Precision) -> Result<Self, JobError> {
        let fail = |code, message| Err(JobError::new(Stage::Start, code, message));
        let name = &manifest.name;
        let (weights, expected) = match (manifest.availability(precision), manifest.weights(precision)) {
            (Availability::WeightsMissing(how), _) => {
                return fail(
                    ErrorCode::ModelMissing,
                    format!(
                        "the weights of {name} are not shipped: {how}; then note their sha256 in the manifest"
                    ),
                );
            }
            (Availability::Ready, Some(weights)) => (weights, weights.sha256.as_deref().unwrap_or_default()),
            _ => {
                let offered: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
                return fail(
                    ErrorCode::ModelMismatch,
                    format!("{name} does not offer {precision}; it offers: {}", offered.join(", ")),
                );
            }
        };
        let model = Self {
            precision,
            key: ModelKey { name: name.clone(), version: format!("{}-{precision}", manifest.version) },
            sha256: expected.to_owned(),
            path: manifest.path_of(&weights.file),
            manifest: Arc::clone(manifest),
        };
        model.verify()?;
        Ok(model)
    }

    /// Compares the file with the manifest's digest. The engine does so again when its sessions are open: ONNX Runtime maps
    /// the file itself (bytes handed over would cost one more copy of the weights in every session).
    pub(crate) fn verify(&self) -> Result<(), JobError> {
        let path = self.path.display();
        let fail = |code, message| Err(JobError::new(Stage::Start, code, message));
        match digest::of_file(&self.path) {
            Ok(found) if found == self.sha256 => Ok(()),
            Ok(found) => fail(
                ErrorCode::ModelMismatch,
                format!("{path} has sha256 {found}, its manifest says {}", self.sha256),
            ),
            Err(error) => fail(ErrorCode::ModelMissing, format!("{path} cannot be read: {error}")),
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

    /// Digest of the weights, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
