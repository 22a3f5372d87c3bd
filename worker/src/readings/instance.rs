//! Which series a DICOM file belongs to, from the beginning of its bytes.

use nightread_dicom::{File, ReadOptions};
use nightread_domain::set::is_uid;
use nightread_domain::{BlobProperties, BlobRef, BlobStore, ErrorCode, JobError, Media, Stage};
use nightread_radiograph::sniff;

/// So many bytes of a file are read until its header ends in them. Nearly all end in the first: the pixel data comes last.
const HEADS: [u64; 3] = [256 << 10, 4 << 20, 32 << 20];

/// What a deflated data set may inflate to before its header is read.
const MAX_INFLATED_BYTES: u64 = 128 << 20;

/// What an instance says of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesMember {
    /// (0020,000E), digits and dots.
    pub series_uid: String,
    /// (0008,0018).
    pub instance_uid: Option<String>,
    /// (0008,0060).
    pub modality: Option<String>,
    /// (0020,1209): how many instances the series should have.
    pub expected: Option<u32>,
}

/// What the beginning of a blob shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    Of(SeriesMember),
    /// DICOM without a Series UID.
    WithoutSeries,
    NotDicom,
}

/// Reads the header of exactly the version in `properties`, by its first bytes.
///
/// # Errors
/// Those of a header that cannot be read, or does not end in 32 MiB; `blob_changed`; what storage says.
pub async fn instance(
    blob: &BlobRef,
    properties: &BlobProperties,
    store: &dyn BlobStore,
) -> Result<Instance, JobError> {
    let mut last = None;
    for most in HEADS {
        let head = store.head(blob, properties, most).await?;
        if sniff(&head) != Some(Media::Dicom) {
            return Ok(Instance::NotDicom);
        }
        let is_whole = head.len() as u64 == properties.bytes;
        match header(&head) {
            // Whether a header is whole is known where the pixel data begins.
            Ok((found, reaches_pixels)) if is_whole || reaches_pixels => return Ok(found),
            Err(error) if is_whole => return Err(error),
            // A file that is cut short reads like one that is cut here.
            Err(error) => last = Some(error),
            Ok(_) => {}
        }
    }
    Err(last.unwrap_or_else(|| {
        let text = format!("the header does not end in {} bytes", HEADS[HEADS.len() - 1]);
        JobError::new(Stage::Decode, ErrorCode::HeaderInvalid, text)
    }))
}

/// What a header says, and whether it was read up to the pixel data.
fn header(bytes: &[u8]) -> Result<(Instance, bool), JobError> {
    let options = ReadOptions { max_inflated_bytes: MAX_INFLATED_BYTES, codec: None };
    let file = File::open(bytes, &options, &mut Vec::new())?;
    let reaches_pixels = file.pixels().is_ok();
    let header = file.header();
    let Some(series_uid) = header.identity.series_uid.clone().filter(|uid| is_uid(uid)) else {
        return Ok((Instance::WithoutSeries, reaches_pixels));
    };
    let key = SeriesMember {
        series_uid,
        instance_uid: header.identity.instance_uid.clone(),
        modality: header.modality.clone(),
        expected: header.identity.series_instances.filter(|count| *count > 0),
    };
    Ok((Instance::Of(key), reaches_pixels))
}

/// Modalities of single images. Whatever else has a Series UID may be a slice.
const SINGLE_IMAGES: [&str; 7] = ["CR", "DX", "DR", "RG", "MG", "IO", "PX"];

/// Whether the beginning of a file is that of one slice of many: DICOM of a modality whose images come in series.
pub fn is_slice(head: &[u8]) -> bool {
    match header(head) {
        Ok((Instance::Of(key), _)) => {
            key.modality.is_some_and(|modality| !SINGLE_IMAGES.contains(&modality.as_str()))
        }
        Ok(_) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::storage::folder::FolderStore;

    /// A data set in the implicit form: what comes before the pixels, and so many bytes of them.
    fn file(elements: &[((u16, u16), &[u8])], pixels: usize) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        let mut put = |(group, number): (u16, u16), value: &[u8]| {
            bytes.extend(group.to_le_bytes());
            bytes.extend(number.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        };
        for (tag, value) in elements {
            put(*tag, value);
        }
        put((0x7fe0, 0x0010), &vec![7; pixels]);
        bytes
    }

    async fn seen(bytes: &[u8]) -> Result<Instance, ErrorCode> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new([("incoming".to_owned(), folder.path().to_owned())]);
        std::fs::write(folder.path().join("1"), bytes).expect("written");
        let blob = BlobRef::parse("incoming/1").expect("a name");
        let properties = store.properties(&blob).await.expect("there");
        instance(&blob, &properties, &store).await.map_err(|error| error.code)
    }

    const SOP: ((u16, u16), &[u8]) = ((0x0008, 0x0018), b"1.2.7\0");
    const MODALITY: ((u16, u16), &[u8]) = ((0x0008, 0x0060), b"CT");
    const SERIES: ((u16, u16), &[u8]) = ((0x0020, 0x000e), b"1.2.3\0");
    const COUNT: ((u16, u16), &[u8]) = ((0x0020, 0x1209), b"120 ");

    #[tokio::test]
    async fn a_slice_names_its_series_wherever_its_header_ends() {
        let key = SeriesMember {
            series_uid: "1.2.3".to_owned(),
            instance_uid: Some("1.2.7".to_owned()),
            modality: Some("CT".to_owned()),
            expected: Some(120),
        };
        for private in [10, 300_000, 5 << 20] {
            let filler = vec![0x20; private];
            let bytes = file(&[SOP, MODALITY, ((0x0009, 0x1001), &filler), SERIES, COUNT], 600_000);
            assert_eq!(seen(&bytes).await, Ok(Instance::Of(key.clone())), "{private} private bytes");
        }
        assert!(is_slice(&file(&[SOP, MODALITY, SERIES], 10)));
    }

    #[tokio::test]
    async fn what_names_no_series_is_told_apart() {
        assert_eq!(seen(b"\x89PNG\r\n\x1a\n and more").await, Ok(Instance::NotDicom));
        assert_eq!(seen(&file(&[SOP, MODALITY], 300_000)).await, Ok(Instance::WithoutSeries));
        let hostile = ((0x0020, 0x000e), &b"../../x "[..]);
        assert!(matches!(seen(&file(&[SOP, MODALITY, hostile], 10)).await, Ok(Instance::WithoutSeries)));
        let whole = file(&[SOP, MODALITY, SERIES], 10);
        assert_eq!(seen(&whole[..whole.len() - 30]).await, Err(ErrorCode::Truncated));
        for radiograph in [b"DX", b"CR"] {
            assert!(!is_slice(&file(&[SOP, ((0x0008, 0x0060), radiograph), SERIES], 10)));
        }
    }
}
