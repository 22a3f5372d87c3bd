//! A data set: a folder of Parquet parts that is brought up to date.
//!
//! A part never changes. What it holds is read from its own columns, so that nothing beside it can tell otherwise. An update
//! makes a new folder beside the old one, of new parts and of links to those that stay, and the two change places in one step:
//! whoever opens the folder sees the one or the other, whenever the update is killed.

mod error;
mod known;
mod place;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use self::error::ASKED;
pub use self::error::DataSetError;
use self::known::Known;
pub use self::known::{Kept, Survey};
use crate::batch::Batch;
use crate::column::Column;
use crate::write::{Format, Writer};

/// A part is closed with this many documents. Fewer make an update that meets deleted documents cheaper, more make readers
/// faster.
const PART_DOCUMENTS: usize = 20_000;

/// A data set that nobody else writes.
#[derive(Debug)]
pub struct DataSet {
    folder: PathBuf,
    columns: Vec<Column>,
    asked: String,
    known: Arc<Known>,
    part_documents: usize,
    /// Held while it is written.
    _lock: File,
}

impl DataSet {
    /// Opens a data set, or begins one. `asked` says which documents it is to hold: parts that were made for another wish, or
    /// have other columns, are not kept.
    ///
    /// # Errors
    /// Refused where the folder holds what is no part, or another program writes it.
    pub fn open(folder: &Path, columns: Vec<Column>, asked: String) -> Result<Self, DataSetError> {
        let folder = place::prepared(folder)?;
        let lock = place::locked(&folder)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let known = Arc::new(Known::read(&folder, &names, &asked)?);
        Ok(Self { folder, columns, asked, known, part_documents: PART_DOCUMENTS, _lock: lock })
    }

    /// With another size of parts.
    #[must_use]
    pub fn with_part_documents(self, part_documents: usize) -> Self {
        Self { part_documents, ..self }
    }

    /// Whether nothing is known, so that everything has to be read.
    pub fn is_new(&self) -> bool {
        self.known.parts.is_empty()
    }

    /// Looks which documents are as they were.
    pub fn survey(&self) -> Survey {
        Survey::new(Arc::clone(&self.known))
    }

    /// Begins the new state of the data set with the parts that stay.
    ///
    /// # Errors
    /// What the file system says.
    pub fn stage(&self, kept: &[PathBuf]) -> Result<Staged<'_>, DataSetError> {
        let folder = place::staging(&self.folder)?;
        for part in kept {
            place::link(part, folder.path())?;
        }
        Ok(Staged { set: self, folder, parts: 0, open: None })
    }
}

/// The new state, which nobody sees yet.
#[derive(Debug)]
pub struct Staged<'s> {
    set: &'s DataSet,
    folder: TempDir,
    parts: usize,
    open: Option<(Writer<File>, usize)>,
}

impl Staged<'_> {
    /// Adds rows.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&mut self, batch: Batch) -> Result<(), DataSetError> {
        let (mut writer, before) = match self.open.take() {
            Some(open) => open,
            None => (self.begin()?, 0),
        };
        let documents = before + batch.documents();
        writer.write(batch)?;
        if documents >= self.set.part_documents {
            close(writer)?;
        } else {
            self.open = Some((writer, documents));
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Writer<File>, DataSetError> {
        // No two states have a part of one name: readers may hold the old ones open.
        let stamp = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
        let stamp: String = stamp.chars().rev().take(8).collect();
        let path = self.folder.path().join(format!("part-{stamp}-{:05}.parquet", self.parts));
        self.parts += 1;
        let facts = [(ASKED, self.set.asked.clone())];
        Ok(Writer::new(Format::Parquet, self.set.columns.clone(), &facts, File::create_new(path)?)?)
    }

    /// Makes it the state of the data set.
    ///
    /// # Errors
    /// What the file system says; then the old state stands.
    pub fn publish(mut self) -> Result<(), DataSetError> {
        match self.open.take() {
            Some((writer, _)) => close(writer)?,
            // A data set without documents has its columns all the same.
            None if place::parts(self.folder.path())?.is_empty() => close(self.begin()?)?,
            None => {}
        }
        place::exchange(self.folder, &self.set.folder)
    }
}

fn close(writer: Writer<File>) -> Result<(), DataSetError> {
    Ok(writer.finish()?.sync_all()?)
}
