//! Rows of the truth, and the arrays that they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::archive::Archive;
use super::mistakes::{SHOWN, listed, none_in};
use super::truth::{Known, PATIENT, Part, Row, SPLIT, Table};
use crate::app::WrongUse;

/// An item to judge by.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Of its array.
    pub name: String,
    pub patient: String,
    pub known: Known,
}

/// The items that are for evaluation, in the order of the rows, and what there is to say of how they were chosen.
///
/// # Errors
/// All that keeps rows and arrays from being paired; patients that are in calibration and evaluation.
pub(super) fn evaluated(
    table: Table,
    path: &Path,
    archive: &Archive,
    leave_out: bool,
) -> Result<(Vec<Item>, Vec<String>), WrongUse> {
    let (at, Table { rows, has_patients, has_split }) = (path.display(), table);
    let (paired, mut notes) = paired(rows, path, archive, leave_out)?;
    if !has_patients {
        notes.push(format!(
            "{at} has no column {PATIENT:?}: each file counts as a patient's own, though some may be of one"
        ));
    }
    if !has_split {
        notes.push(format!(
            "{at} has no column {SPLIT:?}: all items are judged by, also those that training may have seen"
        ));
    }
    let patients = |part: Part| -> BTreeSet<&str> {
        paired.iter().filter(|(row, _)| row.part == part).map(|(row, _)| row.patient.as_str()).collect()
    };
    let (calibration, evaluation) = (patients(Part::Calibration), patients(Part::Evaluation));
    let both: Vec<_> = calibration.intersection(&evaluation).collect();
    if !both.is_empty() {
        let names = listed(both, SHOWN);
        return Err(WrongUse(format!(
            "{at}: {names}: in calibration and in evaluation: items of one patient are too alike to judge by. \
             Put each into one of the two"
        )));
    }
    let chosen = paired.into_iter().filter(|(row, _)| row.part == Part::Evaluation);
    let items = chosen.map(|(row, name)| Item { name, patient: row.patient, known: row.known }).collect();
    Ok((items, notes))
}

/// Rows, each with the name of its array.
type Paired = Vec<(Row, String)>;

/// Each row with the name of its array: by the whole path, or by an end of it that only one array has. With what there is to say
/// of those left out.
fn paired(
    rows: Vec<Row>,
    path: &Path,
    archive: &Archive,
    leave_out: bool,
) -> Result<(Paired, Vec<String>), WrongUse> {
    let (at, items) = (path.display(), archive.path().display());
    let ends = ends(archive.names());
    let mut problems = Vec::new();
    let mut absent = Vec::new();
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for row in rows {
        let fitting = ends.get(&normal(&row.file)).map(Vec::as_slice).unwrap_or_default();
        match fitting {
            [] => absent.push(row.file),
            [name] => match taken.insert(name, row.line) {
                None => found.push((row, (*name).to_owned())),
                Some(before) => problems.push(format!(
                    "{at}: line {}: {:?} is the file of line {before} already: keep one row for each file",
                    row.line, row.file
                )),
            },
            several => problems.push(format!(
                "{at}: line {}: {:?} is the end of {} names in {items} ({}): give more of its path",
                row.line,
                row.file,
                several.len(),
                listed(several, 2)
            )),
        }
    }
    let surplus: Vec<_> = archive.names().iter().filter(|name| !taken.contains_key(name.as_str())).collect();
    let mut differing = Vec::new();
    if !absent.is_empty() {
        let (count, names) = (absent.len(), listed(absent, SHOWN));
        differing.push((
            format!("{count} files of {at} have no array in {items}: {names}"),
            "prepare them, or take the rows out",
        ));
    }
    if !surplus.is_empty() {
        let (count, names) = (surplus.len(), listed(surplus, SHOWN));
        differing.push((
            format!("{count} arrays of {items} have no row in {at}: {names}"),
            "add rows, or prepare fewer files",
        ));
    }
    if !leave_out || found.is_empty() {
        let lines =
            differing.iter().map(|(what, mend)| format!("{what}; {mend}, or leave such out by --leave-out"));
        problems.extend(lines);
    }
    none_in(at, problems)?;
    Ok((found, differing.into_iter().map(|(what, _)| format!("left out: {what}")).collect()))
}

/// Paths and the ends of paths -> the names that end so; a whole path stands for itself alone.
fn ends(names: &[String]) -> BTreeMap<String, Vec<&str>> {
    let mut ends: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        let path = normal(name);
        for (at, _) in path.match_indices('/') {
            ends.entry(path[at + 1..].to_owned()).or_default().push(name);
        }
    }
    for name in names {
        ends.insert(normal(name), vec![name]);
    }
    ends
}

/// A path without `.`, `..` and doubled separators, as far as its text tells.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let root = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if root => {}
            part => parts.push(part),
        }
    }
    format!("{}{}", if root { "/" } else { "" }, parts.join("/"))
}
