//! What a version of a model is: the same weights under the same manifest.

use crate::error::{ErrorCode, JobError, Stage};
use crate::result::ModelFacts;

/// Whether two models of one version are the same: their weights, and what their manifests decide. A document from before
/// manifests were digested counts by its weights. Errors: `model_mismatch`, naming both digests.
pub fn same_version(theirs: &ModelFacts, ours: &ModelFacts) -> Result<(), JobError> {
    let what = [
        ("weights", Some(&theirs.weights_sha256), Some(&ours.weights_sha256)),
        ("a manifest", theirs.manifest_sha256.as_ref(), ours.manifest_sha256.as_ref()),
    ];
    for (what, theirs, ours_is) in what {
        if let (Some(theirs), Some(ours_is)) = (theirs, ours_is)
            && theirs != ours_is
        {
            let text = format!(
                "results of {} {} were made with {what} of sha256 {theirs}, and this worker has {ours_is}: give the changed \
                 model a new version",
                ours.name,
                ours.version_in_paths()
            );
            return Err(JobError::new(Stage::Start, ErrorCode::ModelMismatch, text));
        }
    }
    Ok(())
}
