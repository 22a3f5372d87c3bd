//! Pages for a terminal.

use comfy_table::{Cell, CellAlignment};
use nightread_compare::{Block, Page, Table};

use super::table::table_under;

/// The page as text. All that it says is visible already.
pub(crate) fn text(page: &Page) -> String {
    let mut parts = vec![page.title.clone()];
    for block in &page.blocks {
        match block {
            Block::Heading(heading) => parts.push(format!("\n{heading}")),
            Block::Text(paragraph) => parts.push(paragraph.clone()),
            Block::Table(table) => parts.push(rows(table)),
            Block::Chart(_) => {}
        }
    }
    parts.push(format!("\n{}", page.notice));
    parts.join("\n")
}

fn rows(table: &Table) -> String {
    let mut shown = table_under(aligned(table, &table.header));
    for row in &table.rows {
        shown.add_row(aligned(table, row));
    }
    shown.to_string()
}

/// A row's cells: numbers to the right.
fn aligned(table: &Table, row: &[String]) -> Vec<Cell> {
    let cells = row.iter().enumerate().map(|(column, text)| {
        let is_number = column >= table.numbers_from;
        Cell::new(text).set_alignment(if is_number { CellAlignment::Right } else { CellAlignment::Left })
    });
    cells.collect()
}
