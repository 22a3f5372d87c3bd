//! Images cut anywhere, however they are closed, are refused; one that lacks its end marker alone is read.

use dicom_dictionary_std::uids;
use libjpeg_turbo_rs::{Encoder, PixelFormat, ScanScript, Subsampling, precision};
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{Radiograph, decode};

use crate::fixtures::{Dicom, J2K, Noise, grey, jpeg_ls, options, words};
use crate::lossless::Lossless;

const W: u16 = 141;
const H: u16 = 117;

/// A shadow with noise, as bytes.
fn shadow(channels: usize) -> Vec<u8> {
    let mut noise = Noise::new(11);
    (0..usize::from(W) * usize::from(H) * channels)
        .map(|i| (i / channels % usize::from(W) + i / channels / usize::from(W) / 2 + noise.below(24)) as u8)
        .collect()
}

/// JPEG files of every kind that is read.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let (w, h) = (usize::from(W), usize::from(H));
    let (grey, rgb) = (shadow(1), shadow(3));
    let encoder = |colour: bool| {
        let (pixels, format) =
            if colour { (&rgb, PixelFormat::Rgb) } else { (&grey, PixelFormat::Grayscale) };
        Encoder::new(pixels, w, h, format).quality(85)
    };
    let encode = |encoder: Encoder<'_>| encoder.encode().unwrap();
    vec![
        ("grey", encode(encoder(false))),
        ("grey, own tables", encode(encoder(false).optimize_huffman(true))),
        ("grey, restart markers", encode(encoder(false).restart_blocks(7))),
        ("grey, restart rows", encode(encoder(false).restart_rows(1))),
        ("grey, progressive", encode(encoder(false).progressive(true))),
        ("colour", encode(encoder(true).subsampling(Subsampling::S420))),
        ("colour, restart markers", encode(encoder(true).subsampling(Subsampling::S422).restart_blocks(5))),
        ("colour, progressive", encode(encoder(true).subsampling(Subsampling::S420).progressive(true))),
        (
            "colour, progressive, 4:4:4",
            encode(encoder(true).subsampling(Subsampling::S444).progressive(true)),
        ),
    ]
}

/// Frames of every codec, in a DICOM file that has all its delimiters.
fn frames() -> Vec<(&'static str, Dicom, Vec<u8>)> {
    let deep = grey(W.into(), H.into(), 4095);
    let wide: Vec<i16> = deep.iter().map(|&v| v as i16).collect();
    let twelve = precision::compress_12bit(&wide, W.into(), H.into(), 1, 90, Subsampling::S444).unwrap();
    let lossless = |restart_rows, predictor| {
        Lossless { predictor, restart_rows, ..Lossless::new(W, H, 12) }.encode(&deep)
    };
    let dicom = |syntax| Dicom::new(W, H, 12, &deep).syntax(syntax);
    let mut frames: Vec<_> = files()
        .into_iter()
        .filter(|(name, _)| name.starts_with("grey"))
        .map(|(name, file)| (name, Dicom::new(W, H, 8, &[]).syntax(uids::JPEG_BASELINE8_BIT), file))
        .collect();
    frames.push(("12 bits", dicom(uids::JPEG_EXTENDED12_BIT), twelve));
    frames.push(("lossless", dicom(uids::JPEG_LOSSLESS_SV1), lossless(0, 1)));
    frames.push(("lossless, restart rows", dicom(uids::JPEG_LOSSLESS), lossless(2, 6)));
    frames.push(("JPEG-LS", dicom(uids::JPEGLS_LOSSLESS), jpeg_ls(&deep, W, H, 12, 0)));
    frames.push(("JPEG-LS, near", dicom(uids::JPEGLS_NEAR_LOSSLESS), jpeg_ls(&deep, W, H, 12, 2)));
    let j2k = Dicom { columns: 40, rows: 33, ..dicom(uids::JPEG2000_LOSSLESS) };
    frames.push(("JPEG 2000", j2k.clone(), J2K.to_vec()));
    frames.push(("JPEG 2000 with loss", j2k.syntax(uids::JPEG2000), J2K.to_vec()));
    frames
}

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|w| w.code.as_str()).filter(|code| *code != "unverified_view").collect()
}

/// Where the compressed pixels start: behind the last scan header that comes before any of them.
fn pixels_at(file: &[u8]) -> usize {
    let mark = |mark: [u8; 2]| file.windows(2).position(|bytes| bytes == mark);
    mark([0xFF, 0xDA]).or_else(|| mark([0xFF, 0x93])).unwrap() + 16
}

/// Every way in which `file` may be cut at `end`: plainly, closed by its end marker, and filled up.
fn cuts(file: &[u8], end: usize) -> [(&'static str, Vec<u8>); 4] {
    let head = &file[..end];
    let filled = |fill: u8| {
        let mut bytes = head.to_vec();
        bytes.resize(file.len(), fill);
        bytes
    };
    [
        ("cut", head.to_vec()),
        ("cut and closed", [head, &[0xFF, 0xD9]].concat()),
        ("filled with zeros", filled(0)),
        ("filled with ones", filled(0xFF)),
    ]
}

#[test]
fn a_jpeg_cut_at_any_percent_is_refused() {
    for (name, file) in files() {
        assert_eq!(codes(&decode(&file, &options()).unwrap()), [""; 0], "{name}");
        for percent in 1..100 {
            let end = (file.len() * percent / 100).max(4);
            for (how, bytes) in cuts(&file, end) {
                let Err(error) = decode(&bytes, &options()) else {
                    panic!("{name} {how} at {percent} % is read")
                };
                // Zeros in a header are no header; a progressive image has one before each scan.
                let in_header = end < pixels_at(&file) || name.contains("progressive");
                let malformed = in_header && how != "cut" && error.code == ErrorCode::DecodeFailed;
                assert!(
                    error.code == ErrorCode::Truncated || malformed,
                    "{name} {how} at {percent} %: {error}"
                );
            }
        }
    }
}

#[test]
fn a_frame_cut_at_any_percent_inside_a_whole_encapsulation_is_refused() {
    for (name, dicom, frame) in frames() {
        let syntax = dicom.syntax;
        let wrapped = |frame: Vec<u8>| decode(&dicom.clone().frame(syntax, frame).bytes(), &options());
        assert_eq!(codes(&wrapped(frame.clone()).unwrap()), [""; 0], "{name}");
        for percent in (1..100).step_by(3).chain([99]) {
            let end = (frame.len() * percent / 100).max(4);
            for (how, bytes) in cuts(&frame, end) {
                let Err(error) = wrapped(bytes) else { panic!("{name} {how} at {percent} % is read") };
                assert!(
                    matches!(error.code, ErrorCode::Truncated | ErrorCode::DecodeFailed),
                    "{name} {how} at {percent} %: {error}"
                );
            }
        }
    }
}

/// The last two bytes are no image. What pads a file is none, either.
#[test]
fn an_image_that_lacks_its_end_marker_alone_is_read_with_a_warning() {
    for (name, file) in files() {
        let whole = decode(&file, &options()).unwrap();
        let unmarked = &file[..file.len() - 2];
        for padding in [&[][..], &[0], &[0; 64], &[0xFF; 3], &[0xFF]] {
            let image = decode(&[unmarked, padding].concat(), &options()).unwrap();
            same!(image.samples(), whole.samples(), "{name} padded by {padding:?}");
            assert_eq!(codes(&image), ["missing_eoi"], "{name}");
        }
    }
    for (name, dicom, frame) in frames() {
        let syntax = dicom.syntax;
        let wrapped = |frame: &[u8]| decode(&dicom.clone().frame(syntax, frame.to_vec()).bytes(), &options());
        let (whole, unmarked) = (wrapped(&frame).unwrap(), wrapped(&frame[..frame.len() - 2]).unwrap());
        same!(words(&unmarked), words(&whole), "{name}");
        assert_eq!(codes(&unmarked), ["missing_eoi"], "{name}");
    }
}

/// A progressive image that ends between two of its scans looks finished, but blurred.
#[test]
fn a_progressive_image_without_its_last_scans_is_refused() {
    for (name, file) in files().into_iter().filter(|(name, _)| name.contains("progressive")) {
        let scans: Vec<usize> =
            (0..file.len() - 1).filter(|&at| file[at] == 0xFF && file[at + 1] == 0xDA).collect();
        assert!(scans.len() > 3, "{name}");
        for &at in &scans[1..] {
            // The tables of a scan come right before it; both cuts are between scans.
            let tables = file[..at].windows(2).rposition(|bytes| bytes == [0xFF, 0xC4]).unwrap();
            for end in [at, tables.min(at)] {
                for bytes in [file[..end].to_vec(), [&file[..end], &[0xFF, 0xD9]].concat()] {
                    let error = decode(&bytes, &options()).unwrap_err();
                    assert_eq!(error.code, ErrorCode::Truncated, "{name}: {error}");
                }
            }
        }
    }
}

/// The restart markers say what is missing even where the rest would decode.
#[test]
fn a_restart_interval_that_is_missing_or_misplaced_is_refused() {
    let (w, h) = (usize::from(W), usize::from(H));
    let pixels = shadow(1);
    let encoder = Encoder::new(&pixels, w, h, PixelFormat::Grayscale).quality(85).restart_rows(1);
    let file = encoder.encode().unwrap();
    let markers: Vec<usize> =
        (0..file.len() - 1).filter(|&at| file[at] == 0xFF && file[at + 1] & 0xF8 == 0xD0).collect();
    assert_eq!(markers.len(), h.div_ceil(8) - 1);
    for pair in markers.windows(2) {
        let dropped = [&file[..pair[0]], &file[pair[1]..]].concat();
        assert!(decode(&dropped, &options()).is_err());
        let doubled = [&file[..pair[1]], &file[pair[0]..]].concat();
        assert!(decode(&doubled, &options()).is_err());
    }
}

/// A script that never sends the lowest bits makes an image no radiograph should be.
#[test]
fn coefficients_that_are_never_sent_are_missed() {
    let pixels = shadow(1);
    let scan = |ss, se, ah, al| ScanScript { components: vec![0], ss, se, ah, al };
    let encoder = |script| {
        let encoder = Encoder::new(&pixels, W.into(), H.into(), PixelFormat::Grayscale).quality(85);
        encoder.progressive(true).scan_script(script).encode().unwrap()
    };
    let whole = vec![scan(0, 0, 0, 1), scan(1, 63, 0, 1), scan(0, 0, 1, 0), scan(1, 63, 1, 0)];
    assert!(decode(&encoder(whole.clone()), &options()).is_ok());
    for missing in 2..4 {
        let mut script = whole.clone();
        script.remove(missing);
        let error = decode(&encoder(script), &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Truncated, "{error}");
    }
}
