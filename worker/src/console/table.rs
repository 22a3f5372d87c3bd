//! Tables for people.

use comfy_table::{Cell, ContentArrangement, Row, Table, presets};

/// A table that fits the terminal.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    table_under(header)
}

/// As [`table`], where the columns are not known before.
pub(crate) fn table_under<T: Into<Cell>>(header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(Row::from(header));
    table
}

/// Text from outside, for one line of a terminal: what would move its cursor or turn its words around is written out.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    text.chars()
        .map(
            |character| {
                if is_plain(character) {
                    character.to_string()
                } else {
                    character.escape_default().to_string()
                }
            },
        )
        .collect()
}

fn is_plain(character: char) -> bool {
    !character.is_control() && !is_format(character)
}

/// Invisible, or changing the direction of what follows.
const fn is_format(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_from_outside_moves_a_terminal() {
        assert_eq!(shown("scan ü.dcm"), "scan ü.dcm");
        assert_eq!(shown("a\x1b[2Jb\r\n\u{9b}c"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c");
        assert_eq!(shown("a\u{202e}gnp.exe"), "a\\u{202e}gnp.exe");
    }
}
