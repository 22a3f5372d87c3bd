//! Which series a file belongs to, from its header.

use nightread_dicom::File;

use crate::error::CtError;
use crate::slice::options;

/// Bytes that a deflated data set may inflate to before its header ends.
const MOST_HEADER: u64 = 64 << 20;

/// What tells which series a DICOM file belongs to, and whether that is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesKey {
    pub series_uid: Option<String>,
    pub study_uid: Option<String>,
    /// SOPInstanceUID.
    pub instance_uid: Option<String>,
    pub modality: Option<String>,
    pub frame_of_reference: Option<String>,
    /// How many instances the series has, where the file says so (0020,1209): few do.
    pub number_of_instances: Option<u32>,
    pub rows: Option<u16>,
    pub columns: Option<u16>,
    pub frames: u32,
    /// ImageOrientationPatient.
    pub orientation: Option<[f64; 6]>,
}

/// What files are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesGroup {
    Uid(String),
    /// Files whose UIDs were taken away: those of one folder, modality, size and orientation.
    Alike {
        folder: String,
        modality: Option<String>,
        rows: Option<u16>,
        columns: Option<u16>,
        orientation: Option<[i32; 6]>,
    },
}

impl SeriesKey {
    /// The group of a file that lies in `folder`.
    pub fn group(&self, folder: &str) -> SeriesGroup {
        match &self.series_uid {
            Some(uid) => SeriesGroup::Uid(uid.clone()),
            None => SeriesGroup::Alike {
                folder: folder.to_owned(),
                modality: self.modality.clone(),
                rows: self.rows,
                columns: self.columns,
                // To a hundredth: a wobble of the gantry is no other series.
                orientation: self
                    .orientation
                    .map(|cosines| cosines.map(|cosine| (cosine * 100.0).round() as i32)),
            },
        }
    }
}

/// Reads the header of a DICOM file. `bytes` may end behind it: the first 256 KiB nearly always do, and those of a file that
/// is compressed as a whole never.
///
/// # Errors
/// `unreadable`, with what the reader says: `truncated` where the header goes on behind `bytes`.
pub fn series_of(bytes: &[u8]) -> Result<SeriesKey, CtError> {
    let file = File::open(bytes, &options(MOST_HEADER, None), &mut Vec::new())
        .map_err(|error| CtError::of_file("the file", error))?;
    let header = file.header();
    let identity = &header.identity;
    let planes = [header.frame_planes.first(), Some(&header.shared), Some(&header.plane)];
    Ok(SeriesKey {
        series_uid: identity.series_uid.clone(),
        study_uid: identity.study_uid.clone(),
        instance_uid: identity.instance_uid.clone(),
        modality: header.modality.clone(),
        frame_of_reference: identity.frame_of_reference_uid.clone(),
        number_of_instances: identity.series_instances,
        rows: header.rows,
        columns: header.columns,
        frames: header.frames.unwrap_or(1).max(1),
        orientation: planes.into_iter().flatten().find_map(|plane| plane.orientation),
    })
}
