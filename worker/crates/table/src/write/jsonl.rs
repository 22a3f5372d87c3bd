//! JSON lines.

use std::fmt;
use std::io::{BufWriter, Write};

use serde::Serialize;

use super::error::WriteError;
use crate::batch::Batch;
use crate::cell::{Cell, moment};
use crate::column::Column;

pub struct JsonLines<W: Write> {
    columns: Vec<Column>,
    /// Before each value: what opens the object or parts it from the one before, and its name.
    names: Vec<String>,
    writer: BufWriter<W>,
}

impl<W: Write> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(columns: Vec<Column>, output: W) -> Self {
        let before = std::iter::once('{').chain(std::iter::repeat(','));
        let names = before
            .zip(&columns)
            .map(|(before, column)| format!("{before}{}:", serde_json::Value::from(column.name.as_str())));
        let names = names.collect();
        Self { columns, names, writer: BufWriter::with_capacity(1 << 16, output) }
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let (names, writer) = (&self.names, &mut self.writer);
        let mut line = Vec::new();
        batch.each_row(&self.columns, |cells| {
            line.clear();
            for (name, cell) in names.iter().zip(cells) {
                line.extend_from_slice(name.as_bytes());
                value(cell, &mut line)?;
            }
            line.extend_from_slice(b"}\n");
            writer.write_all(&line)
        })?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<W, WriteError> {
        self.writer.into_inner().map_err(|error| WriteError::Io(error.into_error()))
    }
}

fn value(cell: &Cell, line: &mut Vec<u8>) -> std::io::Result<()> {
    match cell {
        Cell::Null => line.extend_from_slice(b"null"),
        Cell::Json(text) => line.extend_from_slice(text.as_bytes()),
        Cell::Text(text) => push(text, line)?,
        Cell::Integer(number) => push(number, line)?,
        Cell::Number(number) => push(number, line)?,
        Cell::Single(number) => push(number, line)?,
        Cell::Flag(flag) => push(flag, line)?,
        Cell::Time(micros) => push(&moment(*micros), line)?,
    }
    Ok(())
}

fn push<T: Serialize + ?Sized>(value: &T, line: &mut Vec<u8>) -> std::io::Result<()> {
    serde_json::to_writer(line, value).map_err(Into::into)
}
