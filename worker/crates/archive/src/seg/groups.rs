//! Functional groups: what each frame is of, and where it lies.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::frames::Made;
use super::input::{SegForm, SegImage, SegInput};
use crate::concept::Concept;
use crate::data::{Data, decimal};
use crate::error::ArchiveError;
use crate::object::Frame;
use crate::uid::uid;

/// By what frames are ordered: by segment where each has one, and by position.
pub(super) fn dimensions(data: &mut Data, form: SegForm, frame: Frame<'_>) {
    let name =
        uid(&[b"dimensions", frame.source.image.series.as_bytes(), frame.document.model.name.as_bytes()]);
    let mut organization = Data::new();
    organization.text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &name);
    data.sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    let index = |pointer: Tag, group: Tag, label: &str| {
        let mut index = Data::new();
        index.text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &name);
        index.pointer(tags::DIMENSION_INDEX_POINTER, pointer);
        index.pointer(tags::FUNCTIONAL_GROUP_POINTER, group);
        index.text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label);
        index
    };
    let mut indices = Vec::new();
    if form == SegForm::Binary {
        let label = "Referenced Segment Number";
        indices.push(index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, label));
    }
    let label = "Image Position Patient";
    indices.push(index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, label));
    data.sequence(tags::DIMENSION_INDEX_SEQUENCE, indices);
}

fn decimals(numbers: &[f64], what: &str) -> Result<Vec<String>, ArchiveError> {
    let written: Option<Vec<String>> = numbers.iter().map(|number| decimal(*number)).collect();
    written.ok_or_else(|| ArchiveError::contradiction(format!("the {what} of the source is no number")))
}

/// What all frames have: size of voxels, directions.
///
/// # Errors
/// `Contradiction` where there are none.
pub(super) fn shared(input: &SegInput<'_>) -> Result<Data, ArchiveError> {
    if input.spacing.iter().chain([&input.slice_spacing]).any(|mm| *mm <= 0.0) {
        return Err(ArchiveError::contradiction(
            "the source has no spacing: volumes of its voxels would be no volumes",
        ));
    }
    let mut measures = Data::new();
    let thickness = decimals(&[input.slice_spacing], "slice spacing")?;
    measures.values(tags::SLICE_THICKNESS, VR::DS, &thickness);
    measures.values(tags::SPACING_BETWEEN_SLICES, VR::DS, &thickness);
    measures.values(tags::PIXEL_SPACING, VR::DS, &decimals(&input.spacing, "spacing")?);
    let mut orientation = Data::new();
    let cosines = decimals(&input.orientation, "orientation")?;
    orientation.values(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &cosines);
    let mut data = Data::new();
    data.sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    data.sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]);
    Ok(data)
}

/// Which segment a frame is of, what it was made of, and where it lies.
///
/// # Errors
/// `Contradiction` where its place is no number.
pub(super) fn per_frame(made: &Made, form: SegForm, input: &SegInput<'_>) -> Result<Data, ArchiveError> {
    let slice =
        input.slices.get(made.slice).ok_or_else(|| ArchiveError::contradiction("a frame has no slice"))?;
    // Of a slice between two images no pixel stayed where it was.
    let preserved = if slice.images.len() == 1 { "YES" } else { "NO" };
    let sources = slice.images.iter().map(|image| source_image(image, preserved));
    let mut derivation = Data::new();
    derivation.sequence(tags::SOURCE_IMAGE_SEQUENCE, sources.collect());
    derivation.code(tags::DERIVATION_CODE_SEQUENCE, &Concept::dcm("113076", "Segmentation"));
    let mut content = Data::new();
    let mut position = Data::new();
    let place = decimals(&slice.position, "position")?;
    position.values(tags::IMAGE_POSITION_PATIENT, VR::DS, &place);
    let mut data = Data::new();
    if form == SegForm::Binary {
        let mut identified = Data::new();
        identified.short(tags::REFERENCED_SEGMENT_NUMBER, u16::from(made.segment));
        data.sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identified]);
        content.longs(tags::DIMENSION_INDEX_VALUES, &[u32::from(made.segment), made.position]);
    } else {
        content.longs(tags::DIMENSION_INDEX_VALUES, &[made.position]);
    }
    data.sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);
    data.sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    data.sequence(tags::PLANE_POSITION_SEQUENCE, vec![position]);
    Ok(data)
}

fn source_image(image: &SegImage, preserved: &str) -> Data {
    let mut from = Data::from(&image.image);
    if let Some(frame) = image.frame {
        from.text(tags::REFERENCED_FRAME_NUMBER, VR::IS, &frame.to_string());
    }
    from.text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, preserved);
    let purpose = Concept::dcm("121322", "SourceInstance image for image processing operation");
    from.code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, &purpose);
    from
}
