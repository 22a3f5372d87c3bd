//! DICOM objects of results, in the study of what was read: reports for machines, captures for the eye, segmentations.
//!
//! ```text
//! SourceInstance::open(bytes, most) -> Result<SourceInstance, ArchiveError>                               // whose study it is; `of_series` of a slice
//! of_radiograph(&SourceInstance, &ResultDocument, &codes, &panels, &Options) -> Vec<Object>       // captures and a report
//! of_ct(&SourceInstance, &ResultDocument, &CtResult, &Options) -> Vec<Object>                     // segmentation, capture, report
//! commitment::request(transaction, &objects) -> bytes; CommitmentReport::parse(bytes)     // what an archive is asked to keep
//! ```
//!
//! The same document and source give the same bytes. UIDs are digests of what the objects hold, dates apart: an archive keeps
//! the old object under a UID that it knows, so another content must have another name.
//!
//! Of the source only [`SourceInstance`]'s list of attributes is copied. Pure: no network, no files, no clock.

mod capture;
pub mod commitment;
mod concept;
mod content;
mod data;
mod error;
mod findings;
mod implicit;
mod object;
mod organs;
mod own;
mod page;
mod report;
mod rle;
mod scale;
mod seg;
mod source;
mod uid;

use nightread_domain::ResultDocument;
use nightread_domain::result::Status;

pub use self::capture::Panel;
pub use self::concept::{Concept, Laterality, PRIVATE_SCHEME};
pub use self::error::{ArchiveError, Fault};
pub use self::findings::code_of;
pub use self::object::{Kind, MANUFACTURER, Object, content_digest};
pub use self::organs::Organ;
pub use self::own::{Other, no_study};
pub use self::report::{Predecessor, ReportClass, study_digest};
pub use self::scale::Scale;
pub use self::seg::{SegForm, SegImage, SegInput, SegSegment, SegSlice, Segmentation};
pub use self::source::{Reference, SourceInstance};
pub use self::uid::WRITER;

use self::object::Frame;

/// What may be chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub report: ReportClass,
    pub segmentation: SegForm,
    /// Reports of the same result that an archive has; the one in the source's study is the one that this result's replaces.
    pub predecessors: &'a [Predecessor],
    /// Which labels of radiographs are grades; the others are findings.
    pub scales: &'a [Scale],
}

impl<'a> Options<'a> {
    fn predecessor(&self, source: &SourceInstance) -> Option<&'a Predecessor> {
        let study = study_digest(&source.study);
        self.predecessors.iter().find(|before| before.study_sha256 == study)
    }
}

/// The organs of a CT series.
#[derive(Clone, Copy, Debug)]
pub struct CtResult<'a> {
    pub organs: &'a [Organ],
    /// Organs that the model knows and did not find.
    pub missing: &'a [String],
    /// The voxels, where they are kept.
    pub voxels: Option<SegInput<'a>>,
    /// The stored picture of the series with its organs, 8-bit RGB as PNG, where it is kept.
    pub preview: Option<&'a [u8]>,
    /// The slices that were read, whether or not voxels are kept.
    pub slices: &'a [Reference],
}

/// Captures of the heatmaps, or of a page that lists the findings where there are none, and the report.
///
/// # Errors
/// `NoResult` where the document tells of a failure or has no findings; those of the parts.
pub fn of_radiograph(
    source: &SourceInstance,
    document: &ResultDocument,
    codes: &[(String, Concept)],
    panels: &[Panel<'_>],
    options: &Options<'_>,
) -> Result<Vec<Object>, ArchiveError> {
    let content = read(document, codes)?;
    let frame = Frame { source, document, content: &content };
    // Before the captures: it says where there is nothing to report.
    let report = findings::of_radiograph(frame, codes, options)?;
    let mut objects = capture::of_radiograph(frame, panels, options.scales)?;
    objects.push(report);
    Ok(objects)
}

/// The segmentation where voxels are kept, pictures (a page that lists the organs, the preview where it is kept), and the report
/// that ties them together.
///
/// # Errors
/// `NoResult` where the document tells of a failure or nothing was looked for; those of the parts.
pub fn of_ct(
    source: &SourceInstance,
    document: &ResultDocument,
    result: &CtResult<'_>,
    options: &Options<'_>,
) -> Result<Vec<Object>, ArchiveError> {
    let content = read(document, &[])?;
    let frame = Frame { source, document, content: &content };
    let made = match &result.voxels {
        Some(voxels) => seg::segmentation(voxels, options.segmentation, frame)?,
        None => None,
    };
    let found = organs::Found {
        organs: result.organs,
        missing: result.missing,
        segmentation: made.as_ref(),
        slices: result.slices,
    };
    let report = organs::of_ct(frame, found, options.report, options.predecessor(source))?;
    let captures = capture::of_ct(frame, result.organs, result.missing, result.preview)?;
    Ok(made.map(|made| made.object).into_iter().chain(captures).chain([report]).collect())
}

/// The digest of a document that tells of a reading.
fn read(document: &ResultDocument, codes: &[(String, Concept)]) -> Result<String, ArchiveError> {
    if document.status != Status::Ok {
        return Err(ArchiveError::new(Fault::NoResult, "the document tells why the study was not read"));
    }
    content_digest(document, codes)
}
