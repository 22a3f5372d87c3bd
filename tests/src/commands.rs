//! The commands that the documents print, taken from the Markdown itself.

use crate::parts::root;

/// What stands in a block, as its first line, when no test can run it. Readers see it too.
const UNTRIED: &str = "# Not run by the tests: ";

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The document and the line, for messages.
    pub place: String,
    /// Why no test runs it.
    pub untried: Option<String>,
    /// Without comments behind them.
    pub lines: Vec<String>,
}

/// Every block of this language in a document of the checkout.
pub fn blocks(document: &str, language: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(document)).expect("the document");
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    let mut other = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(fence) = line.strip_prefix("```") {
            match open.take() {
                Some(block) => found.push(block),
                None if other => other = false,
                None if fence == language => {
                    let place = format!("{document}:{}", number + 2);
                    open = Some(Block { place, untried: None, lines: Vec::new() });
                }
                None => other = true,
            }
        } else if let Some(block) = &mut open {
            if let Some(reason) = line.strip_prefix(UNTRIED) {
                block.untried = Some(reason.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                block.lines.push(line.to_owned());
            }
        }
    }
    assert!(open.is_none() && !other, "{document} closes its blocks");
    found
}

/// A line of shell without the comment behind it.
pub fn command(line: &str) -> &str {
    line.split(" #").next().unwrap_or(line).trim()
}
