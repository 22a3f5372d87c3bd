//! The results that a report's own are compared with.

use std::collections::HashMap;
use std::fmt;

use nightread_domain::result::{ResultDocument, Status};

use crate::gather::Gathered;

/// Decisions of radiographs, by study.
#[derive(Debug, Default)]
pub struct Other {
    /// Labels are few and repeated in every document: their names are held once.
    labels: Vec<String>,
    studies: HashMap<(String, String), Vec<Decision>>,
}

/// The label among [`Other::labels`], its probability, and whether it is positive.
type Decision = (usize, f32, bool);

/// Two documents about one study: which of them is meant cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadTwice(pub String);

impl fmt::Display for ReadTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "two results are about {}: name one model and version to compare with", self.0)
    }
}

impl std::error::Error for ReadTwice {}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that are on both sides.
    pub studies: u64,
    /// Labels of those rows that both sides have.
    pub decisions: u64,
    pub flips: u64,
    /// Rows with at least one flip.
    pub flipped: u64,
    /// Rows that were read and that the other side does not have, or could not read.
    pub missing: u64,
}

impl Other {
    /// Takes one document; those that failed and those of scans say no decision.
    ///
    /// # Errors
    /// When a document about the same study is there already.
    pub fn add(&mut self, document: &ResultDocument) -> Result<(), ReadTwice> {
        if document.status != Status::Ok || document.findings().is_empty() {
            return Ok(());
        }
        let mut decisions = Vec::with_capacity(document.findings().len());
        for finding in document.findings() {
            let label = self.labels.iter().position(|label| *label == finding.label).unwrap_or_else(|| {
                self.labels.push(finding.label.clone());
                self.labels.len() - 1
            });
            decisions.push((label, finding.probability, finding.positive));
        }
        let (container, name) = (document.study.container.clone(), document.study.name.clone());
        let said = format!("{container}/{name}");
        match self.studies.insert((container, name), decisions) {
            None => Ok(()),
            Some(_) => Err(ReadTwice(said)),
        }
    }
}

impl Gathered {
    /// Notes in each row which decisions are others there.
    pub fn compare(&mut self, other: &Other) -> Compared {
        let mut compared = Compared::default();
        for row in self.radiographs.iter_mut().filter(|row| !row.findings.is_empty()) {
            let key = (row.study.container.clone(), row.study.name.clone());
            let Some(theirs) = other.studies.get(&key) else {
                compared.missing += 1;
                continue;
            };
            compared.studies += 1;
            for (nth, (label, _)) in self.models[row.study.model].labels.iter().enumerate() {
                let Some((_, probability, positive)) =
                    theirs.iter().find(|(index, _, _)| other.labels[*index] == *label)
                else {
                    continue;
                };
                compared.decisions += 1;
                if *positive != row.findings[nth].positive {
                    row.flips.push((nth, *probability));
                }
            }
            compared.flips += row.flips.len() as u64;
            compared.flipped += u64::from(!row.flips.is_empty());
        }
        compared
    }
}
