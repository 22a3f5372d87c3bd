//! Data sets of storage commitment (PS3.4, annex J): what an archive is asked to keep, and what it says to that.

mod report;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use crate::data::Data;
use crate::error::ArchiveError;
use crate::implicit::implicit;
use crate::object::Object;
use crate::uid::uid;

pub use self::report::CommitmentReport;

/// Storage Commitment Push Model.
pub const COMMITMENT_CLASS: &str = "1.2.840.10008.1.20.1";

/// The one instance of it that there is, which requests and reports name (PS3.4, J.3.5).
pub const COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";

/// The UID of a request: a digest of the archive, of the objects' UIDs and of the round, so that asking again for the same is the same
/// request. `archive`: where it is, as the settings say. `round`: 0, or more where the archive does not take a UID that it has seen.
pub fn transaction(archive: &str, objects: &[Object], round: u32) -> String {
    let round = round.to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![b"storage commitment", archive.as_bytes(), &round];
    parts.extend(objects.iter().map(|object| object.sop_instance.as_bytes()));
    uid(&parts)
}

/// The data set of a request, in implicit VR little endian (PS3.4, table J.3-1).
///
/// # Errors
/// `Internal`.
pub fn request(transaction: &str, objects: &[Object]) -> Result<Vec<u8>, ArchiveError> {
    let mut data = Data::new();
    data.text(tags::TRANSACTION_UID, VR::UI, transaction);
    let items = objects.iter().map(|object| {
        let mut item = Data::new();
        item.text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &object.sop_class);
        item.text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &object.sop_instance);
        item
    });
    data.sequence(tags::REFERENCED_SOP_SEQUENCE, items.collect());
    implicit(&data.encoded()?)
}
