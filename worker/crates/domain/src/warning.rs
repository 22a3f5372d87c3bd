//! Doubts that do not stop a reading but must travel with it.

use serde::{Deserialize, Serialize};

/// A stable code with a plain sentence; both are written into the result document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: String,
    pub message: String,
}

impl Warning {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}
