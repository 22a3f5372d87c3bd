//! Segmentations of a series (PS3.3, A.51): a label map on the source's own grid, each frame at the place of its slice.

mod frames;
mod groups;
mod input;
mod numbering;

use std::collections::{BTreeMap, BTreeSet};

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use nightread_domain::result::ModelFacts;

use self::frames::{frames, pixels};
use self::groups::{dimensions, per_frame, shared};
pub use self::input::{SegForm, SegImage, SegInput, SegSegment, SegSlice};
use self::numbering::numbered;
use crate::concept::Concept;
use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::object::{Draft, Frame, Kind, Object, finish};
use crate::report::artificial_intelligence;
use crate::source::{Reference, SourceInstance};

/// A segmentation, and which segment is whose.
#[derive(Clone, Debug)]
pub struct Segmentation {
    pub object: Object,
    numbers: BTreeMap<String, u16>,
}

impl Segmentation {
    /// The number of an organ's segment; `None` where it has no voxels.
    pub fn number_of(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference {
            series: self.object.series.clone(),
            sop_class: self.object.sop_class.clone(),
            sop_instance: self.object.sop_instance.clone(),
        }
    }
}

/// # Errors
/// `Contradiction` where the parts do not fit each other; `NoIdentity` without a frame of reference; `TooLarge`.
pub(crate) fn segmentation(
    input: &SegInput<'_>,
    form: SegForm,
    frame: Frame<'_>,
) -> Result<Option<Segmentation>, ArchiveError> {
    let numbering = numbered(input)?;
    if numbering.segments.is_empty() {
        return Ok(None);
    }
    let Some(frame_of_reference) = frame.source.frame_of_reference.as_deref() else {
        let text = "the source has no Frame of Reference UID: voxels cannot be placed in it";
        return Err(ArchiveError::new(Fault::NoIdentity, text));
    };
    let frames = frames(input, form, &numbering);
    let mut data = Data::new();
    data.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference);
    data.text(
        tags::POSITION_REFERENCE_INDICATOR,
        VR::LO,
        &frame.source.position_reference().unwrap_or_default(),
    );
    described(&mut data, form, input, frames.len())?;
    data.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![referenced_series(input, frame.source)]);
    let mut segments: Vec<Data> = Vec::new();
    if form == SegForm::LabelMap {
        segments.push(background(&frame.document.model));
    }
    for (segment, number) in numbering.segments.iter().zip(1_u16..) {
        segments.push(described_segment(segment, number, frame));
    }
    data.sequence(tags::SEGMENT_SEQUENCE, segments);
    dimensions(&mut data, form, frame);
    data.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(input)?]);
    let groups = frames.iter().map(|made| per_frame(made, form, input)).collect::<Result<_, _>>()?;
    data.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, groups);
    let transfer_syntax = pixels(&mut data, form, input, &numbering, &frames)?;
    let draft = Draft {
        kind: Kind::Segmentation,
        sop_class: match form {
            SegForm::Binary => uids::SEGMENTATION_STORAGE,
            SegForm::LabelMap => "1.2.840.10008.5.1.4.1.1.66.7",
        },
        transfer_syntax,
        modality: "SEG",
        series_number: 9004,
        description: "AI organs (not for diagnosis)",
        data,
    };
    let object = finish(vec![draft], frame)?.pop();
    let object =
        object.ok_or_else(|| ArchiveError::new(Fault::Internal, "a segmentation was not finished"))?;
    let numbers = numbering.segments.iter().map(|segment| segment.name.clone()).zip(1_u16..).collect();
    Ok(Some(Segmentation { object, numbers }))
}

fn described(
    data: &mut Data,
    form: SegForm,
    input: &SegInput<'_>,
    frames: usize,
) -> Result<(), ArchiveError> {
    let (bits, kind) = match form {
        SegForm::Binary => (1, "BINARY"),
        SegForm::LabelMap => (8, "LABELMAP"),
    };
    let frames = i32::try_from(frames).map_err(|_| {
        ArchiveError::new(Fault::TooLarge, format!("{frames} frames are too many for an object"))
    })?;
    data.values(tags::IMAGE_TYPE, VR::CS, &["DERIVED".to_owned(), "PRIMARY".to_owned()]);
    data.short(tags::SAMPLES_PER_PIXEL, 1);
    data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    data.text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string());
    data.short(tags::ROWS, input.shape[1] as u16);
    data.short(tags::COLUMNS, input.shape[2] as u16);
    data.short(tags::BITS_ALLOCATED, bits);
    data.short(tags::BITS_STORED, bits);
    data.short(tags::HIGH_BIT, bits - 1);
    data.short(tags::PIXEL_REPRESENTATION, 0);
    data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    data.text(tags::SEGMENTATION_TYPE, VR::CS, kind);
    data.text(tags::SEGMENTS_OVERLAP, VR::CS, "NO");
    data.text(tags::CONTENT_LABEL, VR::CS, "AI_ORGANS");
    data.empty(tags::CONTENT_DESCRIPTION, VR::LO);
    data.empty(tags::CONTENT_CREATOR_NAME, VR::PN);
    if form == SegForm::LabelMap {
        data.short(tags::PIXEL_PADDING_VALUE, 0);
        data.text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    }
    Ok(())
}

/// Every image that a slice was made of, once.
fn referenced_series(input: &SegInput<'_>, source: &SourceInstance) -> Data {
    let images = input.slices.iter().flat_map(|slice| &slice.images).map(|image| &image.image);
    let images: BTreeSet<&Reference> = images.collect();
    let mut series = Data::new();
    series.sequence(tags::REFERENCED_INSTANCE_SEQUENCE, images.into_iter().map(Data::from).collect());
    series.text(tags::SERIES_INSTANCE_UID, VR::UI, &source.image.series);
    series
}

fn described_segment(segment: &SegSegment, number: u16, frame: Frame<'_>) -> Data {
    let model = &frame.document.model;
    let code = segment.code.clone().unwrap_or_else(|| Concept::private(&segment.name));
    let mut of_type = Data::from(&code);
    if let Some(side) = segment.laterality {
        of_type.code(tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE, &side.concept());
    }
    let mut algorithm = Data::new();
    algorithm.code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, &artificial_intelligence());
    algorithm.text(tags::ALGORITHM_NAME, VR::LO, &model.name);
    algorithm.text(tags::ALGORITHM_VERSION, VR::LO, &model.version_in_paths());
    let mut data = segment_head(number, &segment.name, model);
    let category = Concept::sct("123037004", "Anatomical Structure");
    data.code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &category);
    data.sequence(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![of_type]);
    data.sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm]);
    data.text(tags::TRACKING_ID, VR::UT, &format!("{} {}", model.name, segment.name));
    let tracking = frame.source.tracking(&model.name, &segment.name);
    data.text(tags::TRACKING_UID, VR::UI, &tracking);
    data
}

fn segment_head(number: u16, label: &str, model: &ModelFacts) -> Data {
    let mut data = Data::new();
    data.short(tags::SEGMENT_NUMBER, number);
    data.text(tags::SEGMENT_LABEL, VR::LO, label);
    data.text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC");
    data.text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, &model.name);
    data
}

/// What 0 means in a label map.
fn background(model: &ModelFacts) -> Data {
    let mut data = segment_head(0, "Background", model);
    let background = Concept::dcm("125040", "Background");
    data.code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &background);
    data.code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &background);
    data
}
