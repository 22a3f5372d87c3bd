//! The source of a result: whose study it is, and which of its attributes the results carry on.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use nightread_dicom::{Attributes, File, ReadOptions};
use time::UtcOffset;

use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::uid::{is_uid, uid};

/// Everything that is copied from a source, and nothing else: the modules Patient, General Study and Patient Study (PS3.3, C.7.1.1,
/// C.7.2.1, C.7.2.2), without free texts, and what tells in which encoding and time zone it is. `true`: written empty where the
/// source has none.
const COPIED: [(Tag, VR, bool); 14] = [
    (tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, false),
    (tags::STUDY_DATE, VR::DA, true),
    (tags::STUDY_TIME, VR::TM, true),
    (tags::ACCESSION_NUMBER, VR::SH, true),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, true),
    (tags::STUDY_DESCRIPTION, VR::LO, false),
    (tags::PATIENT_NAME, VR::PN, true),
    (tags::PATIENT_ID, VR::LO, true),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO, false),
    (tags::PATIENT_BIRTH_DATE, VR::DA, true),
    (tags::PATIENT_SEX, VR::CS, true),
    (tags::PATIENT_AGE, VR::AS, false),
    (tags::STUDY_INSTANCE_UID, VR::UI, true),
    (tags::STUDY_ID, VR::SH, true),
];

/// What else is read of a source.
const ASKED: [Tag; 7] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::MODALITY,
    tags::FRAME_OF_REFERENCE_UID,
    tags::POSITION_REFERENCE_INDICATOR,
];

/// Names an image of a study.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub series: String,
    pub sop_class: String,
    pub sop_instance: String,
}

/// The header of a source.
#[derive(Clone, Debug)]
pub struct SourceInstance {
    attributes: Attributes,
    pub study: String,
    /// The image that was read, or the one slice whose header speaks for its series.
    pub image: Reference,
    pub modality: String,
    pub frame_of_reference: Option<String>,
    /// Whether results are about the series and not about the image.
    of_series: bool,
}

impl SourceInstance {
    /// Reads the header of a DICOM file, of at most `max_inflated_bytes` where it is deflated.
    ///
    /// # Errors
    /// `Source` where it cannot be read; `NoIdentity` where it names no study, series, instance or class.
    pub fn open(bytes: &[u8], max_inflated_bytes: u64) -> Result<Self, ArchiveError> {
        let file = File::open(bytes, &ReadOptions { max_inflated_bytes, codec: None }, &mut Vec::new())?;
        let wanted: Vec<Tag> = COPIED.iter().map(|(tag, ..)| *tag).chain(ASKED).collect();
        let attributes = file.attributes(&wanted)?;
        let named = |tag: Tag, what: &str| {
            let name = attributes.text(tag).unwrap_or_default();
            if is_uid(&name) {
                return Ok(name);
            }
            let said = if name.is_empty() { "none" } else { "one that is no UID" };
            let text = format!("the source has no {what} ({said}): its results cannot join its study");
            Err(ArchiveError::new(Fault::NoIdentity, text))
        };
        Ok(Self {
            study: named(tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
            image: Reference {
                series: named(tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
                sop_class: named(tags::SOP_CLASS_UID, "SOP Class UID")?,
                sop_instance: named(tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
            },
            modality: attributes.text(tags::MODALITY).unwrap_or_default(),
            frame_of_reference: attributes.text(tags::FRAME_OF_REFERENCE_UID).filter(|uid| is_uid(uid)),
            of_series: false,
            attributes,
        })
    }

    /// As [`SourceInstance::open`] of the slice whose header speaks for its series.
    ///
    /// # Errors
    /// As [`SourceInstance::open`].
    pub fn of_series(bytes: &[u8], max_inflated_bytes: u64) -> Result<Self, ArchiveError> {
        Ok(Self { of_series: true, ..Self::open(bytes, max_inflated_bytes)? })
    }

    /// Whether the source is an image of X-rays in one plane: of computed or digital radiography.
    pub fn is_radiograph(&self) -> bool {
        matches!(
            self.image.sop_class.as_str(),
            uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE
                | uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION
                | uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING
        ) || matches!(self.modality.as_str(), "CR" | "DX")
    }

    /// The offset that dates and times of the source are in; UTC where it names none.
    pub(crate) fn time_zone(&self) -> UtcOffset {
        self.attributes
            .text(tags::TIMEZONE_OFFSET_FROM_UTC)
            .and_then(|text| offset(&text))
            .unwrap_or(UtcOffset::UTC)
    }

    /// The UID by which a subject of a model is followed: the same in every result on this image or, of a series, on this series,
    /// whichever slices it has by then.
    pub(crate) fn tracking(&self, model: &str, subject: &str) -> String {
        let image = if self.of_series { "" } else { self.image.sop_instance.as_str() };
        let parts = ["tracking", &self.image.series, image, model, subject];
        uid(&parts.map(str::as_bytes))
    }

    pub(crate) fn position_reference(&self) -> Option<String> {
        self.attributes.text(tags::POSITION_REFERENCE_INDICATOR)
    }

    /// What is copied. As the source has it, byte for byte in its own encoding; where our own texts need more than ASCII, or its
    /// encoding is not known, in UTF-8.
    pub(crate) fn copied(&self, beyond_ascii: bool) -> Data {
        let mut data = Data::new();
        let in_utf8 = beyond_ascii || !self.attributes.has_known_encoding();
        match self.attributes.raw(tags::SPECIFIC_CHARACTER_SET) {
            _ if in_utf8 => data.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
            Some(charset) => data.raw(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset),
            None => {}
        }
        for (tag, vr, always) in COPIED {
            let value = self.attributes.raw(tag).map(|raw| {
                if in_utf8 {
                    self.attributes.text(tag).unwrap_or_default().into_bytes()
                } else {
                    raw.to_vec()
                }
            });
            match value {
                Some(value) => data.raw(tag, vr, &value),
                None if always => data.empty(tag, vr),
                None => {}
            }
        }
        data
    }
}

/// `&ZZXX`: hours and minutes after a sign (PS3.3, C.12.1.1.8).
fn offset(text: &str) -> Option<UtcOffset> {
    let (sign, digits) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let number: i8 = digits.get(..2)?.parse().ok()?;
    let minutes: i8 = digits.get(2..)?.parse().ok()?;
    UtcOffset::from_hms(sign * number, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        let hours = |text| offset(text).map(UtcOffset::whole_minutes);
        assert_eq!(
            (hours("-0430"), hours("+0900"), hours("0900"), hours("+9"), hours("")),
            (Some(-270), Some(540), None, None, None)
        );
    }
}
