//! Batches as files.

mod csv;
mod error;
mod jsonl;
mod parquet;

use std::io::Write;

pub use self::error::WriteError;
use crate::batch::Batch;
use crate::column::Column;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    /// By RFC 4180 with a header; null is an empty field.
    Csv,
    /// A JSON object a line, with every column.
    Jsonl,
}

/// Writes batches one after another.
#[derive(Debug)]
pub enum Writer<W: Write + Send> {
    Parquet(Box<parquet::ParquetTable<W>>),
    Csv(Box<csv::CsvTable<W>>),
    Jsonl(jsonl::JsonLines<W>),
}

impl<W: Write + Send> Writer<W> {
    /// Begins a table. `facts` are kept in a Parquet file's footer.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(
        format: Format,
        columns: Vec<Column>,
        facts: &[(&str, String)],
        output: W,
    ) -> Result<Self, WriteError> {
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(parquet::ParquetTable::new(columns, facts, output)?)),
            Format::Csv => Self::Csv(Box::new(csv::CsvTable::new(columns, output)?)),
            Format::Jsonl => Self::Jsonl(jsonl::JsonLines::new(columns, output)),
        })
    }

    /// Adds a batch of the same columns.
    ///
    /// # Errors
    /// What the output says.
    pub fn write(&mut self, batch: Batch) -> Result<(), WriteError> {
        match self {
            Self::Parquet(table) => table.write(batch),
            Self::Csv(table) => table.write(&batch),
            Self::Jsonl(table) => table.write(&batch),
        }
    }

    /// Ends the table, and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(self) -> Result<W, WriteError> {
        match self {
            Self::Parquet(table) => table.finish(),
            Self::Csv(table) => table.finish(),
            Self::Jsonl(table) => table.finish(),
        }
    }
}
