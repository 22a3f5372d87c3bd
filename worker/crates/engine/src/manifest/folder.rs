//! Where a model lies.

use std::any::Any;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model's folder, and what keeps it there as long as anybody may read from it: a manifest and all that is opened by it.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    #[expect(dead_code, reason = "it is held, and never asked")]
    hold: Option<Arc<dyn Any + Send + Sync>>,
}

impl ModelFolder {
    /// A folder of a cache, which does not go before `hold` is dropped.
    #[must_use]
    pub fn held(self, hold: impl Any + Send + Sync) -> Self {
        Self { hold: Some(Arc::new(hold)), ..self }
    }
}

impl From<PathBuf> for ModelFolder {
    /// A folder that nobody removes.
    fn from(path: PathBuf) -> Self {
        Self { path, hold: None }
    }
}

impl Deref for ModelFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for ModelFolder {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
