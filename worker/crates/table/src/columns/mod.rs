//! Which columns there are: one table for each part of a document.

mod document;
mod facts;
mod items;

use crate::cell::Cell;
use crate::column::{Column, Level, Located};

pub(crate) use self::items::{COMPONENT, FINDING, Item, MEASUREMENT, Of, OfItem, SEGMENT, SHARED, items};

/// The columns that every form has, of the document as a whole.
pub(crate) fn of_document() -> Vec<Column> {
    let fixed = document::COLUMNS.iter().map(|of| of.head.column(of.head.name, Level::Document));
    fixed.chain(facts::columns()).collect()
}

/// Their cells, in the same order.
pub(crate) fn document_cells(located: &Located<'_>, cells: &mut Vec<Cell>) {
    cells.extend(document::COLUMNS.iter().map(|of| (of.cell)(*located)));
    facts::cells(located.document, cells);
}
