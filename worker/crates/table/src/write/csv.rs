//! Comma-separated values.

use std::fmt::{self, Write as _};
use std::io::Write;

use csv::{ByteRecord, WriterBuilder};

use super::error::WriteError;
use crate::batch::Batch;
use crate::cell::{Cell, moment};
use crate::column::Column;

pub struct CsvTable<W: Write> {
    columns: Vec<Column>,
    writer: csv::Writer<W>,
}

impl<W: Write> fmt::Debug for CsvTable<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvTable").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<W: Write> CsvTable<W> {
    pub(super) fn new(columns: Vec<Column>, output: W) -> Result<Self, WriteError> {
        let mut writer = WriterBuilder::new().buffer_capacity(1 << 16).from_writer(output);
        writer.write_record(columns.iter().map(|column| column.name.as_bytes()))?;
        Ok(Self { columns, writer })
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let mut record = ByteRecord::new();
        let mut text = String::new();
        let writer = &mut self.writer;
        batch.each_row(&self.columns, |cells| {
            record.clear();
            for cell in cells {
                text.clear();
                record.push_field(field(cell, &mut text).as_bytes());
            }
            writer.write_byte_record(&record)
        })?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<W, WriteError> {
        self.writer.into_inner().map_err(|error| WriteError::Io(error.into_error()))
    }
}

fn field<'c>(cell: &'c Cell, text: &'c mut String) -> &'c str {
    let _infallible = match cell {
        Cell::Null => Ok(()),
        Cell::Text(said) | Cell::Json(said) => return said,
        Cell::Integer(number) => write!(text, "{number}"),
        Cell::Number(number) => write!(text, "{number}"),
        Cell::Single(number) => write!(text, "{number}"),
        Cell::Flag(flag) => write!(text, "{flag}"),
        Cell::Time(micros) => write!(text, "{}", moment(*micros)),
    };
    text
}
