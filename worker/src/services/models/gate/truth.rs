//! The CSV of truth, as `models/quantise/quantise.py` takes it.
//!
//! It has a row for each file: `file`, one column for each reported label of the manifest with 1, 0 or nothing (not known), and,
//! where they are known, `patient` and `split` (`calibration`, `evaluation`, or nothing to leave the row out). The labels of a
//! softmax have one column with the name of the label, `class`; among several heads it bears the name of the head's output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use nightread_engine::{Activation, Head, Manifest};

use super::mistakes::{SHOWN_TO_MEND, listed, none_in, none_of};
use crate::app::WrongUse;

const FILE: &str = "file";
pub(super) const PATIENT: &str = "patient";
pub(super) const SPLIT: &str = "split";
const CLASS: &str = "class";

/// What a row's items are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Calibration,
    Evaluation,
    /// For neither.
    LeftOut,
}

/// What is known of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Of a network whose only head is a softmax: the place of the one label that is true.
    Class(Option<usize>),
    /// Whether each label of the manifest is true; one of a softmax that is true makes the others false.
    Labels(Vec<Option<bool>>),
}

/// A row: where it is, whose it is, what it is for, and what is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub line: u64,
    pub file: String,
    /// The file itself where no patients are told.
    pub patient: String,
    pub part: Part,
    pub known: Known,
}

/// The rows, and which of the columns that may be missing there are.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub rows: Vec<Row>,
    pub has_patients: bool,
    pub has_split: bool,
}

/// Whether the truth of an item is one class: the only head is a softmax.
pub(super) fn by_class(manifest: &Manifest) -> bool {
    matches!(manifest.output.heads.as_slice(), [Head { activation: Activation::Softmax, .. }])
}

/// # Errors
/// All that is wrong with the file.
pub(super) fn read(path: &Path, manifest: &Manifest) -> Result<Table, WrongUse> {
    let at = path.display();
    let bytes = fs::read(path).map_err(|error| {
        WrongUse(format!("{at}: {error}: look whether the path is right and may be read"))
    })?;
    let text =
        String::from_utf8(bytes).map_err(|_| WrongUse(format!("{at}: no CSV in UTF-8: save it as one")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let no_csv = |error: csv::Error| WrongUse(format!("{at}: no CSV ({error}): save it as one"));
    let mut reader = ReaderBuilder::new().trim(Trim::All).flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().map_err(no_csv)?.iter().map(str::to_owned).collect();
    check_header(path, &header, manifest)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(no_csv)?;
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = record.position().map_or(0, |at| line_of(text, at));
        if record.len() != header.len() {
            let (cells, wanted) = (record.len(), header.len());
            problems.push(format!("{at}: line {line} has {cells} cells, the header {wanted}: mend the row"));
            continue;
        }
        match row(line, &header, &record, manifest) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(format!("{at}: line {line}: {problem}")),
        }
    }
    if rows.is_empty() && problems.is_empty() {
        problems.push(format!("{at}: has a header and no rows: give one for each file"));
    }
    none_in(at, problems)?;
    let has = |name: &str| header.iter().any(|column| column == name);
    Ok(Table { rows, has_patients: has(PATIENT), has_split: has(SPLIT) })
}

/// The line of the record that begins at or after a position: the reader's own is that before the empty lines which it passes over.
fn line_of(text: &str, at: &csv::Position) -> u64 {
    let rest = text.as_bytes().get(at.byte() as usize..).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    at.line() + ends.filter(|byte| **byte == b'\n').count() as u64
}

fn check_header(path: &Path, header: &[String], manifest: &Manifest) -> Result<(), WrongUse> {
    let at = path.display();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = header.iter().filter(|name| !seen.insert(*name)).collect();
    if !twice.is_empty() {
        let names = listed(twice, SHOWN_TO_MEND);
        problems.push(format!(
            "{at}: the header has {names} more than once: each column needs a name of its own"
        ));
    }
    let lacking = columns(manifest).into_iter().filter(|name| !header.contains(name)).collect::<Vec<_>>();
    if !header.iter().any(|name| name == FILE) {
        let found = if header.is_empty() { "nothing".to_owned() } else { listed(header, 6) };
        problems.push(format!(
            "{at}: no column {FILE:?} with the names of the files (comma-separated; found: {found})"
        ));
    } else if !lacking.is_empty() {
        let names = listed(lacking, SHOWN_TO_MEND);
        problems.push(format!(
            "{at}: no column for {names}, which the manifest reports: add it, leave its cells empty where nothing is known"
        ));
    }
    none_of(&problems)
}

/// The columns that the file must have beside `file`.
fn columns(manifest: &Manifest) -> Vec<String> {
    let heads = manifest.output.heads.iter().enumerate();
    let of_head = |(number, head): (usize, &Head)| -> Vec<String> {
        if head.activation == Activation::Softmax {
            return vec![class_column(head, manifest).to_owned()];
        }
        let reported = manifest.columns(number).filter(|(_, label)| !label.suppressed);
        reported.map(|(_, label)| label.name.clone()).collect()
    };
    heads.flat_map(of_head).collect()
}

fn class_column<'m>(head: &'m Head, manifest: &Manifest) -> &'m str {
    if manifest.output.heads.len() == 1 { CLASS } else { &head.logits }
}

/// Errors are words, without the line.
fn row(line: u64, header: &[String], record: &StringRecord, manifest: &Manifest) -> Result<Row, String> {
    let cells: BTreeMap<&str, &str> = header.iter().map(String::as_str).zip(record).collect();
    let cell = |name: &str| cells.get(name).copied();
    let file = cell(FILE).unwrap_or_default();
    if file.is_empty() {
        return Err(format!("{FILE:?} is empty: name the file"));
    }
    let part = match cell(SPLIT).unwrap_or("evaluation") {
        "calibration" => Part::Calibration,
        "evaluation" => Part::Evaluation,
        "" => Part::LeftOut,
        other => {
            return Err(format!("{SPLIT} {other:?} is neither \"calibration\" nor \"evaluation\" nor empty"));
        }
    };
    let patient = cell(PATIENT).unwrap_or(file);
    if patient.is_empty() {
        return Err(format!("{PATIENT:?} is empty: name whose file it is, or drop the column"));
    }
    let known = known(&cells, manifest)?;
    Ok(Row { line, file: file.to_owned(), patient: patient.to_owned(), part, known })
}

fn known(cells: &BTreeMap<&str, &str>, manifest: &Manifest) -> Result<Known, String> {
    let cell = |name: &str| cells.get(name).copied().unwrap_or_default();
    let mut values = vec![None; manifest.labels.len()];
    for (number, head) in manifest.output.heads.iter().enumerate() {
        if head.activation != Activation::Softmax {
            for (index, label) in manifest.columns(number).filter(|(_, label)| !label.suppressed) {
                values[index] = number_of(cell(&label.name), &label.name)?;
            }
            continue;
        }
        let column = class_column(head, manifest);
        let names: Vec<(usize, &str)> =
            manifest.columns(number).map(|(index, label)| (index, label.name.as_str())).collect();
        let found = class_of(cell(column), column, &names)?;
        if by_class(manifest) {
            return Ok(Known::Class(found));
        }
        for (index, _) in names {
            values[index] = found.map(|found| found == index);
        }
    }
    Ok(Known::Labels(values))
}

/// The place of a class among the labels; none where it is not known.
fn class_of(cell: &str, column: &str, names: &[(usize, &str)]) -> Result<Option<usize>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    let found = names.iter().find(|(_, name)| *name == cell).map(|(index, _)| *index);
    found.map(Some).ok_or_else(|| {
        let there = listed(names.iter().map(|(_, name)| name), 6);
        format!("{column} {cell:?} is no label of the manifest ({there})")
    })
}

fn number_of(cell: &str, column: &str) -> Result<Option<bool>, String> {
    match cell {
        "1" | "1.0" => Ok(Some(true)),
        "0" | "0.0" => Ok(Some(false)),
        "" => Ok(None),
        other => Err(format!("{column} is {other:?}: write 1, 0, or nothing where it is not known")),
    }
}
