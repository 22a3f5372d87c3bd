//! What goes on to others after a document is stored.

use bytes::Bytes;

/// Something to be told to whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same for every telling of one thing, so that listeners can drop repeats.
    pub id: String,
    /// What it is about, in words between dots.
    pub topic: String,
    pub correlation_id: Option<String>,
    pub content_type: &'static str,
    pub body: Bytes,
}
