//! What a blob is, by its bytes alone: names and content types lie.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use memchr::memmem;
use nightread_domain::media::Media;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF];
const GZIP: &[u8] = &[0x1F, 0x8B];
const ZIP: &[u8] = b"PK\x03\x04";
/// Where a tar file's first member has its mark, and the end of that member's header.
const TAR_MARK: usize = 257;
const TAR_HEADER: usize = 512;
/// Little and big endian, TIFF and BigTIFF (which is recognised so that it can be refused in words).
const TIFF: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
const NIFTI1_HEADER: usize = 348;
const NIFTI2_HEADER: usize = 540;

/// The container format of `bytes`, or `None` when it is nothing Nightread reads. Cost is constant: a gzip stream is
/// inflated by 540 bytes at most.
pub fn sniff(bytes: &[u8]) -> Option<Media> {
    if bytes.get(128..132) == Some(b"DICM") {
        // First: the 128 bytes before the mark may hold any other format's signature.
        return Some(if is_volume(bytes) { Media::DicomVolume } else { Media::Dicom });
    }
    if bytes.starts_with(PNG) {
        return Some(Media::Png);
    }
    if bytes.starts_with(JPEG) {
        return Some(Media::Jpeg);
    }
    if TIFF.iter().any(|signature| bytes.starts_with(signature)) {
        return Some(Media::Tiff);
    }
    if is_nifti(bytes) {
        return Some(Media::Nifti);
    }
    if bytes.starts_with(GZIP) {
        let head = gzip_head(bytes);
        return if is_nifti(&head) { Some(Media::NiftiGz) } else { is_tar(&head).then_some(Media::TarGz) };
    }
    if bytes.starts_with(ZIP) {
        return Some(Media::Zip);
    }
    if is_tar(bytes) {
        return Some(Media::Tar);
    }
    is_bare_dicom(bytes).then_some(Media::Dicom)
}

/// Signatures of what is often sent by mistake, with words for it and what to do. None of them starts what [`sniff`] knows.
const FOREIGN: [(&[u8], &str); 10] = [
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive; send the files inside one by one"),
    (b"Rar!\x1A\x07", "a RAR archive; send the files inside one by one"),
    (b"%PDF-", "a PDF document; send the image it was made from"),
    (b"\xFF\x4F\xFF\x51", "a bare JPEG 2000 codestream; send it inside a DICOM file"),
    (b"\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 file; send the image as DICOM or PNG"),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL file; send the image as DICOM or PNG"),
    (b"\xFF\x0A", "a JPEG XL codestream; send the image as DICOM or PNG"),
    (b"GIF8", "a GIF; send the image as DICOM or PNG"),
    (GZIP, "compressed by gzip, and no NIfTI scan is inside; decompress it"),
];

/// Names what `bytes` are, if they are nothing Nightread reads but something that is often sent. Asked after [`sniff`].
pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let known = FOREIGN.iter().find(|(signature, _)| bytes.starts_with(signature)).map(|(_, what)| *what);
    if known == Some("a bare JPEG 2000 codestream; send it inside a DICOM file") && is_high_throughput(bytes)
    {
        return Some("a bare HTJ2K codestream; send the image as JPEG 2000 in DICOM, or as PNG");
    }
    known.or_else(|| match bytes.get(..12)? {
        [b'R', b'I', b'F', b'F', .., b'W', b'E', b'B', b'P'] => {
            Some("a WebP; send the image as DICOM or PNG")
        }
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm' | b'a', ..] => {
            Some("a HEIF or AVIF file; send the image as DICOM or PNG")
        }
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some("a BMP; send the image as DICOM or PNG"),
        _ => None,
    })
}

/// Whether a DICOM file is the index of a folder or disc: its meta group names the media storage directory (PS3.10).
pub(crate) fn is_dicomdir(bytes: &[u8]) -> bool {
    const CLASS: &[u8] = b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10";
    memmem::find(&bytes[..bytes.len().min(512)], CLASS).is_some()
}

/// High-throughput JPEG 2000 (ITU-T T.814) is told by bit 14 of the capabilities in SIZ.
fn is_high_throughput(codestream: &[u8]) -> bool {
    codestream.get(6).is_some_and(|capabilities| capabilities & 0x40 != 0)
}

/// A single-file NIfTI-1 or NIfTI-2 header in either byte order. (`ni1`, the header of a two-file pair, is not readable
/// alone and therefore not recognised.)
fn is_nifti(bytes: &[u8]) -> bool {
    let Some(size) = bytes.first_chunk::<4>() else { return false };
    let sizes = [u32::from_le_bytes(*size), u32::from_be_bytes(*size)];
    (sizes.contains(&(NIFTI1_HEADER as u32)) && bytes.get(344..348) == Some(b"n+1\0"))
        || (sizes.contains(&(NIFTI2_HEADER as u32)) && bytes.get(4..12) == Some(b"n+2\0\r\n\x1a\n"))
}

/// The first bytes of a gzip stream's content, as many as the longest header needs.
fn gzip_head(bytes: &[u8]) -> Vec<u8> {
    const LONGEST: usize = if NIFTI2_HEADER > TAR_HEADER { NIFTI2_HEADER } else { TAR_HEADER };
    let mut head = Vec::with_capacity(LONGEST);
    // A stream that ends early still gives the bytes before its end; judging them is the decoder's business.
    let _ = MultiGzDecoder::new(bytes).take(LONGEST as u64).read_to_end(&mut head);
    head
}

/// A tar file of POSIX (`ustar`) or GNU (`ustar  `).
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(TAR_MARK..TAR_MARK + 5) == Some(b"ustar")
}

/// Whether a DICOM file holds all slices of a CT volume: its meta group names Enhanced CT, or what was converted to it
/// (PS3.4 B.5).
fn is_volume(bytes: &[u8]) -> bool {
    const ENHANCED: &[u8] = b"\x02\0\x02\0UI\x1c\x001.2.840.10008.5.1.4.1.1.2.1\0";
    const CONVERTED: &[u8] = b"\x02\0\x02\0UI\x1c\x001.2.840.10008.5.1.4.1.1.2.2\0";
    let head = &bytes[..bytes.len().min(512)];
    [ENHANCED, CONVERTED].iter().any(|class| memmem::find(head, class).is_some())
}

/// DICOM without its preamble: the mark at the very start, a bare file meta group, or a data set that begins in group
/// 0008 (or 0002) with two well-formed elements in rising order.
fn is_bare_dicom(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"DICM\x02\0") {
        return true;
    }
    let Some((first, rest)) = element(bytes) else { return false };
    if !matches!(first >> 16, 0x0002 | 0x0008) {
        return false;
    }
    matches!(element(rest), Some((second, _)) if second > first && (second >> 16) <= 0x0020)
}

/// Reads one little-endian element header, explicit or implicit, and steps over a value of at most 1 KiB that ends
/// inside `bytes`. Gives the tag as `group << 16 | element`.
fn element(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let head = bytes.first_chunk::<8>()?;
    let tag = u32::from(u16::from_le_bytes([head[0], head[1]])) << 16
        | u32::from(u16::from_le_bytes([head[2], head[3]]));
    let (header_length, value_length) = if head[4].is_ascii_uppercase() && head[5].is_ascii_uppercase() {
        if matches!(&head[4..6], b"OB" | b"OW" | b"OF" | b"SQ" | b"UN" | b"UT" | b"UC" | b"UR") {
            let long = bytes.get(8..12)?;
            (12, u32::from_le_bytes([long[0], long[1], long[2], long[3]]))
        } else {
            (8, u32::from(u16::from_le_bytes([head[6], head[7]])))
        }
    } else {
        (8, u32::from_le_bytes([head[4], head[5], head[6], head[7]]))
    };
    if value_length > 1024 {
        return None;
    }
    bytes.get(header_length + value_length as usize..).map(|rest| (tag, rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn nifti1(big_endian: bool) -> Vec<u8> {
        let mut header = vec![0; 352];
        header[..4].copy_from_slice(&if big_endian { 348u32.to_be_bytes() } else { 348u32.to_le_bytes() });
        header[344..348].copy_from_slice(b"n+1\0");
        header
    }

    fn nifti2(big_endian: bool) -> Vec<u8> {
        let mut header = vec![0; 544];
        header[..4].copy_from_slice(&if big_endian { 540u32.to_be_bytes() } else { 540u32.to_le_bytes() });
        header[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        header
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn signatures() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some(Media::Png));
        assert_eq!(sniff(b"\xFF\xD8\xFF\xE0"), Some(Media::Jpeg));
        for tiff in TIFF {
            assert_eq!(sniff(tiff), Some(Media::Tiff));
        }
        let mut dicom = b"\x89PNG\r\n\x1a\n".to_vec();
        dicom.resize(128, 0);
        dicom.extend_from_slice(b"DICM");
        assert_eq!(sniff(&dicom), Some(Media::Dicom));
        for bytes in [&b""[..], b"DICM", b"\x89PNG", b"%PDF-1.7", b"{\"a\": 1}", &[0; 4096]] {
            assert_eq!(sniff(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn nifti_in_both_versions_and_orders_plain_and_zipped() {
        for header in [nifti1(false), nifti1(true), nifti2(false), nifti2(true)] {
            assert_eq!(sniff(&header), Some(Media::Nifti));
            assert_eq!(sniff(&gzip(&header)), Some(Media::NiftiGz));
        }
        assert_eq!(sniff(&gzip(b"a text, zipped")), None);
        let mut tar = vec![0; TAR_HEADER];
        tar[TAR_MARK..TAR_MARK + 6].copy_from_slice(b"ustar\0");
        assert_eq!((sniff(&tar), sniff(&gzip(&tar))), (Some(Media::Tar), Some(Media::TarGz)));
        assert_eq!(sniff(&gzip(&nifti1(false))[..20]), None);
        let mut pair = nifti1(false);
        pair[344..348].copy_from_slice(b"ni1\0");
        assert_eq!(sniff(&pair), None);
    }

    #[test]
    fn what_is_sent_by_mistake_is_named() {
        let mut heif = vec![0, 0, 0, 0x18];
        heif.extend(b"ftypheic\0\0\0\0");
        for (bytes, word) in [
            (&b"PK\x05\x06\0\0"[..], "ZIP"),
            (&gzip(b"a text, zipped"), "gzip"),
            (b"\xFF\x4F\xFF\x51\0\x29\0\0", "JPEG 2000"),
            (b"\xFF\x4F\xFF\x51\0\x29\x40\0", "HTJ2K"),
            (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
            (b"\xFF\x0A\xFA\x7F", "JPEG XL"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
            (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "BMP"),
            (&heif, "HEIF"),
            (b"%PDF-1.7", "PDF"),
        ] {
            assert_eq!(sniff(bytes), None, "{word}");
            assert!(foreign(bytes).is_some_and(|what| what.contains(word)), "{word}");
        }
        assert_eq!(foreign(b"{\"a\": 1}"), None);
        assert_eq!(foreign(b""), None);
    }

    #[test]
    fn dicom_without_preamble() {
        let explicit = b"\x08\0\x05\0CS\x0A\0ISO_IR 100\x08\0\x16\0UI\x02\x001\0";
        assert_eq!(sniff(explicit), Some(Media::Dicom));
        let implicit = b"\x08\0\x05\0\x0A\0\0\0ISO_IR 100\x08\0\x16\0\x02\0\0\x001\0";
        assert_eq!(sniff(implicit), Some(Media::Dicom));
        let falling = b"\x08\0\x16\0\x02\0\0\x001\0\x08\0\x05\0\x0A\0\0\0ISO_IR 100";
        assert_eq!(sniff(falling), None);
    }
}
