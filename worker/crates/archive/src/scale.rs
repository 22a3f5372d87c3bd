//! What the number and the name of a finding mean, where they are not a certainty and something that is present.

use nightread_domain::result::{Finding, Measurement, ModelFacts};

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

    /// The measurement that holds the grade, where the scale has a name and the document one of it.
    pub(crate) fn measured<'d>(&self, measured: &'d [Measurement]) -> Option<&'d Measurement> {
        measured.iter().find(|measured| self.name.as_ref() == Some(&measured.label))
    }

    /// The one grade that the document tells: by the measurement of the scale's name where there is one, and else the only grade that
    /// reached its threshold. Thresholds are each grade's own, so that several may reach theirs, or none.
    pub(crate) fn told<'d>(&self, findings: &'d [Finding], measured: &[Measurement]) -> Option<&'d Finding> {
        let mut grades =
            self.grades.iter().filter_map(|grade| findings.iter().find(|found| found.label == *grade));
        if let Some(grade) = self.measured(measured) {
            // Of several networks the mean may lie between two.
            let whole = grade.value.fract() == 0.0 && grade.value >= 0.0;
            return whole.then(|| grades.nth(grade.value as usize)).flatten();
        }
        let mut reached = grades.filter(|grade| grade.positive);
        match (reached.next(), reached.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Grades with these probabilities and one threshold, and the grade that is measured.
    fn told(probabilities: [f32; 3], threshold: f32, named: bool, measured: Option<f32>) -> Option<String> {
        let grades = ["none", "mild", "severe"].map(str::to_owned);
        let scale = Scale { name: named.then(|| "Oedema grade".to_owned()), grades: grades.to_vec() };
        let findings: Vec<_> = grades
            .into_iter()
            .zip(probabilities)
            .map(|(label, probability)| Finding {
                label,
                logit: 0.0,
                probability,
                threshold,
                positive: probability >= threshold,
            })
            .collect();
        let measured = measured.map(|value| {
            let (label, unit) = ("Oedema grade".to_owned(), "1".to_owned());
            Measurement { label, value, unit }
        });
        scale.told(&findings, measured.as_slice()).map(|finding| finding.label.clone())
    }

    #[test]
    fn one_grade_is_told_whatever_reached_its_threshold() {
        // Two reached theirs; the median is the first.
        assert_eq!(told([0.60, 0.05, 0.35], 0.3, true, Some(0.0)).as_deref(), Some("none"));
        // Two reached theirs, and the median is the third, which did not.
        assert_eq!(told([0.40, 0.25, 0.35], 0.3, true, Some(1.0)).as_deref(), Some("mild"));
        // None did.
        assert_eq!(told([0.40, 0.25, 0.35], 0.5, true, Some(1.0)).as_deref(), Some("mild"));
        // Between two, or beyond all.
        assert_eq!(told([0.1, 0.5, 0.4], 0.5, true, Some(1.5)), None);
        assert_eq!(told([0.1, 0.5, 0.4], 0.5, true, Some(3.0)), None);
    }

    #[test]
    fn without_a_measurement_the_only_one_that_reached_its_threshold_is() {
        assert_eq!(told([0.1, 0.2, 0.7], 0.5, false, None).as_deref(), Some("severe"));
        assert_eq!(told([0.40, 0.25, 0.35], 0.3, false, None), None);
        assert_eq!(told([0.40, 0.25, 0.35], 0.5, false, None), None);
        // A measurement of another name is not this scale's.
        assert_eq!(told([0.1, 0.2, 0.7], 0.5, false, Some(0.0)).as_deref(), Some("severe"));
    }
}
