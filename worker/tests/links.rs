//! Links lead somewhere: every one of every Markdown file of the repository, its anchor too, and every page of the book is in its summary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use support::markdown::{Page, pages};

/// What `make docs` builds: its pages may link only to each other, or the book would have links that lead nowhere.
const BOOK: &str = "worker/docs";

#[test]
fn every_link_and_anchor_leads_somewhere_and_every_page_is_in_the_summary() {
    let root = support::repository();
    let pages = pages(&root);
    assert!(pages.len() > 50, "the pages were found: {}", pages.len());
    let links: usize = pages.values().map(|page| page.links.len()).sum();
    assert!(links > 200, "the links were found: {links}");
    let problems = problems(&root, &pages);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn what_leads_nowhere_is_named() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("LICENSE", "");
    write(
        "README.md",
        "# Top\n\n[a](missing.md) [b](#nowhere) [c](worker/docs/one.md#nowhere) [d](LICENSE#part) [e](../outside.md) [f](/etc/passwd)\n\n\
         ![g](missing.png)\n\n[sound](worker/docs/one.md#a-heading-twice-1) [too](#top) [and](https://example.org/x#y) [a folder](worker)\n",
    );
    write("worker/docs/SUMMARY.md", "[One](one.md)\n\n- [Two](two.md)\n- [Two](two.md)\n");
    write(
        "worker/docs/one.md",
        "# One\n\n## A heading, `twice`\n\n## A heading, twice\n\n[out of the book](../../README.md)\n",
    );
    write("worker/docs/two.md", "# Two\n\n`[no link](missing.md)`\n\n```\n[nor this](missing.md)\n```\n");
    write("worker/docs/three.md", "# Three\n\n[a folder](images)\n");
    write("worker/docs/images/x.png", "");
    let found = problems(root.path(), &pages(root.path()));
    let expected = [
        "README.md: missing.md is not there",
        "README.md: #nowhere is no heading of README.md",
        "README.md: worker/docs/one.md#nowhere is no heading of worker/docs/one.md",
        "README.md: LICENSE#part is no heading of LICENSE",
        "README.md: ../outside.md leads out of the repository",
        "README.md: /etc/passwd leads out of the repository",
        "README.md: missing.png is not there",
        "worker/docs/one.md: ../../README.md leads out of the book",
        "worker/docs/three.md: images is no page of the book",
        "worker/docs/three.md is 0 times in the summary",
        "worker/docs/two.md is 2 times in the summary",
    ];
    assert_eq!(found, expected);
}

fn problems(root: &Path, pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, page) in pages {
        let relative = page.links.iter().filter(|link| !is_absolute(link));
        let found = relative.filter_map(|link| problem(root, pages, path, link));
        problems.extend(found.map(|found| format!("{}: {found}", path.display())));
    }
    let summary = Path::new(BOOK).join("SUMMARY.md");
    for path in pages.keys().filter(|path| path.starts_with(BOOK) && **path != summary) {
        let name = path.strip_prefix(BOOK).unwrap();
        let times = pages[&summary].links.iter().filter(|link| Path::new(link) == name).count();
        if times != 1 {
            problems.push(format!("{} is {times} times in the summary", path.display()));
        }
    }
    problems
}

/// Whether the link names a host or a person.
fn is_absolute(link: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

fn problem(root: &Path, pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let Some(target) = resolved(from, file) else {
        return Some(format!("{link} leads out of the repository"));
    };
    if from.starts_with(BOOK) {
        if !target.starts_with(BOOK) {
            return Some(format!("{link} leads out of the book"));
        }
        if root.join(&target).is_dir() {
            return Some(format!("{link} is no page of the book"));
        }
    }
    if !root.join(&target).exists() {
        return Some(format!("{link} is not there"));
    }
    let is_heading = |anchor| pages.get(&target).is_some_and(|page| page.anchors.contains(anchor));
    anchor
        .filter(|anchor| !is_heading(*anchor))
        .map(|_| format!("{link} is no heading of {}", target.display()))
}

/// The file below the repository's top that a relative link from a page means; an empty one means the page.
fn resolved(from: &Path, file: &str) -> Option<PathBuf> {
    if file.is_empty() {
        return Some(from.to_owned());
    }
    let mut path = from.parent()?.to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}
