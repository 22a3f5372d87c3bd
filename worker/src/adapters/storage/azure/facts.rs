//! What the service says of a blob, in our words.

use std::collections::HashMap;

use azure_core::http::Etag;
use nightread_domain::ETag;

pub(super) fn to_etag(etag: Etag) -> ETag {
    ETag(ETag(etag.into()).strong())
}

/// How Data Lake and its drivers mark a blob that stands for a folder.
pub(super) fn is_folder(metadata: &HashMap<String, String>) -> bool {
    metadata.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("hdi_isfolder") && value.trim().eq_ignore_ascii_case("true")
    })
}
