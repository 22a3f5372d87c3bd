//! Objects of one result, made on a thread that may compute.

use std::sync::Arc;

use bytes::Bytes;
use nightread_archive::{Kind, Object, Options, Predecessor, ReportClass, SegForm};
use nightread_domain::{ErrorCode, FetchedStudy, JobError, ResultDocument, Stage};

use crate::flow::aside::blocking;
use crate::services::dicom::objects::{self, Ingredients, Labels, SourceReading};

/// What objects are made of.
#[derive(Debug)]
pub(super) struct Making {
    pub document: Arc<ResultDocument>,
    pub study: FetchedStudy,
    /// All of [`objects::files_of`], each as [`objects::file`] gives it.
    pub files: Vec<(String, Bytes)>,
    pub labels: Labels,
    pub report: ReportClass,
    pub segmentation: SegForm,
    /// The kinds that are wanted.
    pub kinds: Vec<Kind>,
    pub predecessors: Arc<[Predecessor]>,
    pub reading: SourceReading,
}

impl Making {
    /// The objects, in the order in which they are sent. What they were made of is gone then.
    ///
    /// # Errors
    /// Those of [`objects::objects`]; `source_changed` for a file that was written to meanwhile.
    pub async fn objects(self) -> Result<Vec<Object>, JobError> {
        blocking(Stage::Deliver, "making the objects", move || self.made()).await
    }

    fn made(self) -> Result<Vec<Object>, JobError> {
        let options = Options {
            report: self.report,
            segmentation: self.segmentation,
            predecessors: &self.predecessors,
            scales: &self.labels.scales,
        };
        let made = objects::objects(&Ingredients {
            document: &self.document,
            study: &self.study,
            files: &self.files,
            codes: &self.labels.codes,
            options: &options,
            reading: &self.reading,
        });
        for kept in self.study.kept() {
            if !kept.is_unchanged().map_err(crate::readings::unreadable)? {
                return Err(changed());
            }
        }
        Ok(made?.into_iter().filter(|object| self.kinds.contains(&object.kind)).collect())
    }
}

/// `source_changed`.
pub(super) fn changed() -> JobError {
    let text = "the source has another version than the one that the result was read from";
    JobError::new(Stage::Deliver, ErrorCode::SourceChanged, text)
}
