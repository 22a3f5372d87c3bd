//! What an optimised graph depends on.

use crate::digest;
use crate::model::VerifiedModel;
use crate::provider::Provider;
use crate::runtime::Runtime;

use super::processor;

/// Grows when graphs are optimised with other options, or kept in another form.
const FORM: u32 = 1;

/// All that an optimised graph depends on: its weights, the build of ONNX Runtime, the provider and the processor, for
/// whose vector width filters are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Errors are words: the library or the processor does not tell what it is.
    pub(crate) fn of(runtime: &Runtime, model: &VerifiedModel, provider: Provider) -> Result<Self, String> {
        let library = runtime.build().ok_or("the library does not tell which build it is")?;
        let processor = processor::description().ok_or("the processor does not tell what it is")?;
        let weights = model.sha256();
        Ok(Self(format!(
            "form {FORM}\nweights {weights}\nlibrary {library}\nprovider {provider}\nprocessor {processor}\n"
        )))
    }

    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self(format!("{name}\n"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the entry's folder, a SHA-256: whatever else lies in the cache's is not the cache's.
    pub(super) fn name(&self) -> String {
        digest::of_bytes(self.0.as_bytes())
    }
}
