//! Documents of every form that is known.

use super::document::ResultDocument;
use super::v1::{self, SCHEMA as SCHEMA_V1};

impl ResultDocument {
    /// A document of the present form, or of the one before it, which is read as if it had been written in this one.
    ///
    /// # Errors
    /// What serde says of a document that does not keep to its form. A schema that is neither is for the caller to see.
    pub fn parse(schema: &str, body: &[u8]) -> Result<Self, serde_json::Error> {
        if schema == SCHEMA_V1 { v1::parse(body) } else { serde_json::from_slice(body) }
    }
}
