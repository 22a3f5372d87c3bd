//! Segmentations of a series (PS3.3, A.51): a label map on the source's own grid, each frame at the place of its slice.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use nightread_domain::result::ModelFacts;

use crate::concept::{Concept, Laterality};
use crate::data::{Data, decimal};
use crate::error::{ArchiveError, Fault};
use crate::object::{Draft, Frame, Kind, Object, PLAIN, finish};
use crate::report::artificial_intelligence;
use crate::rle;
use crate::source::Reference;
use crate::uid::uid;

/// How voxels are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegForm {
    /// One bit a voxel, one frame for each organ on each slice that has it: every archive takes it.
    #[default]
    Binary,
    /// One byte a voxel, one frame a slice, RLE: 30 times smaller, and of a SOP class that archives learn only now.
    LabelMap,
}

/// One slice of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SegSlice {
    pub image: Reference,
    /// ImagePositionPatient: centre of the first voxel, LPS in mm.
    pub position: [f64; 3],
}

/// One value of the label map.
#[derive(Clone, Debug, PartialEq)]
pub struct SegSegment {
    /// Its value in the label map, from 1.
    pub number: u8,
    /// As [`crate::Organ`] calls it.
    pub name: String,
    pub code: Option<Concept>,
    pub laterality: Option<Laterality>,
}

/// A label map on the grid of its source.
#[derive(Clone, Copy, Debug)]
pub struct SegInput<'a> {
    /// Slices, rows, columns; columns first. 0 is no organ.
    pub labels: &'a [u8],
    pub shape: [usize; 3],
    /// One a slice, in the order of `labels`.
    pub slices: &'a [SegSlice],
    /// ImageOrientationPatient: cosines along a row, then down a column.
    pub orientation: [f64; 6],
    /// PixelSpacing: between rows, between columns, in mm.
    pub spacing: [f64; 2],
    /// Between the centres of slices, in mm.
    pub slice_spacing: f64,
    pub segments: &'a [SegSegment],
}

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

/// Segments that have voxels, numbered from 1 without gaps: an empty one makes viewers hang, and is no segment.
struct Numbering<'a> {
    segments: Vec<&'a SegSegment>,
    /// Of each value of the label map.
    of_value: [u8; 256],
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
    data.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![referenced_series(input)]);
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

fn contradiction(text: impl Into<String>) -> ArchiveError {
    ArchiveError::new(Fault::Contradiction, text)
}

fn numbered<'a>(input: &SegInput<'a>) -> Result<Numbering<'a>, ArchiveError> {
    let [slices, rows, columns] = input.shape;
    let voxels = rows.checked_mul(columns).and_then(|plane| plane.checked_mul(slices));
    if voxels != Some(input.labels.len()) || voxels == Some(0) || slices != input.slices.len() {
        let (voxels, given) = (input.labels.len(), input.slices.len());
        return Err(contradiction(format!(
            "{voxels} voxels and {given} slices are not {slices} slices of {rows} x {columns}"
        )));
    }
    if rows > usize::from(u16::MAX) || columns > usize::from(u16::MAX) {
        return Err(ArchiveError::new(
            Fault::TooLarge,
            format!("{rows} x {columns} voxels are no DICOM plane"),
        ));
    }
    let mut there = [false; 256];
    for value in input.labels {
        there[usize::from(*value)] = true;
    }
    let mut numbering = Numbering { segments: Vec::new(), of_value: [0; 256] };
    let mut known = [false; 256];
    for segment in input.segments {
        let value = usize::from(segment.number);
        let twice = input.segments.iter().filter(|other| other.name == segment.name).count() > 1;
        if value == 0 || known[value] || twice {
            return Err(contradiction(format!("the segment {} ({:?}) is not its own", value, segment.name)));
        }
        known[value] = true;
        if there[value] {
            numbering.segments.push(segment);
            numbering.of_value[value] = numbering.segments.len() as u8;
        }
    }
    let unknown = (1..256).find(|value| there[*value] && !known[*value]);
    match unknown {
        Some(value) => Err(contradiction(format!("the label map holds {value}, which is no segment"))),
        None => Ok(numbering),
    }
}

/// One frame: whose voxels, and on which slice. Positions are counted among the slices that have frames.
struct Made {
    /// 0 where the frame holds every segment.
    segment: u8,
    slice: usize,
    position: u32,
}

/// Only frames with voxels, by segment and then by slice.
fn frames(input: &SegInput<'_>, form: SegForm, numbering: &Numbering<'_>) -> Vec<Made> {
    let plane = input.shape[1] * input.shape[2];
    let mut on_slice = vec![[false; 256]; input.shape[0]];
    for (there, labels) in on_slice.iter_mut().zip(input.labels.chunks(plane)) {
        for value in labels {
            there[usize::from(numbering.of_value[usize::from(*value)])] = true;
        }
    }
    let is_used = |there: &[bool; 256]| there[1..].contains(&true);
    let mut position = vec![0_u32; on_slice.len()];
    let mut count = 0;
    for (there, position) in on_slice.iter().zip(&mut position) {
        count += u32::from(is_used(there));
        *position = count;
    }
    let segments: Vec<u8> = match form {
        SegForm::Binary => (1..=numbering.segments.len() as u8).collect(),
        SegForm::LabelMap => vec![0],
    };
    let mut made = Vec::new();
    for segment in segments {
        for (slice, there) in on_slice.iter().enumerate() {
            if if segment == 0 { is_used(there) } else { there[usize::from(segment)] } {
                made.push(Made { segment, slice, position: position[slice] });
            }
        }
    }
    made
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

fn referenced_series(input: &SegInput<'_>) -> Data {
    let mut series = Data::new();
    series.sequence(
        tags::REFERENCED_INSTANCE_SEQUENCE,
        input.slices.iter().map(|slice| Data::from(&slice.image)).collect(),
    );
    let name = input.slices.first().map_or("", |slice| slice.image.series.as_str());
    series.text(tags::SERIES_INSTANCE_UID, VR::UI, name);
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
    let tracking = uid(&[
        b"tracking",
        frame.source.image.series.as_bytes(),
        frame.source.image.sop_instance.as_bytes(),
        model.name.as_bytes(),
        segment.name.as_bytes(),
    ]);
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

/// By what frames are ordered: by segment where each has one, and by position.
fn dimensions(data: &mut Data, form: SegForm, frame: Frame<'_>) {
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
    written.ok_or_else(|| contradiction(format!("the {what} of the source is no number")))
}

fn shared(input: &SegInput<'_>) -> Result<Data, ArchiveError> {
    if input.spacing.iter().chain([&input.slice_spacing]).any(|mm| *mm <= 0.0) {
        return Err(contradiction("the source has no spacing: volumes of its voxels would be no volumes"));
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

fn per_frame(made: &Made, form: SegForm, input: &SegInput<'_>) -> Result<Data, ArchiveError> {
    let slice = input.slices.get(made.slice).ok_or_else(|| contradiction("a frame has no slice"))?;
    let mut from = Data::from(&slice.image);
    from.text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    let purpose = Concept::dcm("121322", "Source image for image processing operation");
    from.code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, &purpose);
    let mut derivation = Data::new();
    derivation.sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![from]);
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

/// Writes the voxels; the transfer syntax that they are in.
fn pixels(
    data: &mut Data,
    form: SegForm,
    input: &SegInput<'_>,
    numbering: &Numbering<'_>,
    frames: &[Made],
) -> Result<&'static str, ArchiveError> {
    let [_, rows, columns] = input.shape;
    let plane = rows * columns;
    let labels = |made: &Made| input.labels.iter().skip(made.slice * plane).take(plane);
    let number = |value: &u8| numbering.of_value[usize::from(*value)];
    let too_large = || {
        let text =
            format!("{} frames of {rows} x {columns} are more than an object has room for", frames.len());
        ArchiveError::new(Fault::TooLarge, text)
    };
    match form {
        SegForm::Binary => {
            let bits = plane.checked_mul(frames.len()).filter(|bits| bits / 8 < u32::MAX as usize - 2);
            let bits = bits.ok_or_else(too_large)?;
            // Frames follow each other bit by bit, the first in the lowest (PS3.5, 8.2 and D.3).
            let mut bytes = vec![0_u8; bits.div_ceil(8)];
            for (nth, made) in frames.iter().enumerate() {
                for (pixel, value) in labels(made).enumerate() {
                    if number(value) == made.segment {
                        let bit = nth * plane + pixel;
                        bytes[bit / 8] |= 1 << (bit % 8);
                    }
                }
            }
            data.bytes(tags::PIXEL_DATA, bytes);
            Ok(PLAIN)
        }
        SegForm::LabelMap => {
            let packed = frames.iter().map(|made| {
                let renumbered: Vec<u8> = labels(made).map(number).collect();
                rle::frame(&renumbered, columns)
            });
            let packed: Vec<Vec<u8>> = packed.collect();
            if packed.iter().map(|frame| frame.len() + 8).sum::<usize>() > u32::MAX as usize {
                return Err(too_large());
            }
            data.fragments(tags::PIXEL_DATA, packed);
            Ok(uids::RLE_LOSSLESS)
        }
    }
}
