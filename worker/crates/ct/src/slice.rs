//! One image of a study, as its header tells it.

use std::sync::Arc;

use dicom::{File, Header, Plane, ReadOptions};
use nightread_dicom as dicom;

use crate::files::FileId;

/// An image that may be a slice of a volume.
#[derive(Clone, Debug)]
pub struct Slice {
    pub file: FileId,
    pub frame: u32,
    pub of: Arc<FileFacts>,
    pub position: Option<[f64; 3]>,
    pub orientation: Option<[f64; 6]>,
    pub spacing: Option<[f64; 2]>,
    pub thickness: Option<f64>,
    pub slope: Option<f64>,
    pub intercept: Option<f64>,
    pub rescale_type: Option<String>,
    pub acquisition: Option<i64>,
    pub time: Option<String>,
}

/// What all frames of a file share.
#[derive(Debug)]
pub struct FileFacts {
    pub rows: u16,
    pub columns: u16,
    pub frames: u32,
    pub sop_class: Option<String>,
    pub series_uid: Option<String>,
    pub instance_uid: Option<String>,
    pub frame_of_reference: Option<String>,
    pub instance_number: Option<i64>,
    pub photometric: Option<String>,
    pub has_modality_lut: bool,
    pub padding: Option<u16>,
    pub body_part: Option<String>,
    pub transfer_syntax: &'static str,
}

/// What a file gives.
#[derive(Debug)]
pub enum Content {
    Slices(Vec<Slice>),
    /// Nothing that counts as a slice.
    Not(&'static str),
    /// An image of this modality.
    Other(String),
}

const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";
const CONVERTED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.2";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// Judges one file by its header.
pub fn content(id: FileId, file: &File<'_>) -> Content {
    let header = file.header();
    let class = header.sop_class.as_deref().unwrap_or_default();
    if file.pixels().is_err() {
        return Content::Not("without_pixels");
    }
    let is_ct_class = matches!(class, CT_IMAGE | ENHANCED_CT | CONVERTED_CT);
    match header.modality.as_deref() {
        Some("CT") => {}
        None if is_ct_class => {}
        other => return Content::Other(other.unwrap_or("of no modality").to_owned()),
    }
    if class.starts_with(SECONDARY_CAPTURE) {
        return Content::Not("secondary_capture");
    }
    if header.samples_per_pixel.unwrap_or(1) != 1 {
        return Content::Not("colour");
    }
    let (Some(rows), Some(columns)) = (header.rows.filter(|&n| n > 0), header.columns.filter(|&n| n > 0))
    else {
        return Content::Not("without_pixels");
    };
    let facts = Arc::new(FileFacts {
        rows,
        columns,
        frames: header.frames.unwrap_or(1).max(1),
        sop_class: header.sop_class.clone(),
        series_uid: header.identity.series_uid.clone(),
        instance_uid: header.identity.instance_uid.clone(),
        frame_of_reference: header.identity.frame_of_reference_uid.clone(),
        instance_number: header.identity.instance_number,
        photometric: header.photometric.clone(),
        has_modality_lut: header.modality_lut != dicom::Lut::default(),
        padding: header.padding,
        body_part: header.body_part.clone(),
        transfer_syntax: file.transfer_syntax(),
    });
    let mut slices = Vec::new();
    for frame in 0..facts.frames {
        let Some(slice) = slice(id, frame, header, &facts) else { continue };
        slices.push(slice);
    }
    if slices.is_empty() { Content::Not("localizer") } else { Content::Slices(slices) }
}

/// `None` for a localizer. What is said of the frame goes before what is said of all, and that before the file.
fn slice(id: FileId, frame: u32, header: &Header, of: &Arc<FileFacts>) -> Option<Slice> {
    let nothing = Plane::default();
    // A file of one frame may have groups too; frames without an entry have what is shared.
    let own = header.frame_planes.get(frame as usize).unwrap_or(&nothing);
    let said = [own, &header.shared, &header.plane];
    let image_type = said.iter().find_map(|plane| plane.image_type.as_deref()).unwrap_or_default();
    if image_type.split('\\').any(|word| word.trim() == "LOCALIZER") {
        return None;
    }
    // An intercept of another level than its slope would belong to other numbers.
    let rescale =
        said.iter().find(|plane| plane.rescale_slope.is_some() || plane.rescale_intercept.is_some());
    Some(Slice {
        file: id,
        frame,
        of: Arc::clone(of),
        position: said.iter().find_map(|plane| plane.position),
        orientation: said.iter().find_map(|plane| plane.orientation),
        spacing: said.iter().find_map(|plane| plane.spacing),
        thickness: said.iter().find_map(|plane| plane.thickness),
        slope: rescale.and_then(|plane| plane.rescale_slope),
        intercept: rescale.and_then(|plane| plane.rescale_intercept),
        rescale_type: rescale.and_then(|plane| plane.rescale_type.clone()),
        acquisition: said.iter().find_map(|plane| plane.acquisition),
        time: said.iter().find_map(|plane| plane.time.clone()),
    })
}

/// How files are opened: with a codec for their pixels, or for their header alone.
pub fn options(max_bytes: u64, codec: Option<&dyn dicom::IsolatedCodec>) -> ReadOptions<'_> {
    ReadOptions { max_inflated_bytes: max_bytes, codec }
}
