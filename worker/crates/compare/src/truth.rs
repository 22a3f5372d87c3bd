//! Labels to judge by, from a CSV file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use csv::StringRecord;

use super::cohorts::CompareError;

/// Which columns are not labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthColumns {
    /// Names the study, as the comparison does.
    pub study: String,
    /// Names the patient; none where each study stands for itself.
    pub group: Option<String>,
}

/// What is true of studies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The columns that may be labels, in the file's order.
    pub labels: Vec<String>,
    /// For each of them, where it first has what no label has: a column of ages is not one.
    pub(crate) problems: Vec<Option<String>>,
    pub(crate) studies: BTreeMap<Box<str>, StudyTruth>,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StudyTruth {
    pub group: Box<str>,
    /// For each label column; none where it is not known.
    pub values: Box<[Option<bool>]>,
}

impl Truth {
    /// Reads comma-separated values with a heading: a column of studies, at most one of groups, and one for each label with 1 (there), 0
    /// (not there) or nothing (not known). 1.0 and 0.0 do as well. Other columns may have other values.
    ///
    /// # Errors
    /// [`CompareError::Truth`] with the line: a column that is not there or there twice, a study named twice, no group.
    pub fn read(from: impl Read, columns: &TruthColumns) -> Result<Self, CompareError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
        let mut heading = reader.headers().map_err(|error| CompareError::Truth(error.to_string()))?.clone();
        if let Some(bare) = heading.get(0).and_then(|first| first.strip_prefix('\u{feff}')) {
            heading = std::iter::once(bare).chain(heading.iter().skip(1)).collect();
        }
        let places = Places::of(&heading, columns)?;
        let labels =
            places.labels.iter().filter_map(|place| heading.get(*place)).map(str::to_owned).collect();
        let mut studies = BTreeMap::new();
        let mut problems = vec![None; places.labels.len()];
        for row in reader.records() {
            let row = row.map_err(|error| CompareError::Truth(error.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let mut note = |column: usize, problem: String| {
                problems[column].get_or_insert_with(|| format!("line {line}: {problem}"));
            };
            let said = places.row(&row, &heading, &mut note).and_then(|(study, truth)| {
                match studies.insert(study.clone(), truth) {
                    Some(_) => Err(format!("{study:?} is named a second time")),
                    None => Ok(()),
                }
            });
            said.map_err(|problem| CompareError::Truth(format!("line {line}: {problem}")))?;
        }
        Ok(Self { labels, problems, studies })
    }
}

/// Where the columns are.
struct Places {
    study: usize,
    group: Option<usize>,
    labels: Vec<usize>,
}

impl Places {
    fn of(heading: &StringRecord, columns: &TruthColumns) -> Result<Self, CompareError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = heading.iter().find(|name| !names.insert(*name)) {
            return Err(CompareError::Truth(format!("two columns are called {twice:?}")));
        }
        let study = place(heading, &columns.study)?;
        let group = columns.group.as_deref().map(|name| place(heading, name)).transpose()?;
        let labels = (0..heading.len()).filter(|column| *column != study && Some(*column) != group).collect();
        Ok(Self { study, group, labels })
    }

    /// The study of a row, and what is true of it; notes by column what is no value of a label.
    fn row(
        &self,
        row: &StringRecord,
        heading: &StringRecord,
        note: &mut impl FnMut(usize, String),
    ) -> Result<(Box<str>, StudyTruth), String> {
        let [study, group] =
            [self.study, self.group.unwrap_or(self.study)].map(|place| row.get(place).unwrap_or_default());
        if study.is_empty() || group.is_empty() {
            return Err(format!("it names no {}", if study.is_empty() { "study" } else { "group" }));
        }
        let mut values = Vec::with_capacity(self.labels.len());
        for (column, place) in self.labels.iter().enumerate() {
            values.push(match row.get(*place).unwrap_or_default() {
                "" => None,
                "0" | "0.0" => Some(false),
                "1" | "1.0" => Some(true),
                other => {
                    let name = heading.get(*place).unwrap_or_default();
                    note(column, format!("{other:?} under {name:?} is neither 0, 1 nor empty"));
                    None
                }
            });
        }
        Ok((study.into(), StudyTruth { group: group.into(), values: values.into() }))
    }
}

fn place(heading: &StringRecord, name: &str) -> Result<usize, CompareError> {
    heading.iter().position(|column| column == name).ok_or_else(|| {
        let there = heading.iter().collect::<Vec<_>>().join(", ");
        CompareError::Truth(format!("no column is called {name:?}; there are: {there}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, group: Option<&str>) -> Result<Truth, String> {
        let columns = TruthColumns { study: "study".to_owned(), group: group.map(str::to_owned) };
        Truth::read(text.as_bytes(), &columns).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_read_with_what_is_not_known() {
        let truth = read(
            "\u{feff}study,patient,Mass,\"Lung, opacity\"\na.png,p1,1,0.0\n\"b,\n.png\",p1,,1.0\n",
            Some("patient"),
        );
        let truth = truth.expect("it is sound");
        assert_eq!(truth.labels, ["Mass", "Lung, opacity"]);
        let values: Vec<_> = truth.studies.values().map(|study| study.values.to_vec()).collect();
        assert_eq!(values, [[Some(true), Some(false)], [None, Some(true)]]);
        assert!(truth.studies.values().all(|study| &*study.group == "p1"));
    }

    #[test]
    fn without_groups_each_study_is_one() {
        let truth = read("study,Mass\na,1\nb,0\n", None).expect("it is sound");
        assert!(truth.studies.iter().all(|(study, truth)| *study == truth.group));
    }

    #[test]
    fn a_column_of_other_things_is_none_of_a_label() {
        let truth = read("study,Age,Mass\na,0,1\nb,61,-1\nc,70,0\n", None).expect("it is sound");
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(truth.problems[0], said("line 3: \"61\" under \"Age\" is neither 0, 1 nor empty"));
        assert_eq!(truth.problems[1], said("line 3: \"-1\" under \"Mass\" is neither 0, 1 nor empty"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("name,Mass\na,1\n", "no column is called \"study\"; there are: name, Mass"),
            ("study,Mass\na,1\n", "no column is called \"patient\""),
            ("study,patient,Mass\na,p,1\na,p,1\n", "line 3: \"a\" is named a second time"),
            ("study,patient,Mass\na,,1\n", "line 2: it names no group"),
            ("study,patient,Mass\n,p,1\n", "line 2: it names no study"),
            ("study,patient,Mass,Mass\n", "two columns are called \"Mass\""),
            ("study,patient,Mass\na,p\n", "line: 2"),
        ] {
            let problem = read(text, Some("patient")).expect_err(text);
            assert!(problem.contains(said), "{text:?}: {problem}");
        }
    }
}
