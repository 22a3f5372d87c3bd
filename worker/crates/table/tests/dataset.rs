//! A data set after any history is what a full rebuild gives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use nightread_domain::ResultDocument;
use nightread_table::{Batch, DataSet, DataSetError, Form, Located};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

/// Documents by their names, each with its version.
type Store = BTreeMap<String, u32>;

fn open(folder: &Path) -> DataSet {
    DataSet::open(folder, Form::Long.columns(), "everything".to_owned()).unwrap().with_part_documents(3)
}

/// As the command does it. Gives how many documents were read.
fn update(folder: &Path, store: &Store) -> usize {
    let set = open(folder);
    let mut survey = set.survey();
    for (name, version) in store {
        survey.note(name, Some(&version.to_string()));
    }
    let kept = survey.kept();
    let mut staged = set.stage(&kept.paths()).unwrap();
    let mut read = 0;
    for (name, version) in store.iter().filter(|(name, _)| !kept.holds(name)) {
        staged.write(batch(name, *version)).unwrap();
        read += 1;
    }
    staged.publish().unwrap();
    read
}

fn batch(name: &str, version: u32) -> Batch {
    let kind = support::Kind::ALL[version as usize % 4];
    let document: ResultDocument = serde_json::from_value(support::document(name, kind, version)).unwrap();
    let mut batch = Batch::new(&Form::Long.columns());
    let located = Located { path: name, etag: &version.to_string(), document: &document };
    Form::Long.add(&located, &mut batch).unwrap();
    batch
}

/// All rows, in no order.
fn rows(folder: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let reader = SerializedFileReader::new(File::open(entry.unwrap().path()).unwrap()).unwrap();
        rows.extend(reader.get_row_iter(None).unwrap().map(|row| format!("{:?}", row.unwrap())));
    }
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_as_a_full_rebuild(
        history in proptest::collection::vec(
            proptest::collection::vec((0..12_u8, proptest::option::weighted(0.75, 0..40_u32)), 0..6), 1..6,
        ),
    ) {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("table");
        let mut store = Store::new();
        for changes in history {
            for (name, version) in changes {
                let name = format!("m/1.0.0-fp32/c/{name}.json");
                match version {
                    Some(version) => store.insert(name, version),
                    None => store.remove(&name),
                };
            }
            update(&folder, &store);
            let again = update(&folder, &store);
            // Small parts may be put together, and that ends.
            prop_assert!(again == 0 || update(&folder, &store) == 0, "nothing changed, and {} were read", again);
        }
        let rebuilt = work.path().join("rebuilt");
        update(&rebuilt, &store);
        prop_assert_eq!(rows(&folder), rows(&rebuilt));
        let left: Vec<_> = fs::read_dir(work.path()).unwrap().collect();
        prop_assert_eq!(left.len(), 2, "nothing is left beside");
    }
}

#[test]
fn what_stays_is_not_read_again() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("table");
    let mut store: Store = (0..9).map(|name| (name.to_string(), 0)).collect();
    assert_eq!(update(&folder, &store), 9);
    assert_eq!(update(&folder, &store), 0);
    store.insert("new".to_owned(), 1);
    assert_eq!(update(&folder, &store), 1);
    store.insert("0".to_owned(), 5);
    assert_eq!(update(&folder, &store), 3, "the part of the changed one");
    store.remove("8");
    assert_eq!(update(&folder, &store), 2, "those that were beside the deleted one");
    assert_eq!(rows(&folder).len(), store.values().map(|version| batch("x", *version).rows()).sum::<usize>());
}

#[test]
fn another_wish_keeps_nothing() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("table");
    update(&folder, &Store::from([("a".to_owned(), 0)]));
    assert!(!open(&folder).is_new());
    let other = DataSet::open(&folder, Form::Long.columns(), "failures".to_owned()).unwrap();
    assert!(other.is_new());
    drop(other);
    assert!(
        DataSet::open(&folder, Form::Long.columns()[1..].to_vec(), "everything".to_owned()).unwrap().is_new()
    );
}

#[test]
fn nobodys_files_are_touched_and_nobody_else_writes() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("table");
    let first = open(&folder);
    let refused = |opened: Result<DataSet, DataSetError>| match opened {
        Err(DataSetError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let again = || DataSet::open(&folder, Form::Long.columns(), "everything".to_owned());
    assert!(refused(again()).contains("another program"));
    drop(first);
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    assert!(refused(again()).contains("notes.txt"));
    fs::rename(folder.join("notes.txt"), folder.join("mine.parquet")).unwrap();
    assert!(refused(again()).contains("mine.parquet"));
    assert_eq!(fs::read(folder.join("mine.parquet")).unwrap(), b"mine");
}

/// Killed before its last step an update leaves the old state, and the next one cleans up.
#[test]
fn an_update_that_was_killed_left_the_old_state() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("table");
    let store: Store = (0..5).map(|name| (name.to_string(), 1)).collect();
    update(&folder, &store);
    let before = rows(&folder);
    let set = open(&folder);
    let mut staged = set.stage(&[]).unwrap();
    staged.write(batch("z", 2)).unwrap();
    // What a killed process does not do.
    #[expect(clippy::disallowed_methods, reason = "as a kill leaves it: nothing tidies up")]
    std::mem::forget(staged);
    drop(set);
    assert_eq!(rows(&folder), before);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 2);
    assert_eq!(update(&folder, &store), 0);
    assert_eq!((rows(&folder), fs::read_dir(work.path()).unwrap().count()), (before.clone(), 1));

    // Where two folders cannot change places, the old one is set aside for a moment.
    fs::rename(&folder, work.path().join(".nightread-former-table-7")).unwrap();
    assert_eq!(update(&folder, &store), 0);
    assert_eq!((rows(&folder), fs::read_dir(work.path()).unwrap().count()), (before, 1));
}
