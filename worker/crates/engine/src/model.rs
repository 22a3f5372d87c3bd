//! A model whose weights were read and found to be the ones its manifest names.

use std::fmt;
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

/// A manifest, one of its precisions, and the verified bytes of the weights, ready for [`Engine::start`](crate::Engine::start).
#[derive(Clone)]
pub struct Model {
    manifest: Arc<Manifest>,
    precision: Precision,
    key: ModelKey,
    sha256: String,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("key", &self.key)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads the weights of a precision and checks their digest. What was checked is what runs: the file is not read again.
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
        let path = manifest.path_of(&weights.file);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                return fail(ErrorCode::ModelMissing, format!("{} cannot be read: {error}", path.display()));
            }
        };
        let sha256 = digest::of_bytes(&bytes);
        if sha256 != expected {
            return fail(
                ErrorCode::ModelMismatch,
                format!("{} has sha256 {sha256}, its manifest says {expected}", path.display()),
            );
        }
        let key = ModelKey { name: name.clone(), version: format!("{}-{precision}", manifest.version) };
        Ok(Self { manifest: Arc::clone(manifest), precision, key, sha256, bytes: bytes.into() })
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

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
