//! Folders that stand for containers.

use std::path::Path;

use super::{BATCH, Batch, Named, Out, Place, Position, blob_of};
use crate::adapters::storage::folder::reachable;
use crate::services::announce::filter::Facts;
use crate::services::walk::{Found, Names, Walk};
use anyhow::{Context, Result};

/// In the order of whole names. Which of them are wanted is judged later, as for every other source.
pub(super) fn run(root: &Path, places: &[Place], from: &Position, out: &Out) -> Result<()> {
    for (part, place) in places.iter().enumerate().skip(from.part) {
        let root = root.join(&place.container);
        let inner = place.prefix.rsplit_once('/').map_or("", |(inner, _)| inner);
        let start = root.join(inner);
        let after = from.after.as_deref().filter(|_| part == from.part);
        let mut batch = Batch::default();
        if !start.is_dir() && !inner.is_empty() {
            continue;
        }
        let names = Names::everything();
        for found in Walk::new(&root, &start, &names, None) {
            let file = match found {
                Found::File(file) => file,
                Found::Unreadable(error) => {
                    return Err(error).with_context(|| format!("cannot list {}", start.display()));
                }
                Found::NoStudy | Found::LinkedFolder | Found::LeftOut => continue,
            };
            let Some(blob) = blob_of(&place.container, &root, &file) else {
                batch.refused += 1;
                continue;
            };
            if !blob.name().starts_with(&place.prefix) || after.is_some_and(|after| blob.name() <= after) {
                continue;
            }
            // What has gone since, and a link that no worker may follow, is not there to be announced.
            let Ok(properties) = reachable(&root, blob.name()) else {
                batch.ignored += 1;
                continue;
            };
            batch.position = Position { part, after: Some(blob.name().to_owned()), ..Position::default() };
            let facts = Facts { bytes: Some(properties.bytes), modified: Some(properties.last_modified) };
            batch.found.push(Named { blob, etag: Some(properties.etag), facts });
            if batch.found.len() == BATCH && out.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return Ok(());
            }
        }
        batch.position = Position { part: part + 1, ..Position::default() };
        if out.blocking_send(Ok(batch)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, prefix: &str, from: &Position) -> Vec<String> {
        let (out, mut batches) = tokio::sync::mpsc::channel(100);
        let place = Place { container: "incoming".to_owned(), prefix: prefix.to_owned() };
        run(root, &[place], from, &out).expect("a listing");
        drop(out);
        let mut names = Vec::new();
        while let Some(batch) = batches.blocking_recv() {
            names
                .extend(batch.expect("no error").found.into_iter().map(|named| named.blob.name().to_owned()));
        }
        names
    }

    #[test]
    fn names_come_in_the_order_of_whole_names() {
        let root = tempfile::tempdir().expect("a folder");
        let mut expected = ["a-b", "a/b", "a/c/d", "a.png", "a0", "b"].map(str::to_owned).to_vec();
        for name in &expected {
            let path = root.path().join("incoming").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, b"x").expect("a file");
        }
        std::fs::write(root.path().join("incoming/.hidden"), b"x").expect("a file");
        expected.sort();
        let all = names(root.path(), "", &Position::default());
        assert_eq!(all, expected);
        assert_eq!(names(root.path(), "a/", &Position::default()), ["a/b", "a/c/d"]);
        assert_eq!(names(root.path(), "nowhere/", &Position::default()), Vec::<String>::new());
        for (done, after) in expected.iter().enumerate() {
            let from = Position { after: Some(after.clone()), ..Position::default() };
            assert_eq!(names(root.path(), "", &from), expected[done + 1..]);
        }
    }
}
