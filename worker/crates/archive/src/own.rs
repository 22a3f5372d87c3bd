//! Objects that come out of an archive and are no studies: our own results, and what others say about images.

use dicom_dictionary_std::{tags, uids};
use nightread_dicom::{File, ReadOptions, storage_class};

use crate::object::MANUFACTURER;

/// Why an object is no study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// A result of ours, by Manufacturer and UID root.
    Own,
    /// A report, a presentation, a key object, a segmentation of somebody else's.
    Foreign,
}

/// Whether the bytes are a DICOM object that holds no image to read. The meta group tells of nearly every image that it is one; only
/// where it does not is the header walked. What cannot be read is left to whoever reads studies.
pub fn no_study(bytes: &[u8], max_inflated_bytes: u64) -> Option<Other> {
    let may_be = |class: &str| speaks_of_images(class) || class == uids::SECONDARY_CAPTURE_IMAGE_STORAGE;
    if storage_class(bytes).is_some_and(|class| !may_be(&class)) {
        return None;
    }
    let options = ReadOptions { max_inflated_bytes, codec: None };
    let file = File::open(bytes, &options, &mut Vec::new()).ok()?;
    let class = file.header().sop_class.as_deref().unwrap_or_default();
    if !may_be(class) {
        return None;
    }
    let attributes = file.attributes(&[tags::MANUFACTURER, tags::SOP_INSTANCE_UID]).ok()?;
    let text = |tag| attributes.text(tag).unwrap_or_default();
    let ours = text(tags::MANUFACTURER) == MANUFACTURER && text(tags::SOP_INSTANCE_UID).starts_with("2.25.");
    match (ours, speaks_of_images(class)) {
        (true, _) => Some(Other::Own),
        (false, true) => Some(Other::Foreign),
        (false, false) => None,
    }
}

/// SR (and key objects, which are of its family), presentation states, segmentations, label maps.
fn speaks_of_images(class: &str) -> bool {
    const FAMILIES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.11."];
    const CLASSES: [&str; 3] =
        [uids::SEGMENTATION_STORAGE, uids::SURFACE_SEGMENTATION_STORAGE, "1.2.840.10008.5.1.4.1.1.66.7"];
    FAMILIES.iter().any(|family| class.starts_with(family)) || CLASSES.contains(&class)
}
