//! Content items of structured reports (PS3.3, C.17.3).

use dicom_core::VR;
use dicom_dictionary_std::tags;

use crate::concept::Concept;
use crate::data::{Data, decimal};
use crate::error::{ArchiveError, Fault};
use crate::source::Reference;

/// How an item belongs to the one above it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relation {
    Contains,
    HasObservationContext,
    HasConceptModifier,
}

impl Relation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasObservationContext => "HAS OBS CONTEXT",
            Self::HasConceptModifier => "HAS CONCEPT MOD",
        }
    }
}

fn item(relation: Relation, kind: &str, name: &Concept) -> Data {
    let mut data = Data::new();
    data.text(tags::RELATIONSHIP_TYPE, VR::CS, relation.as_str());
    data.text(tags::VALUE_TYPE, VR::CS, kind);
    data.code(tags::CONCEPT_NAME_CODE_SEQUENCE, name);
    data
}

fn with(mut data: Data, children: Vec<Data>) -> Data {
    if !children.is_empty() {
        data.sequence(tags::CONTENT_SEQUENCE, children);
    }
    data
}

pub(crate) fn code(relation: Relation, name: &Concept, value: &Concept, children: Vec<Data>) -> Data {
    let mut data = item(relation, "CODE", name);
    data.code(tags::CONCEPT_CODE_SEQUENCE, value);
    with(data, children)
}

pub(crate) fn text(relation: Relation, name: &Concept, value: &str) -> Data {
    let mut data = item(relation, "TEXT", name);
    data.text(tags::TEXT_VALUE, VR::UT, value);
    data
}

pub(crate) fn uid_reference(relation: Relation, name: &Concept, uid: &str) -> Data {
    let mut data = item(relation, "UIDREF", name);
    data.text(tags::UID, VR::UI, uid);
    data
}

/// # Errors
/// `Contradiction` where the number is not finite.
pub(crate) fn number(
    name: &Concept,
    value: f64,
    unit: &Concept,
    children: Vec<Data>,
) -> Result<Data, ArchiveError> {
    let Some(written) = decimal(value) else {
        let text = format!("the measurement {:?} is no finite number", name.meaning);
        return Err(ArchiveError::new(Fault::Contradiction, text));
    };
    let mut measured = Data::new();
    measured.text(tags::NUMERIC_VALUE, VR::DS, &written);
    measured.code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
    let mut data = item(Relation::Contains, "NUM", name);
    data.sequence(tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
    Ok(with(data, children))
}

/// An image, or of a segmentation the one segment that is meant.
pub(crate) fn image(name: &Concept, image: &Reference, segment: Option<u16>) -> Data {
    let mut referenced = Data::from(image);
    if let Some(number) = segment {
        referenced.short(tags::REFERENCED_SEGMENT_NUMBER, number);
    }
    let mut data = item(Relation::Contains, "IMAGE", name);
    data.sequence(tags::REFERENCED_SOP_SEQUENCE, vec![referenced]);
    data
}

pub(crate) fn container(
    relation: Option<Relation>,
    name: &Concept,
    template: &str,
    children: Vec<Data>,
) -> Data {
    let mut data = Data::new();
    if let Some(relation) = relation {
        data.text(tags::RELATIONSHIP_TYPE, VR::CS, relation.as_str());
    }
    data.text(tags::VALUE_TYPE, VR::CS, "CONTAINER");
    data.code(tags::CONCEPT_NAME_CODE_SEQUENCE, name);
    data.text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    let mut made_by = Data::new();
    made_by.text(tags::MAPPING_RESOURCE, VR::CS, "DCMR");
    made_by.text(tags::TEMPLATE_IDENTIFIER, VR::CS, template);
    data.sequence(tags::CONTENT_TEMPLATE_SEQUENCE, vec![made_by]);
    with(data, children)
}

impl From<&Reference> for Data {
    fn from(image: &Reference) -> Self {
        let mut data = Self::new();
        data.text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &image.sop_class);
        data.text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &image.sop_instance);
        data
    }
}
