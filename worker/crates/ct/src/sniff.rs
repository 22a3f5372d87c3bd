//! What a part is, by its bytes alone.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use crate::tar;

/// Bytes that are looked at: a NIfTI-2 header, and more than a tar header.
pub const HEAD: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dicom,
    /// Plain or compressed.
    Nifti,
    Zip,
    Tar,
    TarGz,
    /// Empty archives have no entry to judge by.
    Unknown,
}

/// The kind of what begins with `head`.
pub fn sniff(head: &[u8]) -> Kind {
    if is_dicom(head) {
        return Kind::Dicom;
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Kind::Zip;
    }
    if is_nifti(head) {
        return Kind::Nifti;
    }
    if tar::is_header(head) {
        return Kind::Tar;
    }
    if head.starts_with(&[0x1F, 0x8B]) {
        let mut start = Vec::new();
        // A stream that is cut here still gives the bytes before the cut.
        let _ = MultiGzDecoder::new(head).take(1024).read_to_end(&mut start);
        if is_nifti(&start) {
            return Kind::Nifti;
        }
        if tar::is_header(&start) {
            return Kind::TarGz;
        }
    }
    Kind::Unknown
}

fn is_nifti(head: &[u8]) -> bool {
    let Some(&size) = head.first_chunk::<4>() else { return false };
    let is = |n: u32| size == n.to_le_bytes() || size == n.to_be_bytes();
    // Pairs (`ni1`) are told so by the reader.
    is(348) && matches!(head.get(344..347), Some(b"n+1" | b"ni1"))
        || is(540) && matches!(head.get(4..7), Some(b"n+2" | b"ni2"))
}

/// With or without a preamble; without one, a first element of group 2 or 8 and a length that can be.
pub fn is_dicom(head: &[u8]) -> bool {
    if head.get(128..132) == Some(b"DICM") || head.starts_with(b"DICM\x02\0") {
        return true;
    }
    let Some(&[group, 0, element, 0, a, b, c, d]) = head.first_chunk::<8>() else { return false };
    if !matches!(group, 2 | 8) || element > 0x30 {
        return false;
    }
    let explicit = a.is_ascii_uppercase() && b.is_ascii_uppercase();
    explicit || u32::from_le_bytes([a, b, c, d]) <= 1024
}

/// Whether it is the index of a folder or disc (PS3.10): its meta group names the media storage directory.
pub fn is_dicomdir(head: &[u8]) -> bool {
    const CLASS: &[u8] = b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10";
    head[..head.len().min(512)].windows(CLASS.len()).any(|window| window == CLASS)
}
