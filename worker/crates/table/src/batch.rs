//! The cells of some documents, column by column.

use crate::cell::Cell;
use crate::column::{Column, Level};

/// Cells of some documents. What a document says once is held once, however many rows it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The rows of each document.
    pub(crate) runs: Vec<u32>,
    /// A cell for each document, or for each row, by the column's level.
    pub(crate) columns: Vec<Vec<Cell>>,
}

impl Batch {
    pub fn new(columns: &[Column]) -> Self {
        Self { runs: Vec::new(), columns: vec![Vec::new(); columns.len()] }
    }

    pub fn documents(&self) -> usize {
        self.runs.len()
    }

    pub fn rows(&self) -> usize {
        self.runs.iter().map(|rows| *rows as usize).sum()
    }

    pub(crate) fn cells(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.runs.append(&mut other.runs);
        for (own, mut theirs) in self.columns.iter_mut().zip(other.columns) {
            own.append(&mut theirs);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.columns.iter_mut().for_each(Vec::clear);
    }

    /// Hands each row over: for each column its cell.
    pub(crate) fn each_row<E>(
        &self,
        columns: &[Column],
        mut take: impl FnMut(&[&Cell]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cells: Vec<&Cell> = Vec::with_capacity(columns.len());
        let mut row = 0;
        for (document, rows) in self.runs.iter().enumerate() {
            for _ in 0..*rows {
                cells.clear();
                cells.extend(columns.iter().zip(&self.columns).map(|(column, values)| {
                    &values[if column.level == Level::Document { document } else { row }]
                }));
                take(&cells)?;
                row += 1;
            }
        }
        Ok(())
    }
}
