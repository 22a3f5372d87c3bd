//! What a column is.

use nightread_domain::ResultDocument;

use crate::cell::Kind;

/// What a column's cells are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The document: the same in each of its rows.
    Document,
    /// One finding or one component.
    Item,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub level: Level,
    /// The field of `worker/schemas/result.v2.json`; empty for what stands beside the document.
    pub field: &'static str,
    /// What it is, where the schema does not say it.
    pub meaning: &'static str,
}

/// A document, and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    pub path: &'a str,
    pub etag: &'a str,
    pub document: &'a ResultDocument,
}

/// What is known of a column beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub name: &'static str,
    pub kind: Kind,
    pub field: &'static str,
    pub meaning: &'static str,
}

impl Head {
    pub fn column(&self, name: impl Into<String>, level: Level) -> Column {
        Column { name: name.into(), kind: self.kind, level, field: self.field, meaning: self.meaning }
    }
}
