//! From a data set without UIDs and dates to the bytes of a file.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::FileMetaTableBuilder;
use nightread_domain::ResultDocument;
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, UtcOffset};

use crate::concept::Concept;
use crate::concept::PRIVATE_SCHEME;
use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::implicit;
use crate::source::SourceInstance;
use crate::uid::{WRITER, uid};

/// What stands as manufacturer in every object, and tells our own from others'.
pub const MANUFACTURER: &str = "Nightread";

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Labels of voxels.
    Segmentation,
    /// A picture for the eye.
    Capture,
    /// Codes and measurements for machines.
    Report,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segmentation => "seg",
            Self::Capture => "sc",
            Self::Report => "sr",
        }
    }
}

/// A DICOM object as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub kind: Kind,
    pub sop_class: String,
    pub sop_instance: String,
    pub series: String,
    pub study: String,
    pub transfer_syntax: String,
    /// Preamble, meta group, data set.
    pub file: Vec<u8>,
    /// Where in `file` the data set begins.
    data_set: usize,
}

impl Object {
    /// The data set alone, as an association carries it: explicit VR little endian, pixels as the transfer syntax says.
    pub fn data_set(&self) -> &[u8] {
        self.file.get(self.data_set..).unwrap_or_default()
    }

    /// The data set in implicit VR little endian; `None` where its pixels are compressed.
    ///
    /// # Errors
    /// `Internal`.
    pub fn implicit_data_set(&self) -> Result<Option<Vec<u8>>, ArchiveError> {
        (self.transfer_syntax == PLAIN).then(|| implicit::implicit(self.data_set())).transpose()
    }
}

/// What a result says, without when and how fast it came to be: equal digests are equal results.
#[derive(Serialize)]
struct Canonical<'a> {
    source: &'a str,
    sha256: Option<&'a str>,
    model: [&'a str; 6],
    payload: &'a Option<nightread_domain::result::Payload>,
    /// How members are combined, and the name, weights and manifest of each; nothing of a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<(&'a str, Vec<[&'a str; 3]>)>,
    artefacts: Vec<(&'static str, Option<&'a str>, &'a str)>,
    codes: Vec<(&'a str, &'a Concept)>,
}

/// SHA-256, in lower-case hexadecimal, of what a result says: version of the source, model, scores, thresholds, codes of labels,
/// digests of the files beside it, and [`WRITER`]. Not when it was read, how fast, or by which worker.
///
/// # Errors
/// `Internal` where it cannot be written as JSON.
pub fn content_digest(
    document: &ResultDocument,
    codes: &[(String, Concept)],
) -> Result<String, ArchiveError> {
    let model = &document.model;
    let mut artefacts: Vec<_> = document
        .artefacts
        .iter()
        .map(|file| (file.kind.media_type(), file.of.as_deref(), file.sha256.as_str()))
        .collect();
    artefacts.sort_unstable();
    let canonical = Canonical {
        source: document.study.version.as_ref().map_or("", |version| version.0.as_str()),
        sha256: document.study.sha256.as_deref(),
        model: [
            &model.name,
            &model.version,
            &model.precision,
            &model.weights_sha256,
            model.manifest_sha256.as_deref().unwrap_or_default(),
            &model.preprocessing,
        ],
        ensemble: model.ensemble.as_ref().map(|ensemble| {
            let members = ensemble.members.iter();
            let told = members.map(|of| [&*of.name, &*of.weights_sha256, &*of.manifest_sha256]);
            (ensemble.combine.as_str(), told.collect())
        }),
        payload: &document.payload,
        artefacts,
        codes: codes.iter().map(|(label, code)| (label.as_str(), code)).collect(),
    };
    let text = serde_json::to_vec(&(WRITER, canonical))
        .map_err(|error| ArchiveError::new(Fault::Internal, format!("the result is no JSON: {error}")))?;
    Ok(hex::encode(Sha256::digest(text)))
}

/// An object before it has its UIDs.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub kind: Kind,
    pub sop_class: &'static str,
    pub transfer_syntax: &'static str,
    pub modality: &'static str,
    pub series_number: u16,
    pub description: &'static str,
    pub data: Data,
}

/// What all objects of one result share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub source: &'a SourceInstance,
    pub document: &'a ResultDocument,
    /// [`content_digest`] of the document.
    pub content: &'a str,
}

/// Gives drafts of one kind their UIDs and their place in a series of their own, numbered from 1.
///
/// # Errors
/// `Internal`, `TooLarge`.
pub(crate) fn finish(drafts: Vec<Draft>, frame: Frame<'_>) -> Result<Vec<Object>, ArchiveError> {
    let mut named = Vec::with_capacity(drafts.len());
    for (draft, number) in drafts.into_iter().zip(1_u16..) {
        let mut data = frame.source.copied(draft.data.is_beyond_ascii());
        data.extend(draft.data);
        data.text(tags::SOP_CLASS_UID, VR::UI, draft.sop_class);
        data.text(tags::MODALITY, VR::CS, draft.modality);
        data.text(tags::SERIES_DESCRIPTION, VR::LO, draft.description);
        data.text(tags::SERIES_NUMBER, VR::IS, &draft.series_number.to_string());
        data.text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
        equipment(&mut data, frame.document);
        // Whatever decides the bytes decides the UID: an archive keeps the old object under a UID that it knows.
        let bytes = data.encoded()?;
        let kind = draft.kind.as_str().as_bytes();
        let parts = [b"instance", kind, WRITER.as_bytes(), frame.content.as_bytes(), &bytes];
        named.push((uid(&parts), draft.kind, draft.sop_class, draft.transfer_syntax, data));
    }
    let mut series: Vec<&[u8]> = vec![b"series"];
    series.extend(named.iter().map(|(name, ..)| name.as_bytes()));
    let series = uid(&series);
    named
        .into_iter()
        .map(|(name, kind, sop_class, transfer_syntax, mut data)| {
            data.text(tags::SOP_INSTANCE_UID, VR::UI, &name);
            data.text(tags::SERIES_INSTANCE_UID, VR::UI, &series);
            dates(&mut data, frame.document.read_at, frame.source.time_zone());
            let (file, data_set) = file(&data, sop_class, &name, transfer_syntax)?;
            Ok(Object {
                kind,
                sop_class: sop_class.to_owned(),
                sop_instance: name,
                series: series.clone(),
                study: frame.source.study.clone(),
                transfer_syntax: transfer_syntax.to_owned(),
                file,
                data_set,
            })
        })
        .collect()
}

fn equipment(data: &mut Data, document: &ResultDocument) {
    let serial = document.model.weights_sha256.get(..16).unwrap_or(&document.model.weights_sha256);
    data.text(tags::MANUFACTURER, VR::LO, MANUFACTURER);
    data.text(tags::MANUFACTURER_MODEL_NAME, VR::LO, &document.model.name);
    data.text(tags::DEVICE_SERIAL_NUMBER, VR::LO, serial);
    data.text(tags::SOFTWARE_VERSIONS, VR::LO, &format!("DICOM writer {WRITER}"));
    let mut scheme = Data::new();
    scheme.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, PRIVATE_SCHEME);
    scheme.text(tags::CODING_SCHEME_NAME, VR::ST, "Labels of models that have no code of a public scheme");
    scheme.text(tags::CODING_SCHEME_RESPONSIBLE_ORGANIZATION, VR::ST, MANUFACTURER);
    data.sequence(tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, vec![scheme]);
}

/// When the study was read, in the time zone that the copied attributes are in; in UTC where they name none.
fn dates(data: &mut Data, read_at: OffsetDateTime, zone: UtcOffset) {
    let at = read_at.to_offset(zone);
    let date = format!("{:04}{:02}{:02}", at.year(), u8::from(at.month()), at.day());
    let time = format!("{:02}{:02}{:02}.{:06}", at.hour(), at.minute(), at.second(), at.microsecond());
    data.text(tags::CONTENT_DATE, VR::DA, &date);
    data.text(tags::CONTENT_TIME, VR::TM, &time);
}

fn file(data: &Data, sop_class: &str, name: &str, syntax: &str) -> Result<(Vec<u8>, usize), ArchiveError> {
    let fault = |what: String| ArchiveError::new(Fault::Internal, what);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class)
        .media_storage_sop_instance_uid(name)
        .transfer_syntax(syntax)
        .implementation_class_uid(uid(&[b"implementation", MANUFACTURER.as_bytes()]))
        .implementation_version_name(format!("NIGHTREAD_{WRITER}"))
        .build()
        .map_err(|error| fault(format!("a meta group cannot be made: {error}")))?;
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    meta.write(&mut bytes).map_err(|error| fault(format!("a meta group cannot be written: {error}")))?;
    let data_set = bytes.len();
    bytes.extend(data.encoded()?);
    Ok((bytes, data_set))
}

/// Explicit VR little endian.
pub(crate) const PLAIN: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
