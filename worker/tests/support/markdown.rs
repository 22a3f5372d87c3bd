//! The Markdown files of a checkout: what they link to, what can be linked to in them, and what they show as code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use walkdir::WalkDir;

/// One file.
#[derive(Debug, Default)]
pub struct Page {
    /// Destinations of links and images, as written.
    pub links: Vec<String>,
    /// Of its headings, as forges and mdBook make them.
    pub anchors: BTreeSet<String>,
    /// Language and text of its code; without a language, code within a sentence.
    pub code: Vec<(Option<String>, String)>,
}

/// Every page below `root` by its path there, but for what is built, fetched or hidden.
pub fn pages(root: &Path) -> BTreeMap<PathBuf, Page> {
    let entries = WalkDir::new(root).into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        let hidden = name.starts_with('.') && name != ".github" && entry.depth() > 0;
        !hidden && !["target", "node_modules", "out", "dist"].contains(&name.as_ref())
    });
    let files =
        entries.map(Result::unwrap).filter(|entry| entry.path().extension().is_some_and(|e| e == "md"));
    files
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            (entry.path().strip_prefix(root).unwrap().to_owned(), page(&text))
        })
        .collect()
}

fn page(text: &str) -> Page {
    let mut page = Page::default();
    let (mut heading, mut block): (Option<String>, Option<(String, String)>) = (None, None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap());
                let same = (1..).map(|n| format!("{anchor}-{n}"));
                let free =
                    std::iter::once(anchor.clone()).chain(same).find(|name| !page.anchors.contains(name));
                page.anchors.insert(free.unwrap());
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some((language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                let (language, text) = block.take().unwrap();
                page.code.push((Some(language), text));
            }
            Event::Text(text) => match (&mut block, &mut heading) {
                (Some((_, code)), _) => code.push_str(&text),
                (None, Some(heading)) => heading.push_str(&text),
                (None, None) => {}
            },
            Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
                page.code.push((None, text.into_string()));
            }
            _ => {}
        }
    }
    page
}

/// Letters, digits, hyphens and underscores, in lower case; blanks become hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}
