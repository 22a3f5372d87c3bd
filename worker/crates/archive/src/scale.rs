//! What the number and the name of a finding mean, where they are not a certainty and something that is present.

use nightread_domain::result::ModelFacts;

use crate::concept::{Concept, PRIVATE_SCHEME};

/// Grades in order, of which an image has one: a grade is what an evaluation says, and nothing that is present or absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// What is graded, where the manifest names it.
    pub name: Option<String>,
    /// Labels of the document.
    pub grades: Vec<String>,
}

impl Scale {
    /// The scale that a label is a grade of.
    pub(crate) fn of<'s>(label: &str, scales: &'s [Self]) -> Option<&'s Self> {
        scales.iter().find(|scale| scale.grades.iter().any(|grade| grade == label))
    }

    pub(crate) fn concept(&self) -> Concept {
        self.name.as_deref().map_or_else(|| Concept::new("grade", PRIVATE_SCHEME, "Grade"), Concept::private)
    }
}

/// What the number beside a label is, for machines and in words.
pub(crate) struct Score {
    pub concept: Concept,
    pub words: &'static str,
}

impl Score {
    /// Of networks that vote it is a share of them, which says nothing of how certain any of them is.
    pub fn of(model: &ModelFacts) -> Self {
        if model.ensemble.as_ref().is_some_and(|ensemble| ensemble.combine == "vote") {
            let meaning = "Share of networks that find it";
            return Self {
                concept: Concept::new("share-of-votes", PRIVATE_SCHEME, meaning),
                words: "share of networks",
            };
        }
        Self { concept: Concept::dcm("111012", "Certainty of Finding"), words: "probability" }
    }
}
