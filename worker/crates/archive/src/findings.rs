//! The report on a radiograph: one group a finding or grade (TID 1501), with the number that the model gives it.

use nightread_domain::result::Finding;

use crate::concept::{Concept, PRIVATE_SCHEME};
use crate::content::{self, Relation};
use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::object::{Frame, Object};
use crate::report::{StructuredReport, Subject, group_head, parameters, report, site};
use crate::scale::{Scale, Score};
use crate::{Options, SourceInstance};

/// The code of a label: the manifest's, or a private one.
pub fn code_of(label: &str, codes: &[(String, Concept)]) -> Concept {
    codes
        .iter()
        .find(|(name, _)| name == label)
        .map_or_else(|| Concept::private(label), |(_, code)| code.clone())
}

/// In percent: two digits behind the point of a probability as the document has it.
fn percent(probability: f32) -> f64 {
    (f64::from(probability) * 10_000.0).round() / 100.0
}

/// Only positive findings are written: an "absent" that no reader can check is worse than nothing. Which labels were assessed stands
/// among the parameters of the algorithm.
///
/// # Errors
/// `NoResult` where the document has no findings; `Contradiction` where a probability is no number.
pub(crate) fn of_radiograph(
    frame: Frame<'_>,
    codes: &[(String, Concept)],
    options: &Options<'_>,
) -> Result<Object, ArchiveError> {
    let (document, source) = (frame.document, frame.source);
    let findings = document.findings();
    let measured: Vec<&str> = document.measurements().iter().map(|made| made.label.as_str()).collect();
    if findings.is_empty() && !measured.is_empty() {
        let words = "the document has measurements alone, which reports do not hold: make a table of it";
        return Err(ArchiveError::new(Fault::NoResult, words));
    }
    if findings.is_empty() {
        return Err(ArchiveError::new(Fault::NoResult, "the document has no findings to report"));
    }
    let mut said = parameters(&document.model);
    let labels: Vec<&str> = findings.iter().map(|finding| finding.label.as_str()).collect();
    said.push(format!("assessed: {}", labels.join(", ")));
    if !measured.is_empty() {
        said.push(format!("measured, and not in this report: {}", measured.join(", ")));
    }
    let told = |scale: &Scale| scale.told(findings, document.measurements());
    for scale in options.scales.iter().filter(|scale| told(scale).is_none()) {
        said.push(format!("no one grade is told: {}", scale.concept().meaning));
    }
    let mut groups = Vec::new();
    for finding in findings {
        let scale = Scale::of(&finding.label, options.scales);
        let is_reported = match scale {
            Some(scale) => told(scale).is_some_and(|told| told.label == finding.label),
            None => finding.positive,
        };
        if is_reported {
            groups.push(group(finding, frame, (codes, scale), &said)?);
        }
    }
    if groups.is_empty() {
        groups.push(nothing(frame, findings, &said));
    }
    // CID 100, LOINC: says the modality and claims no region.
    let procedure = Concept::new("43468-8", "LN", "XR unspecified body region");
    let evidence = vec![source.image.clone()];
    let (class, predecessor) = (options.report, options.predecessor(source));
    report(StructuredReport { class, procedure, groups, evidence, predecessor }, frame)
}

fn group(
    finding: &Finding,
    frame: Frame<'_>,
    (codes, scale): (&[(String, Concept)], Option<&Scale>),
    said: &[String],
) -> Result<Data, ArchiveError> {
    let code = code_of(&finding.label, codes);
    let subject = Subject {
        tracking: &finding.label,
        category: Concept::sct("404684003", "Clinical finding"),
        // A grade is the value of an evaluation: as a finding, "none" would be one that is present.
        finding: scale.is_none().then_some(&code),
        site: Some(site(&Concept::sct("816094009", "Chest"), None)),
    };
    let document = frame.document;
    let score = Score::of(&document.model);
    let mut said = said.to_vec();
    said.push(match scale {
        Some(scale) if scale.measured(document.measurements()).is_some() => {
            "the grade is the median of their probabilities".to_owned()
        }
        Some(_) => format!("the only grade at {} >= {}", score.words, finding.threshold),
        None => format!("positive at {} >= {}", score.words, finding.threshold),
    });
    let mut items = group_head(subject, frame.source, &document.model, &said);
    items.push(match scale {
        Some(scale) => content::code(Relation::Contains, &scale.concept(), &code, Vec::new()),
        None => content::code(Relation::Contains, &code, &Concept::sct("52101004", "Present"), Vec::new()),
    });
    items.push(content::number(
        &score.concept,
        percent(finding.probability),
        &Concept::new("%", "UCUM", "Percent"),
        Vec::new(),
    )?);
    items.push(source_of_measurement(frame.source));
    Ok(measurement_group("1501", items))
}

/// That the model ran and nothing reached its threshold; a report without a group would not say so.
fn nothing(frame: Frame<'_>, findings: &[Finding], said: &[String]) -> Data {
    let subject = Subject {
        tracking: "assessment",
        category: Concept::sct("404684003", "Clinical finding"),
        finding: None,
        site: None,
    };
    let mut said = said.to_vec();
    let thresholds = findings.iter().map(|finding| format!("{} {}", finding.label, finding.threshold));
    let words = Score::of(&frame.document.model).words;
    said.push(format!("positive at {words} >= {}", thresholds.collect::<Vec<_>>().join(", ")));
    let mut items = group_head(subject, frame.source, &frame.document.model, &said);
    let name = Concept::new("assessment", PRIVATE_SCHEME, "Assessment of the model");
    let value = Concept::new("none-positive", PRIVATE_SCHEME, "No label at or above its threshold");
    items.push(content::code(Relation::Contains, &name, &value, Vec::new()));
    items.push(source_of_measurement(frame.source));
    measurement_group("1501", items)
}

pub(crate) fn source_of_measurement(source: &SourceInstance) -> Data {
    content::image(&Concept::dcm("121112", "Source of Measurement"), &source.image, None)
}

pub(crate) fn measurement_group(template: &str, items: Vec<Data>) -> Data {
    let name = Concept::dcm("125007", "Measurement Group");
    content::container(Some(Relation::Contains), &name, template, items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_keep_two_digits_of_the_probability() {
        for (probability, expected) in [(0.977_2_f32, 97.72), (1.0, 100.0), (0.0, 0.0), (0.158_237, 15.82)] {
            assert!((percent(probability) - expected).abs() < 1e-9, "{probability}");
        }
    }
}
