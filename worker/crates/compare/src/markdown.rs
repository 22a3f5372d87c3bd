//! A page as Markdown with the tables of GitHub's flavour.

use std::fmt::Write;

use super::page::{Block, Page, Table};

/// The page, ending with a line break.
pub fn markdown(page: &Page) -> String {
    let mut text = format!("# {}\n", escaped(&page.title));
    for block in &page.blocks {
        let _infallible = match block {
            Block::Heading(heading) => writeln!(text, "\n## {}", escaped(heading)),
            Block::Text(paragraph) => writeln!(text, "\n{}", escaped(paragraph)),
            Block::Table(table) => write!(text, "\n{}", rows(table)),
            Block::Chart(_) => Ok(()),
        };
    }
    let _infallible = writeln!(text, "\n{}", escaped(&page.notice));
    text
}

fn rows(table: &Table) -> String {
    let columns = 0..table.header.len();
    let mut text = line(table.header.iter().map(|cell| escaped(cell)));
    text.push_str(&line(columns.map(|n| if n < table.numbers_from { "---" } else { "--:" }.to_owned())));
    for row in &table.rows {
        text.push_str(&line(row.iter().map(|cell| escaped(cell))));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Text that means nothing to Markdown: every sign of ASCII behind a backslash, but those that mean nothing inside a line.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let is_plain = matches!(character, '-' | '.' | ',' | '/' | '%' | '+' | ';' | '\'' | '(' | ')' | '?');
        match character {
            // A backslash does not keep addresses from becoming links.
            ':' => safe.push_str("&#58;"),
            '@' => safe.push_str("&#64;"),
            _ if character.is_ascii_punctuation() && !is_plain => safe.extend(['\\', character]),
            _ => safe.push(character),
        }
    }
    // What begins a list or a heading only does so at the beginning of a line.
    match safe.chars().next() {
        Some('-' | '+') => format!("\\{safe}"),
        _ => safe,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;
    use crate::page::visible;

    /// The cells of the one table, as a reader of Markdown has them.
    fn cells(text: &str) -> Vec<String> {
        let (mut cells, mut is_inside) = (Vec::new(), false);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
            match event {
                Event::Start(Tag::TableCell) => {
                    is_inside = true;
                    cells.push(String::new());
                }
                Event::End(TagEnd::TableCell) => is_inside = false,
                Event::Text(text) if is_inside => cells.last_mut().expect("a cell").push_str(&text),
                Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow)
                | Event::End(TagEnd::Table | TagEnd::TableHead | TagEnd::TableRow) => {}
                other => panic!("{other:?} of {text}"),
            }
        }
        cells
    }

    fn table(name: &str) -> Table {
        let mut table = Table::new(&["study", "n"], 1);
        table.row(&[name.to_owned(), "1".to_owned()]);
        table
    }

    #[test]
    fn a_hostile_name_is_text() {
        for name in [
            "<script>alert(1)</script>",
            "a | b \\| c \\\\| d",
            "[x](https://example.org) https://example.org www.example.org a@example.org",
            "`code` **bold** _it_ ~~out~~ &amp; &#60; # 1. - +",
            "line\nbreak\r\u{202e}gnp",
        ] {
            assert_eq!(cells(&rows(&table(name))), ["study", "n", &visible(name), "1"]);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_text(name in "[ -~\n|\\\\`<>&*_]{1,30}") {
            let found = cells(&rows(&table(&name)));
            let shown = visible(&name);
            prop_assert_eq!(&found[..], ["study", "n", shown.trim(), "1"]);
        }
    }
}
