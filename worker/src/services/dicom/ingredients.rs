//! A document, and what goes into its objects beside it.

use bytes::Bytes;
use nightread_archive::{Concept, Options};
use nightread_domain::{FetchedStudy, ResultDocument};

use super::reading::SourceReading;

/// What the objects of a result are made of.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    pub document: &'a ResultDocument,
    /// Its source, as it is now.
    pub study: &'a FetchedStudy,
    /// All of [`super::files::files_of`], each as [`super::files::file`] gives it.
    pub files: &'a [(String, Bytes)],
    /// Of its labels, by name.
    pub codes: &'a [(String, Concept)],
    pub options: &'a Options<'a>,
    pub reading: &'a SourceReading,
}
