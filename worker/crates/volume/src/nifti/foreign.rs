//! Neuroimaging files of other kinds: told by name, with the tool that turns them into NIfTI.

use std::io::Read;

use nightread_domain::{ErrorCode, JobError, Stage};

use super::gunzip::Gunzip;

/// Bytes of a file that are looked at.
const HEAD: usize = 1024;

/// Signature at an offset, what it is, what makes NIfTI of it.
type Mark = (usize, &'static [u8], &'static str, &'static str);

const PAIR: &str = "join it with its .img to one file: `fslchfiletype NIFTI_GZ`, or `nibabel.load(...)` and `.save('scan.nii.gz')`";
const DECOMPRESS: &str = "inflate it, or compress with gzip instead";

const MARKS: &[Mark] = &[
    (344, b"ni1\0", "the header of a .hdr/.img pair", PAIR),
    (4, b"ni2\0\r\n\x1a\n", "the header of a .hdr/.img pair", PAIR),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5, as MINC 2 volumes are", "convert with `mnc2nii`"),
    (0, b"CDF\x01", "netCDF, as MINC 1 volumes are", "convert with `mnc2nii`"),
    (0, b"BZh", "compressed with bzip2", DECOMPRESS),
    (0, b"\xfd7zXZ\0", "compressed with xz", DECOMPRESS),
    (0, b"\x28\xb5\x2f\xfd", "compressed with Zstandard", DECOMPRESS),
    (0, b"NRRD", "an NRRD volume", "convert with `c3d` or SimpleITK"),
];

/// What a file is that is neither NIfTI nor an image, as a refusal that says what to do: `None` when nothing here
/// knows it. `start`: the first bytes, inflated by at most 1 KiB when they are gzip's. `name`: for kinds whose voxels
/// lie in a file without any mark (`.img`, `.BRIK`).
pub fn foreign(start: &[u8], name: &str) -> Option<JobError> {
    let mut head = Vec::with_capacity(HEAD);
    if start.starts_with(&[0x1f, 0x8b]) {
        // A stream that is cut still gives the bytes before the cut.
        let _ = Gunzip::new(start).take(HEAD as u64).read_to_end(&mut head);
    } else {
        head.extend_from_slice(&start[..start.len().min(HEAD)]);
    }
    let (what, mend) = by_bytes(&head).or_else(|| by_name(name))?;
    let message = format!("the file is {what}, which is not read; {mend}");
    Some(JobError::new(Stage::Decode, ErrorCode::UnsupportedMedia, message))
}

fn by_bytes(head: &[u8]) -> Option<(&'static str, &'static str)> {
    if let Some(&(_, _, what, mend)) =
        MARKS.iter().find(|(at, mark, ..)| head.get(*at..).is_some_and(|rest| rest.starts_with(mark)))
    {
        return Some((what, mend));
    }
    if is_mgh(head) {
        return Some(("a FreeSurfer volume (MGH)", "convert with `mri_convert scan.mgz scan.nii.gz`"));
    }
    let size = head.first_chunk::<4>();
    if head.len() >= 348 && size.is_some_and(|n| [348u32.to_le_bytes(), 348u32.to_be_bytes()].contains(n)) {
        return Some(("an Analyze 7.5 header, which says no orientation", PAIR));
    }
    let text = String::from_utf8_lossy(head);
    let trimmed = text.trim_start();
    if trimmed.starts_with('<') && text.contains("<GIFTI") {
        let mend = "a surface has no voxels: give the volume that it was sampled from";
        return Some(("GIFTI, data on a surface", mend));
    }
    if trimmed.starts_with("type") && text.contains("-attribute") {
        return Some(("the header of an AFNI .HEAD/.BRIK pair", "convert with `3dAFNItoNIFTI`"));
    }
    if trimmed.starts_with("ObjectType") && text.contains("NDims") {
        return Some(("a MetaImage header", "convert with `c3d` or SimpleITK"));
    }
    None
}

fn by_name(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.to_ascii_lowercase();
    let extension =
        name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.').map(|(_, extension)| extension);
    if extension == Some("brik") {
        return Some(("the voxels of an AFNI .HEAD/.BRIK pair", "convert with `3dAFNItoNIFTI`"));
    }
    (extension == Some("img")).then_some(("named as the voxels of a .hdr/.img pair", PAIR))
}

/// FreeSurfer's MGH: big-endian version 1, four lengths, a voxel type of 0, 1, 3, 4 or 10.
fn is_mgh(head: &[u8]) -> bool {
    let Some(words) = head.first_chunk::<24>().filter(|_| head.len() >= 284) else { return false };
    let words: Vec<i32> = words.as_chunks().0.iter().map(|bytes| i32::from_be_bytes(*bytes)).collect();
    words[0] == 1
        && words[1..5].iter().all(|length| (1..=1 << 20).contains(length))
        && matches!(words[5], 0 | 1 | 3 | 4 | 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn with(at: usize, mark: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 400];
        bytes[at..at + mark.len()].copy_from_slice(mark);
        bytes
    }

    #[test]
    fn every_kind_is_named_with_its_converter_plain_and_compressed() {
        let mut mgh: Vec<u8> =
            [1i32, 64, 64, 30, 100, 3, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        mgh.resize(284, 0);
        let mut pair = with(344, b"ni1\0");
        pair[..4].copy_from_slice(&348u32.to_be_bytes());
        let gifti: &[u8] = b"<?xml version=\"1.0\"?>\n<!DOCTYPE GIFTI SYSTEM \"x\">\n<GIFTI Version=\"1.0\">";
        let head: &[u8] = b"\ntype = string-attribute\nname = HISTORY_NOTE\ncount = 9\n'made~\n";
        for (bytes, word, mend) in [
            (pair, ".hdr/.img", "fslchfiletype"),
            (with(4, b"ni2\0\r\n\x1a\n"), ".hdr/.img", "fslchfiletype"),
            (with(0, &348u32.to_le_bytes()), "Analyze", "fslchfiletype"),
            (mgh, "FreeSurfer", "mri_convert"),
            (with(0, b"CDF\x01"), "MINC 1", "mnc2nii"),
            (with(0, b"\x89HDF\r\n\x1a\n"), "MINC 2", "mnc2nii"),
            (gifti.to_vec(), "GIFTI", "surface"),
            (head.to_vec(), "AFNI", "3dAFNItoNIFTI"),
            (with(0, b"BZh9"), "bzip2", "inflate"),
            (with(0, b"NRRD0004\n"), "NRRD", "SimpleITK"),
        ] {
            for bytes in [gzip(&bytes), bytes] {
                let error = foreign(&bytes, "scan").unwrap();
                assert_eq!(error.code, ErrorCode::UnsupportedMedia);
                assert!(error.message.contains(word) && error.message.contains(mend), "{}", error.message);
            }
        }
        assert!(foreign(&[7; 4096], "sub/scan+orig.BRIK.gz").unwrap().message.contains("AFNI"));
        assert!(foreign(&[7; 4096], "scan.img").unwrap().message.contains(".hdr/.img"));
        assert!(foreign(&[7; 4096], "scan.nii").is_none() && foreign(&[], "").is_none());
    }
}
