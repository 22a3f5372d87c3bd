//! The digest of what a registry gave.

use nightread_domain::{Body, JobError, Stage};

use crate::flow::aside::blocking;

/// The SHA-256 of a file of a model, in lower-case hexadecimal.
pub(super) async fn digest_of_file(body: &Body) -> Result<String, JobError> {
    let body = body.clone();
    blocking(Stage::Start, "digesting a file of a model", move || Ok(body.sha256())).await
}
