//! From a document and its source to objects, with the errors of a job.

use nightread_archive::{Concept, Object, Scale};
use nightread_domain::result::{Payload, Status};
use nightread_domain::{ErrorCode, JobError, ResultDocument, Stage};
use nightread_engine::{Catalogue, Manifest};

pub use super::files::{MOST_FILE_BYTES, file, files_of};
pub use super::ingredients::Ingredients;
pub use super::reading::SourceReading;
use super::tasks::of_task;

/// What a manifest says of labels, and a document does not.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// By name.
    pub codes: Vec<(String, Concept)>,
    /// Which are grades.
    pub scales: Vec<Scale>,
}

impl Labels {
    /// Those of a document's model.
    ///
    /// # Errors
    /// `model_missing` for a model that is not there, whose labels may go under the private scheme; `model_mismatch` for one whose
    /// manifest is broken: it may have codes, and what an archive got without them stays there.
    pub fn of(models: &Catalogue, model: &str) -> Result<Self, JobError> {
        let found = models.get(model).map_err(|mut error| {
            if error.code == ErrorCode::ModelMismatch {
                error.message =
                    format!("the codes of the labels of {model} cannot be read: {}", error.message);
            }
            error.at_stage(Stage::Report)
        })?;
        // An ensemble reports what its members do, and lists their labels in their order.
        let members = models.members(found)?;
        let scales = members.first().map_or_else(|| scales(found), |member| scales(member));
        Ok(Self { codes: codes(found), scales })
    }
}

/// The codes that a manifest gives its labels.
fn codes(manifest: &Manifest) -> Vec<(String, Concept)> {
    let coded = manifest.labels.iter().filter_map(|label| {
        let code = label.code.as_ref()?;
        let concept =
            Concept { value: code.value.clone(), scheme: code.scheme.clone(), meaning: code.meaning.clone() };
        Some((label.name.clone(), concept))
    });
    coded.collect()
}

/// The outputs of a network that grade.
fn scales(manifest: &Manifest) -> Vec<Scale> {
    let heads = manifest.output.heads.iter().enumerate().filter(|(_, head)| head.activation.is_ordinal());
    let scales = heads.map(|(number, head)| Scale {
        name: head.grade.clone(),
        grades: manifest.columns(number).map(|(_, label)| label.name.clone()).collect(),
    });
    scales.collect()
}

/// Labels of a document that go under the private scheme.
pub fn uncoded<'a>(document: &'a ResultDocument, codes: &[(String, Concept)]) -> Vec<&'a str> {
    let segments = document.payload.as_ref().and_then(Payload::segments).unwrap_or_default();
    let segments = segments.iter().filter(|segment| segment.code.is_none()).map(|segment| &segment.label);
    let labels = document.findings().iter().map(|finding| &finding.label).chain(segments);
    let has_code = |label: &str| codes.iter().any(|(name, _)| name == label);
    labels.map(String::as_str).filter(|label| !has_code(label)).collect()
}

/// The objects of a result, in the order in which they are sent.
///
/// # Errors
/// `source_changed` where the source is not the one that was read; `no_dicom_identity`, `no_dicom_result`, `artefact_changed`; those
/// of a header that cannot be read.
pub fn objects(of: &Ingredients<'_>) -> Result<Vec<Object>, JobError> {
    let Ingredients { document, study, .. } = of;
    if document.study.sha256.as_deref() != Some(study.sha256().as_str()) {
        let text = "the source has other bytes than those that the result was read from";
        return Err(JobError::new(Stage::Report, ErrorCode::SourceChanged, text));
    }
    if document.status != Status::Ok {
        return Err(no_result("the document tells why the study was not read"));
    }
    let Some(make) = of_task(document.task).make else {
        let studies = document.task.studies();
        return Err(no_result(format!("no DICOM object is made of a reading of {studies}")));
    };
    make(of)
}

fn no_result(text: impl Into<String>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::NoDicomResult, text)
}
