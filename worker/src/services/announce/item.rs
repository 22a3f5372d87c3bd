//! One blob to announce, and as a checkpoint keeps it.

use nightread_domain::{BlobRef, ETag};
use serde::{Deserialize, Serialize};

/// A blob to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub blob: BlobRef,
    pub etag: Option<ETag>,
    /// A failed-document is to be read again.
    pub redriven: bool,
}

/// [`Work`] in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedWork {
    blob: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<ETag>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redriven: bool,
}

impl From<&Work> for SavedWork {
    fn from(work: &Work) -> Self {
        Self { blob: work.blob.to_string(), etag: work.etag.clone(), redriven: work.redriven }
    }
}

impl SavedWork {
    pub fn restore(self) -> Option<Work> {
        let blob = BlobRef::parse(&self.blob).ok()?;
        Some(Work { blob, etag: self.etag, redriven: self.redriven })
    }
}
