//! What is shown of a comparison, before it is text, Markdown or HTML.

use super::reliability_chart::ReliabilityChart;

/// A page in order. All text in it is visible: what would hide or turn text around is written out.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub title: String,
    pub blocks: Vec<Block>,
    /// Said at the end of every page.
    pub notice: String,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Heading(String),
    Text(String),
    Table(Table),
    /// Shown where there are images; a table beside it has the same figures.
    Chart(ReliabilityChart),
}

/// Rows of text under a heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub header: Vec<String>,
    /// Each as long as the header.
    pub rows: Vec<Vec<String>>,
    /// The first column of numbers, which are set to the right; all after it are numbers too.
    pub numbers_from: usize,
}

impl Table {
    pub(crate) fn new(header: &[&str], numbers_from: usize) -> Self {
        Self { header: header.iter().map(|name| visible(name)).collect(), rows: Vec::new(), numbers_from }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.rows.push(cells.iter().map(|cell| visible(cell)).collect());
    }
}

impl Page {
    pub(crate) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(visible(text)));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.blocks.push(Block::Text(visible(text)));
    }

    /// Leaves an empty table out.
    pub(crate) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }
}

/// Text from outside: what would move a cursor, hide itself, or turn words around is written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_format(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Invisible, or changing the direction of what follows.
const fn is_format(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// With so many decimals; a dash where it is undefined.
pub(crate) fn fixed(number: Option<f64>, decimals: usize) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.decimals$}"))
}

/// As [`fixed`], with its sign; what is 0 with so many decimals has none.
pub(crate) fn signed(number: Option<f64>, decimals: usize) -> String {
    let Some(number) = number else { return fixed(None, decimals) };
    let text = format!("{number:+.decimals$}");
    if text.contains(|digit: char| ('1'..='9').contains(&digit)) { text } else { fixed(Some(0.0), decimals) }
}
