//! Files that are nearly what is read: the image inside, or what they are by name.

use std::io::Write;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{DecodeOptions, Radiograph, decode, foreign, sniff};
use png::{BitDepth, ColorType};

use crate::fixtures::{self, Dicom, grey, jpeg_lossless, options, png16, words};

const W: u32 = 70;
const H: u32 = 66;

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|w| w.code.as_str()).filter(|code| *code != "unverified_view").collect()
}

/// One directory of a little-endian TIFF: its fields as (tag, numbers), and the pieces its pixels lie in.
struct Page {
    fields: Vec<(u16, Vec<u32>)>,
    pieces: Vec<Vec<u8>>,
    tiled: bool,
}

impl Page {
    fn new(size: (u32, u32), bits: u32, photometric: u32, channels: u32, pixels: &[u8]) -> Self {
        let fields = vec![
            (256, vec![size.0]),
            (257, vec![size.1]),
            (258, vec![bits; channels as usize]),
            (259, vec![1]),
            (262, vec![photometric]),
            (277, vec![channels]),
            (278, vec![size.1]),
        ];
        Self { fields, pieces: vec![pixels.to_vec()], tiled: false }
    }

    fn with(mut self, tag: u16, values: &[u32]) -> Self {
        self.fields.retain(|(other, _)| *other != tag);
        self.fields.push((tag, values.to_vec()));
        self
    }

    /// The same grey image in tiles of `side` x `side`, 16 bits.
    fn tiles(samples: &[u16], side: u32) -> Self {
        let mut page = Self::new((W, H), 16, 1, 1, &[]).with(322, &[side]).with(323, &[side]);
        page.fields.retain(|(tag, _)| *tag != 278);
        page.pieces.clear();
        for top in (0..H).step_by(side as usize) {
            for left in (0..W).step_by(side as usize) {
                let at = |x: u32, y: u32| samples[(y.min(H - 1) * W + x.min(W - 1)) as usize];
                let tile = (top..top + side).flat_map(|y| (left..left + side).map(move |x| (x, y)));
                page.pieces.push(tile.flat_map(|(x, y)| at(x, y).to_le_bytes()).collect());
            }
        }
        page.tiled = true;
        page
    }
}

/// Offsets and sizes as longs, the rest as shorts.
fn tiff(pages: &[Page]) -> Vec<u8> {
    let mut out = b"II*\0\0\0\0\0".to_vec();
    let mut link = 4;
    for page in pages {
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for piece in &page.pieces {
            offsets.push(out.len() as u32);
            counts.push(piece.len() as u32);
            out.extend(piece);
            out.resize(out.len().next_multiple_of(2), 0);
        }
        let mut fields = page.fields.clone();
        let (offset_tag, count_tag) = if page.tiled { (324, 325) } else { (273, 279) };
        for (tag, values) in [(offset_tag, offsets), (count_tag, counts)] {
            if fields.iter().all(|(other, _)| *other != tag) {
                fields.push((tag, values));
            }
        }
        fields.sort_by_key(|(tag, _)| *tag);
        let mut entries = (fields.len() as u16).to_le_bytes().to_vec();
        for (tag, values) in fields {
            let short = matches!(tag, 258 | 259 | 262 | 277 | 338);
            let write = |value: &u32| value.to_le_bytes()[..if short { 2 } else { 4 }].to_vec();
            let mut bytes: Vec<u8> = values.iter().flat_map(write).collect();
            entries.extend(tag.to_le_bytes());
            entries.extend(if short { 3u16 } else { 4 }.to_le_bytes());
            entries.extend((values.len() as u32).to_le_bytes());
            if bytes.len() <= 4 {
                bytes.resize(4, 0);
                entries.extend(bytes);
            } else {
                entries.extend((out.len() as u32).to_le_bytes());
                out.extend(bytes);
                out.resize(out.len().next_multiple_of(2), 0);
            }
        }
        let at = (out.len() as u32).to_le_bytes();
        out[link..link + 4].copy_from_slice(&at);
        out.extend(entries);
        link = out.len();
        out.extend([0; 4]);
    }
    out
}

fn bytes_of(samples: &[u16]) -> Vec<u8> {
    samples.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn a_tiff_with_reduced_copies_or_a_mask_is_one_image() {
    let samples = grey(W, H, 65535);
    let page = || Page::new((W, H), 16, 1, 1, &bytes_of(&samples));
    let small = |kind: u32| Page::new((10, 10), 16, 1, 1, &[7; 200]).with(254, &[kind]);
    for pages in [
        vec![page(), small(1)],
        vec![page().with(254, &[0]), small(1), small(1), small(4)],
        vec![small(1), page()],
        vec![page(), Page::new((10, 10), 16, 1, 1, &[7; 200]).with(255, &[2])],
    ] {
        same!(words(&decode(&tiff(&pages), &options()).unwrap()), samples);
    }
    for pages in [
        vec![page(), page()],
        vec![page(), small(1), page()],
        vec![page().with(254, &[2]), page().with(254, &[2])],
        (0..60).map(|_| small(1)).collect(),
    ] {
        assert_eq!(decode(&tiff(&pages), &options()).unwrap_err().code, ErrorCode::MultiFrame);
    }
}

#[test]
fn a_tiff_of_grey_and_alpha_is_its_grey() {
    let deep = grey(W, H, 65535);
    let flat = grey(W, H, 255);
    for extra in [0, 1, 2] {
        let pixels: Vec<u8> = deep.iter().flat_map(|v| [v.to_le_bytes(), [0xFF; 2]].concat()).collect();
        let page = Page::new((W, H), 16, 1, 2, &pixels).with(338, &[extra]);
        same!(words(&decode(&tiff(&[page]), &options()).unwrap()), deep);
        let pixels: Vec<u8> = flat.iter().flat_map(|&v| [v as u8, 9]).collect();
        let page = Page::new((W, H), 8, 1, 2, &pixels).with(338, &[extra]);
        same!(words(&decode(&tiff(&[page]), &options()).unwrap()), flat);
    }
}

#[test]
fn white_is_zero_is_inverted_from_the_stored_maximum() {
    let samples = grey(W, H, 4095);
    let file = tiff(&[Page::new((W, H), 16, 0, 1, &bytes_of(&samples))]);
    let stored = |max| DecodeOptions { stored_max: Some(max), ..options() };
    let image = decode(&file, &stored(4095)).unwrap();
    same!(words(&image), samples.iter().map(|v| 4095 - v).collect::<Vec<_>>());
    assert_eq!((image.max_value(), codes(&image)), (4095, vec![]));
    // Without the setting the image is nearly white, and that is said.
    let image = decode(&file, &options()).unwrap();
    same!(words(&image), samples.iter().map(|v| 65535 - v).collect::<Vec<_>>());
    assert_eq!((image.max_value(), codes(&image)), (65535, vec!["part_of_range"]));
    assert_eq!(decode(&file, &stored(4094)).unwrap_err().code, ErrorCode::ValueOutOfRange);
}

#[test]
fn an_image_in_a_part_of_its_16_bits_is_said_to_be() {
    for (max, doubts) in [(4095, true), (32767, true), (32768, false), (65535, false)] {
        let samples = grey(W, H, max);
        for file in [png16(W, H, &samples), tiff(&[Page::new((W, H), 16, 1, 1, &bytes_of(&samples))])] {
            let image = decode(&file, &options()).unwrap();
            assert_eq!(codes(&image) == ["part_of_range"], doubts, "{max}");
            let set = DecodeOptions { stored_max: Some(max.into()), ..options() };
            assert!(codes(&decode(&file, &set).unwrap()).is_empty());
        }
    }
}

#[test]
fn tiles_are_read_and_wrong_ones_refused_in_words() {
    let samples = grey(W, H, 65535);
    let page = || Page::tiles(&samples, 32);
    same!(words(&decode(&tiff(&[page()]), &options()).unwrap()), samples);
    let mut short = page();
    short.pieces.pop();
    let mut cut = page();
    cut.pieces.iter_mut().for_each(|piece| piece.truncate(700));
    let mut strip = Page::new((W, H), 16, 1, 1, &bytes_of(&samples)[..3000]);
    strip.pieces.push(vec![7; 9000]);
    let both = page().with(273, &[8]).with(279, &[100]).with(278, &[H]);
    for (name, page) in [
        ("a tile too few", short),
        ("tiles cut short", cut),
        ("a strip cut short", strip.with(278, &[H / 2])),
        ("strips and tiles", both),
        ("wider tiles than promised", page().with(322, &[48])),
        ("lower tiles than promised", page().with(323, &[16])),
        ("tiles without width", page().with(322, &[0])),
        ("tiles without height", page().with(323, &[0])),
        ("huge tiles", page().with(322, &[0xFFFF_FFF0]).with(323, &[0xFFFF_FFF0])),
        ("another height", page().with(257, &[H * 3])),
        ("another width", page().with(256, &[W * 3])),
        ("offsets outside", page().with(324, &[u32::MAX; 9])),
    ] {
        let Err(error) = decode(&tiff(&[page]), &options()) else { panic!("{name} is read") };
        assert!(!error.message.contains("gave up"), "{name}: {error}");
        assert!(
            matches!(
                error.code,
                ErrorCode::HeaderInvalid
                    | ErrorCode::DecodeFailed
                    | ErrorCode::Truncated
                    | ErrorCode::InflatesTooLarge
            ),
            "{name}: {error}"
        );
    }
}

/// An animated PNG of `frames`; `hidden` puts an image before it that the animation does not show.
fn animation(samples: &[u16], frames: u32, hidden: bool) -> Vec<u8> {
    let rows: Vec<u8> = samples.iter().flat_map(|v| v.to_be_bytes()).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, W, H);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Sixteen);
    encoder.set_animated(frames, 0).unwrap();
    encoder.set_sep_def_img(hidden).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for _ in 0..frames + u32::from(hidden) {
        writer.write_image_data(&rows).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

#[test]
fn an_animation_of_one_image_is_an_image() {
    let samples = grey(W, H, 65535);
    let image = decode(&animation(&samples, 1, false), &options()).unwrap();
    same!(words(&image), samples);
    assert!(codes(&image).is_empty());
    for (frames, hidden) in [(2, false), (1, true), (3, true)] {
        let error = decode(&animation(&samples, frames, hidden), &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::MultiFrame, "{frames} {hidden}");
    }
}

#[test]
fn a_png_that_lacks_its_end_marker_alone_is_read_with_a_warning() {
    let samples = grey(W, H, 65535);
    let whole = png16(W, H, &samples);
    let end = whole.len() - 12;
    let pixels = whole.windows(4).position(|kind| kind == b"IDAT").unwrap();
    for bytes in [&whole[..end], &whole[..=end], &whole[..end + 11], &[&whole[..end], &[0; 40]].concat()] {
        let image = decode(bytes, &options()).unwrap();
        same!(words(&image), samples);
        assert_eq!(codes(&image), ["missing_eoi"]);
    }
    // Cut anywhere before it, or between two chunks of pixels.
    for end in (40..end).step_by(97).chain([end - 1, end - 4]) {
        let error = decode(&whole[..end], &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Truncated, "at {end}: {error}");
    }
    let half = fixtures::png_chunks(&whole[..pixels - 4], &whole[pixels + 4..end - 4], 1000);
    same!(words(&decode(&half, &options()).unwrap()), samples);
    for chunks in 1..4 {
        let end = pixels - 4 + chunks * 1012;
        let error = decode(&half[..end], &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Truncated, "{error}");
    }
}

#[test]
fn transfer_syntaxes_that_are_not_read_are_named() {
    let samples = grey(W, H, 4095);
    let dicom = Dicom::new(W as u16, H as u16, 12, &samples);
    for (uid, name) in [
        (uids::HTJ2K_LOSSLESS, "High-Throughput"),
        (uids::HTJ2K, "High-Throughput"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
        ("1.2.840.10008.1.2.4.111", "JPEG XL"),
        ("1.2.840.10008.1.2.4.112", "JPEG XL"),
        (uids::MPEG2MPML, "MPEG2"),
    ] {
        let mut bytes =
            dicom.clone().frame(uids::JPEG_LOSSLESS, jpeg_lossless(&samples, W as u16, H as u16, 12)).bytes();
        let at = bytes.windows(22).position(|w| w == uids::JPEG_LOSSLESS.as_bytes()).unwrap();
        let mut written = uid.as_bytes().to_vec();
        written.resize(written.len().next_multiple_of(2), 0);
        bytes[at - 2] = written.len() as u8;
        bytes.splice(at..at + 22, written);
        let error = decode(&bytes, &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedTransferSyntax, "{error}");
        assert!(error.message.contains(name), "{uid}: {error}");
    }
}

#[test]
fn archives_and_indexes_are_named() {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&png16(W, H, &grey(W, H, 65535))).unwrap();
    for (bytes, word) in [
        (zipped.finish().unwrap(), "gzip"),
        (b"PK\x03\x04 and so on".to_vec(), "one by one"),
        (fixtures::dicomdir(), "DICOMDIR"),
    ] {
        let error = decode(&bytes, &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedMedia, "{error}");
        assert!(error.message.contains(word), "{error}");
        // A ZIP archive may be a CT series; an index is a DICOM file.
        if word == "gzip" {
            assert!(sniff(&bytes).is_none() && foreign(&bytes).is_some());
        }
    }
    let ordinary =
        Dicom::new(16, 16, 12, &grey(16, 16, 4095)).set(tags::STUDY_DESCRIPTION, VR::LO, "DICOMDIR");
    assert!(decode(&ordinary.bytes(), &options()).is_ok());
}
