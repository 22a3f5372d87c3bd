//! Long and wide.

use std::collections::{BTreeMap, BTreeSet};

use nightread_domain::ResultDocument;

use crate::batch::Batch;
use crate::cell::Cell;
use crate::column::{Column, Level, Located};
use crate::columns::{
    COMPONENT, FINDING, Item, MEASUREMENT, Of, OfItem, SEGMENT, SHARED, document_cells, items, of_document,
};

/// What documents hold that becomes columns of the wide form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub labels: BTreeSet<String>,
    /// Labels of measurements.
    pub measurements: BTreeSet<String>,
    /// Indices of components.
    pub components: BTreeSet<usize>,
    /// Labels of segments.
    pub segments: BTreeSet<String>,
}

impl Contents {
    pub fn add(&mut self, document: &ResultDocument) {
        for item in items(document) {
            match item.of {
                Of::Finding(finding) if !self.labels.contains(&finding.label) => {
                    self.labels.insert(finding.label.clone());
                }
                Of::Segment(segment) if !self.segments.contains(&segment.label) => {
                    self.segments.insert(segment.label.clone());
                }
                Of::Measurement(measurement) if !self.measurements.contains(&measurement.label) => {
                    self.measurements.insert(measurement.label.clone());
                }
                Of::Finding(_) | Of::Segment(_) | Of::Measurement(_) => {}
                Of::Component(component) => {
                    self.components.insert(component.index);
                }
            }
        }
    }

    pub fn join(&mut self, other: Self) {
        self.labels.extend(other.labels);
        self.measurements.extend(other.measurements);
        self.components.extend(other.components);
        self.segments.extend(other.segments);
    }
}

/// The form of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A row for each finding, measurement, component and segment; one row for a document without any.
    Long,
    /// A row for each document, with columns for each label, measurement, component and segment of these contents.
    Wide(Contents),
}

/// Why a document has no row in a wide table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It holds what the columns were not made for.
    New,
    /// It says something twice.
    Twice(String),
}

impl Form {
    /// Its columns, in their order.
    pub fn columns(&self) -> Vec<Column> {
        let mut columns = of_document();
        match self {
            Self::Long => columns.extend(item_columns().map(|of| of.head.column(of.head.name, Level::Item))),
            Self::Wide(contents) => {
                for label in &contents.labels {
                    columns.extend(
                        of_finding()
                            .map(|of| of.head.column(format!("{}_{label}", of.head.name), Level::Document)),
                    );
                }
                for label in &contents.measurements {
                    columns.extend(
                        MEASUREMENT
                            .iter()
                            .map(|of| of.head.column(format!("{}_{label}", of.head.name), Level::Document)),
                    );
                }
                for index in &contents.components {
                    columns.extend(
                        of_component().map(|of| of.head.column(component_name(of, *index), Level::Document)),
                    );
                }
                for label in &contents.segments {
                    columns.extend(
                        SEGMENT.iter().map(|of| of.head.column(segment_name(of, label), Level::Document)),
                    );
                }
            }
        }
        columns
    }

    /// Adds a document's rows.
    ///
    /// # Errors
    /// [`Unfit`], and then nothing was added.
    pub fn add(&self, located: &Located<'_>, batch: &mut Batch) -> Result<(), Unfit> {
        let document = located.document;
        let wide = match self {
            Self::Long => Vec::new(),
            Self::Wide(contents) => wide_cells(contents, document)?,
        };
        let mut cells = Vec::with_capacity(batch.columns.len());
        document_cells(located, &mut cells);
        let first_item = cells.len();
        cells.extend(wide);
        for (column, cell) in batch.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        let rows = match self {
            Self::Long => long_rows(document, &mut batch.columns[first_item..]),
            Self::Wide(_) => 1,
        };
        batch.runs.push(rows);
        Ok(())
    }
}

/// What every form says of a finding, a measurement, a component or a segment, in the order of the long form.
fn item_columns() -> impl Iterator<Item = &'static OfItem> {
    SHARED.iter().chain(FINDING).chain(MEASUREMENT).chain(COMPONENT).chain(SEGMENT)
}

/// Of a finding but its label, which is in the names.
fn of_finding() -> impl Iterator<Item = &'static OfItem> {
    SHARED[1..].iter().chain(FINDING)
}

/// Of a component but its index, which is in the names.
fn of_component() -> impl Iterator<Item = &'static OfItem> {
    SHARED.iter().chain(&COMPONENT[1..])
}

fn component_name(of: &OfItem, index: usize) -> String {
    let name = of.head.name.strip_prefix("component_").unwrap_or(of.head.name);
    format!("component_{index}_{name}")
}

/// `volume_ml_liver`.
fn segment_name(of: &OfItem, label: &str) -> String {
    format!("{}_{label}", of.head.name.strip_prefix("segment_").unwrap_or(of.head.name))
}

fn long_rows(document: &ResultDocument, columns: &mut [Vec<Cell>]) -> u32 {
    let mut rows = 0;
    for item in items(document) {
        for (column, of) in columns.iter_mut().zip(item_columns()) {
            column.push((of.cell)(item));
        }
        rows += 1;
    }
    if rows == 0 {
        for column in columns.iter_mut() {
            column.push(Cell::Null);
        }
        rows = 1;
    }
    rows
}

fn wide_cells(contents: &Contents, document: &ResultDocument) -> Result<Vec<Cell>, Unfit> {
    let (per_label, per_component) = (of_finding().count(), of_component().count());
    let mut findings: BTreeMap<&str, Item<'_>> = BTreeMap::new();
    let mut measurements: BTreeMap<&str, Item<'_>> = BTreeMap::new();
    let mut components: BTreeMap<usize, Item<'_>> = BTreeMap::new();
    let mut segments: BTreeMap<&str, Item<'_>> = BTreeMap::new();
    for item in items(document) {
        let twice = match item.of {
            Of::Finding(finding) => {
                findings.insert(&finding.label, item).map(|_| format!("the label {}", finding.label))
            }
            Of::Measurement(measurement) => measurements
                .insert(&measurement.label, item)
                .map(|_| format!("the measurement {}", measurement.label)),
            Of::Component(component) => {
                components.insert(component.index, item).map(|_| format!("the component {}", component.index))
            }
            Of::Segment(segment) => {
                segments.insert(&segment.label, item).map(|_| format!("the segment {}", segment.label))
            }
        };
        if let Some(what) = twice {
            return Err(Unfit::Twice(what));
        }
    }
    let mut cells = Vec::with_capacity(
        contents.labels.len() * per_label
            + contents.measurements.len() * MEASUREMENT.len()
            + contents.components.len() * per_component
            + contents.segments.len() * SEGMENT.len(),
    );
    for label in &contents.labels {
        match findings.remove(label.as_str()) {
            Some(item) => cells.extend(of_finding().map(|of| (of.cell)(item))),
            None => cells.extend(std::iter::repeat_n(Cell::Null, per_label)),
        }
    }
    for label in &contents.measurements {
        match measurements.remove(label.as_str()) {
            Some(item) => cells.extend(MEASUREMENT.iter().map(|of| (of.cell)(item))),
            None => cells.extend(std::iter::repeat_n(Cell::Null, MEASUREMENT.len())),
        }
    }
    for index in &contents.components {
        match components.remove(index) {
            Some(item) => cells.extend(of_component().map(|of| (of.cell)(item))),
            None => cells.extend(std::iter::repeat_n(Cell::Null, per_component)),
        }
    }
    for label in &contents.segments {
        match segments.remove(label.as_str()) {
            Some(item) => cells.extend(SEGMENT.iter().map(|of| (of.cell)(item))),
            None => cells.extend(std::iter::repeat_n(Cell::Null, SEGMENT.len())),
        }
    }
    if findings.is_empty() && measurements.is_empty() && components.is_empty() && segments.is_empty() {
        Ok(cells)
    } else {
        Err(Unfit::New)
    }
}
