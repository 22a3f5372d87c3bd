//! What the parts of a data set hold, and which of them stay.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use super::error::{ASKED, DataSetError};
use super::place;

/// So many small parts are left beside each other.
const MOST_SMALL: usize = 8;

/// Parts with fewer documents are small.
const SMALL_DOCUMENTS: usize = 10_000;

/// Rows that are looked at in one go.
const ROWS: usize = 1 << 16;

/// A document in a part: its name and its version, as digests. 32 bytes, so that a million are 32 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    name: [u64; 2],
    etag: u64,
    part: u32,
}

#[derive(Debug)]
pub(super) struct Part {
    pub path: PathBuf,
    pub documents: usize,
}

impl Part {
    /// Small parts are put together when there are many.
    fn is_small(&self) -> bool {
        self.documents < SMALL_DOCUMENTS
    }
}

/// The parts that may stay, and the documents in them by their names.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub parts: Vec<Part>,
    marks: Vec<Mark>,
}

impl Known {
    /// Reads the parts of a folder. Nothing is known of one that has other columns, or was made for another wish.
    ///
    /// # Errors
    /// Refused where something is no part of a data set.
    pub fn read(folder: &Path, columns: &[&str], asked: &str) -> Result<Self, DataSetError> {
        let mut known = Self::default();
        for path in place::parts(folder)? {
            let reader = SerializedFileReader::new(File::open(&path)?);
            let reader = reader.map_err(|error| refused(&path, &error.to_string()))?;
            let metadata = reader.metadata().file_metadata();
            let facts = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
            let Some(fact) = facts.iter().find(|fact| fact.key == ASKED) else {
                return Err(refused(&path, "it is no part of a data set that Nightread made"));
            };
            let fields = metadata.schema_descr().columns();
            let is_same = fields.iter().map(|field| field.name()).eq(columns.iter().copied());
            if !is_same || fact.value.as_deref() != Some(asked) {
                return Ok(Self::default());
            }
            let number = known.parts.len() as u32;
            let before = known.marks.len();
            marks(&reader, columns, number, &mut known.marks)?;
            known.parts.push(Part { path, documents: known.marks.len() - before });
        }
        known.marks.sort_unstable();
        Ok(known)
    }

    fn find(&self, path: &str) -> Option<usize> {
        let name = digest(path);
        let at = self.marks.partition_point(|mark| mark.name < name);
        self.marks.get(at).filter(|mark| mark.name == name).map(|_| at)
    }
}

fn refused(path: &Path, why: &str) -> DataSetError {
    DataSetError::Refused(format!("{}: {why}", path.display()))
}

/// Compared within one run only, so that it may differ between versions of the program.
fn digest(text: &str) -> [u64; 2] {
    [0_u8, 1].map(|salt| hashed(&(salt, text)))
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn marks(
    reader: &SerializedFileReader<File>,
    columns: &[&str],
    part: u32,
    marks: &mut Vec<Mark>,
) -> Result<(), DataSetError> {
    let [path, etag] = ["document_path", "document_etag"]
        .map(|wanted| columns.iter().position(|name| *name == wanted).unwrap_or_default());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let mut paths = texts(&*group, path)?;
        let mut etags = texts(&*group, etag)?;
        let mut last: Option<[u64; 2]> = None;
        loop {
            let (some_paths, some_etags) = (next(&mut paths)?, next(&mut etags)?);
            if some_paths.is_empty() || some_paths.len() != some_etags.len() {
                break;
            }
            for (path, etag) in some_paths.iter().zip(&some_etags) {
                let name = digest(path.as_utf8()?);
                // The rows of a document stand together.
                if last != Some(name) {
                    marks.push(Mark { name, etag: hashed(&etag.as_utf8()?), part });
                    last = Some(name);
                }
            }
        }
    }
    Ok(())
}

fn texts(group: &dyn RowGroupReader, column: usize) -> Result<ColumnReaderImpl<ByteArrayType>, ParquetError> {
    match group.get_column_reader(column)? {
        ColumnReader::ByteArrayColumnReader(reader) => Ok(reader),
        _ => Err(ParquetError::General("the column of names has another type".to_owned())),
    }
}

fn next(reader: &mut ColumnReaderImpl<ByteArrayType>) -> Result<Vec<ByteArray>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
    if values.len() == levels.len() {
        Ok(values)
    } else {
        Err(ParquetError::General("a row without a name".to_owned()))
    }
}

/// Compares what is there now with what is known.
#[derive(Debug)]
pub struct Survey {
    known: Arc<Known>,
    as_it_was: Vec<bool>,
}

impl Survey {
    pub(super) fn new(known: Arc<Known>) -> Self {
        let as_it_was = vec![false; known.marks.len()];
        Self { known, as_it_was }
    }

    /// A document is there now, of this version.
    pub fn note(&mut self, path: &str, etag: Option<&str>) {
        if let Some(at) = self.known.find(path) {
            self.as_it_was[at] = etag.is_some_and(|etag| self.known.marks[at].etag == hashed(&etag));
        }
    }

    /// The parts of which every document is as it was, and which of the documents are in them. Many small ones are left out,
    /// to become one.
    pub fn kept(self) -> Kept {
        let mut stays = vec![true; self.known.parts.len()];
        for (mark, as_it_was) in self.known.marks.iter().zip(&self.as_it_was) {
            if !as_it_was {
                stays[mark.part as usize] = false;
            }
        }
        let small: Vec<usize> =
            (0..stays.len()).filter(|part| stays[*part] && self.known.parts[*part].is_small()).collect();
        if small.len() > MOST_SMALL {
            for part in small {
                stays[part] = false;
            }
        }
        // One without documents is there for its columns alone.
        for (part, stays) in self.known.parts.iter().zip(&mut stays) {
            *stays &= part.documents > 0;
        }
        Kept { known: self.known, stays }
    }
}

/// The parts that stay.
#[derive(Debug)]
pub struct Kept {
    known: Arc<Known>,
    stays: Vec<bool>,
}

impl Kept {
    /// Whether a document is in one of them, and need not be read.
    pub fn holds(&self, path: &str) -> bool {
        self.known.find(path).is_some_and(|at| self.stays[self.known.marks[at].part as usize])
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        let parts = self.known.parts.iter().zip(&self.stays);
        parts.filter(|(_, stays)| **stays).map(|(part, _)| part.path.clone()).collect()
    }

    pub fn documents(&self) -> usize {
        let parts = self.known.parts.iter().zip(&self.stays);
        parts.filter(|(_, stays)| **stays).map(|(part, _)| part.documents).sum()
    }
}
