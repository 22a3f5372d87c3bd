//! Parquet, with Snappy.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::error::WriteError;
use crate::batch::Batch;
use crate::cell::{Cell, Kind};
use crate::column::{Column, Level};

/// A row group is closed when this many cells are held: some 40 MiB with their texts.
const GROUP_CELLS: usize = 1 << 20;

/// Names of documents and digests differ from study to study; a dictionary holds those of a group.
const DICTIONARY_BYTES: usize = 4 << 20;

/// Fields whose values are hardly ever the same twice: a dictionary of them is of no use.
const UNLIKE: [&str; 2] = ["findings[].probability", "findings[].logit"];

pub struct ParquetTable<W: Write + Send> {
    columns: Vec<Column>,
    writer: SerializedFileWriter<W>,
    held: Batch,
}

impl<W: Write + Send> fmt::Debug for ParquetTable<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetTable").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetTable<W> {
    pub(super) fn new(columns: Vec<Column>, facts: &[(&str, String)], output: W) -> Result<Self, WriteError> {
        let facts = facts.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let facts: Vec<KeyValue> = facts.collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            // polars before 2 does not read an empty list.
            .set_key_value_metadata(Some(facts).filter(|facts| !facts.is_empty()))
            .set_created_by(format!("nightread {}", env!("CARGO_PKG_VERSION")));
        for column in &columns {
            let path = ColumnPath::new(vec![column.name.clone()]);
            if UNLIKE.contains(&column.field) {
                properties = properties.set_column_dictionary_enabled(path, false);
            } else if matches!(column.kind, Kind::Text | Kind::Json) {
                // Comparing texts takes a tenth of the time, and few look for a range of them.
                properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
            }
        }
        let properties = properties.build();
        let writer = SerializedFileWriter::new(output, schema(&columns)?, Arc::new(properties))?;
        let held = Batch::new(&columns);
        Ok(Self { columns, writer, held })
    }

    pub(super) fn write(&mut self, batch: Batch) -> Result<(), WriteError> {
        self.held.append(batch);
        if self.held.cells() >= GROUP_CELLS { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), WriteError> {
        let mut group = self.writer.next_row_group()?;
        for (column, cells) in self.columns.iter().zip(&mut self.held.columns) {
            let Some(mut writer) = group.next_column()? else { break };
            let runs = (column.level == Level::Document).then_some(self.held.runs.as_slice());
            write_column(column.kind, cells, runs, &mut writer)?;
            writer.close()?;
        }
        group.close()?;
        self.held.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, WriteError> {
        if self.held.documents() > 0 {
            self.close_group()?;
        }
        Ok(self.writer.into_inner()?)
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("nightread").with_fields(fields).build().map(Arc::new)
}

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text | Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Number => (Physical::DOUBLE, None),
        Kind::Single => (Physical::FLOAT, None),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    let field = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    field.build().map(Arc::new)
}

/// Writes cells; those of documents as often as each has rows.
fn write_column(
    kind: Kind,
    cells: &mut [Cell],
    runs: Option<&[u32]>,
    writer: &mut SerializedColumnWriter<'_>,
) -> Result<(), ParquetError> {
    match kind {
        Kind::Text | Kind::Json => write_values::<ByteArrayType>(cells, runs, writer, |cell| match cell {
            Cell::Text(text) | Cell::Json(text) => Some(ByteArray::from(std::mem::take(text).into_bytes())),
            _ => None,
        }),
        Kind::Integer | Kind::Time => write_values::<Int64Type>(cells, runs, writer, |cell| match cell {
            Cell::Integer(number) | Cell::Time(number) => Some(*number),
            _ => None,
        }),
        Kind::Number => write_values::<DoubleType>(cells, runs, writer, |cell| match cell {
            Cell::Number(number) => Some(*number),
            _ => None,
        }),
        Kind::Single => write_values::<FloatType>(cells, runs, writer, |cell| match cell {
            Cell::Single(number) => Some(*number),
            _ => None,
        }),
        Kind::Flag => write_values::<BoolType>(cells, runs, writer, |cell| match cell {
            Cell::Flag(flag) => Some(*flag),
            _ => None,
        }),
    }
}

fn write_values<T: DataType>(
    cells: &mut [Cell],
    runs: Option<&[u32]>,
    writer: &mut SerializedColumnWriter<'_>,
    take: impl Fn(&mut Cell) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let mut values = Vec::new();
    let mut levels = Vec::new();
    for (place, cell) in cells.iter_mut().enumerate() {
        let rows = runs.and_then(|runs| runs.get(place)).map_or(1, |rows| *rows as usize);
        let value = take(cell);
        levels.extend(std::iter::repeat_n(i16::from(value.is_some()), rows));
        if let Some(value) = value {
            values.extend(std::iter::repeat_n(value, rows));
        }
    }
    writer.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}
