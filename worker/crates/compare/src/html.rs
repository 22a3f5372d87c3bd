//! A page as one HTML file: no script, no address, nothing from elsewhere.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::HtmlEscape;
use sha2::{Digest, Sha256};

use super::page::{Block, Page, Table};

/// The only style that the page's policy lets in, by its digest.
const STYLE: &str = include_str!("page.css");

/// The page. Whatever it says is text: names are hostile.
pub fn html(page: &Page) -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    let title = HtmlEscape(&page.title);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for block in &page.blocks {
        let _infallible = match block {
            Block::Heading(heading) => writeln!(text, "<h2>{}</h2>", HtmlEscape(heading)),
            Block::Text(paragraph) => writeln!(text, "<p>{}</p>", HtmlEscape(paragraph)),
            Block::Table(table) => write!(text, "{}", rows(table)),
            Block::Chart(chart) => {
                let label = HtmlEscape(&chart.label).to_string();
                writeln!(text, "<figure>{}<figcaption>{label}</figcaption></figure>", chart.svg(&label))
            }
        };
    }
    let _infallible =
        write!(text, "</main>\n<footer>{}</footer>\n</body>\n</html>\n", HtmlEscape(&page.notice));
    text
}

/// Wide tables scroll by themselves, and by keyboard.
fn rows(table: &Table) -> String {
    let mut text =
        "<div class=\"wide\" role=\"group\" aria-label=\"table\" tabindex=\"0\"><table>\n<thead><tr>"
            .to_owned();
    for (column, cell) in table.header.iter().enumerate() {
        let _infallible = write!(text, "<th scope=\"col\"{}>{}</th>", class(table, column), HtmlEscape(cell));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _infallible = write!(text, "<td{}>{}</td>", class(table, column), HtmlEscape(cell));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
    text
}

/// Of a cell: numbers are set to the right.
fn class(table: &Table, column: usize) -> &'static str {
    if column < table.numbers_from { "" } else { " class=\"n\"" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_text() {
        let mut page = Page { title: "<b>".to_owned(), blocks: Vec::new(), notice: "&".to_owned() };
        let mut table = Table::new(&["study"], 1);
        table.row(&["</td><script>alert('1')</script>\"\u{202e}".to_owned()]);
        page.table(table);
        page.text("<img src=x onerror=alert(1)>");
        let text = html(&page);
        assert!(text.contains(
            "<td>&lt;&#x2f;td&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;&#x2f;script&gt;&quot;\\u{202e}</td>"
        ));
        assert!(
            text.contains("<p>&lt;img src=x onerror=alert(1)&gt;</p>") && text.contains("<h1>&lt;b&gt;</h1>")
        );
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("http:"), "{text}");
        assert!(!text.contains("https:") && !text.contains(" style=") && !text.contains("unsafe"), "{text}");
    }
}
