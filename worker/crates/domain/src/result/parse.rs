//! Documents of every form that is known.

use serde::Deserialize;

use super::document::{ResultDocument, SCHEMA, SCHEMAS};
use super::v1::{self, SCHEMA as SCHEMA_V1};

/// What lies under a result's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// Of this form, or of the one before it, which is read as if it had been written in this one.
    Document(Box<ResultDocument>),
    /// A whole document that cannot be read here, and why: a newer worker made it, and it must stay.
    Unknown(String),
    /// Torn, or somebody else's.
    NoDocument,
}

impl ResultDocument {
    /// Reads what lies under a result's name. The one place that knows the forms.
    pub fn parse(body: &[u8]) -> Parsed {
        #[derive(Deserialize)]
        struct Named {
            schema: String,
        }
        // Nearly all are of this form, and need not be read twice.
        match serde_json::from_slice::<Self>(body) {
            Ok(document) if document.schema == SCHEMA => return Parsed::Document(Box::new(document)),
            _ => {}
        }
        let Ok(Named { schema }) = serde_json::from_slice(body) else { return Parsed::NoDocument };
        let read = match schema.as_str() {
            SCHEMA => serde_json::from_slice::<Self>(body),
            SCHEMA_V1 => v1::parse(body),
            other if other.starts_with(SCHEMAS) => {
                return Parsed::Unknown(format!("is of the form {schema:?}; this worker knows {SCHEMA:?}"));
            }
            _ => return Parsed::NoDocument,
        };
        match read {
            Ok(document) => Parsed::Document(Box::new(document)),
            Err(error) => Parsed::Unknown(format!("holds what this worker does not know: {error}")),
        }
    }
}
