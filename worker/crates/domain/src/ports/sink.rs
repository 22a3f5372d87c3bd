//! What goes on to others after a document is stored.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::blob::BlobRef;
use crate::error::JobError;
use crate::job::Job;
use crate::result::ResultDocument;

/// A job whose document stands in the store, written by it or before it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub job: &'a Job,
    pub document: &'a ResultDocument,
    /// Where the document lies.
    pub path: &'a BlobRef,
}

/// Takes what is stored on to others, before the delivery that asked for it is settled.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Delivers it, or gives notices that the settlement tells first. The same document may come again: until its delivery is
    /// settled, and whenever it is announced anew. A transient error has it come again later, without counting an
    /// attempt; any other is this document's, and only logged.
    async fn take(&self, standing: Standing<'_>) -> Result<Vec<Notice>, JobError>;
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever listens; nobody need.
    Listeners,
    /// A queue of work, which has to take it.
    Workers,
}

/// Something to be told before a delivery is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub audience: Audience,
    /// The same for every telling of one thing, so that listeners can drop repeats.
    pub id: String,
    /// What it is about, in words between dots.
    pub topic: String,
    pub correlation_id: Option<String>,
    pub content_type: &'static str,
    pub body: Bytes,
}
