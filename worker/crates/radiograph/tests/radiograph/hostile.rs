//! Small blobs that promise large images, and other lies: each must end in words, before memory is taken.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{DecodeLimits, DecodeOptions, decode};
use std::io::Write;

use crate::fixtures::{Dicom, grey, jpeg_dct, jpeg_ls, options, png16, rle, tiff};

/// A PNG whose header says anything and whose stream holds `raw`.
fn png_claiming(width: u32, height: u32, depth: u8, colour: u8, raw: &[u8]) -> Vec<u8> {
    png_with_palette(width, height, depth, colour, &[], raw)
}

fn png_with_palette(width: u32, height: u32, depth: u8, colour: u8, palette: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        bytes.extend(crc.sum().to_be_bytes());
    };
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([depth, colour, 0, 0, 0]);
    chunk(b"IHDR", &header);
    if !palette.is_empty() {
        chunk(b"PLTE", palette);
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(raw).unwrap();
    chunk(b"IDAT", &encoder.finish().unwrap());
    chunk(b"IEND", &[]);
    bytes
}

#[test]
fn a_header_of_four_gigapixels_is_refused_in_every_format() {
    let samples = grey(16, 16, 255);
    let bytes: Vec<u8> = samples.iter().map(|&v| v as u8).collect();
    let mut jpeg = jpeg_dct(&bytes, 16, 16, libjpeg_turbo_rs::PixelFormat::Grayscale);
    let sof = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[sof + 5..sof + 9].fill(0xFF);
    let dicom = Dicom { columns: 65535, rows: 65535, ..Dicom::new(16, 16, 8, &samples) };
    for (name, blob) in [
        ("png", png_claiming(65535, 65535, 16, 0, &[0; 100])),
        ("jpeg", jpeg),
        ("tiff", tiff(false, (65535, 65535), 8, 1, 1, &bytes)),
        ("dicom", dicom.bytes()),
        ("dicom rle", dicom.clone().frame(uids::RLE_LOSSLESS, rle(&samples, 8)).bytes()),
        (
            "dicom jpeg-ls",
            dicom.clone().frame(uids::JPEGLS_LOSSLESS, jpeg_ls(&samples, 16, 16, 8, 0)).bytes(),
        ),
    ] {
        let error = decode(&blob, &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooManyPixels, "{name}: {error}");
    }
}

#[test]
fn few_bytes_cannot_promise_many_pixels() {
    let bomb = png_claiming(4000, 4000, 16, 0, &[0; 100]);
    assert_eq!(decode(&bomb, &options()).unwrap_err().code, ErrorCode::Truncated);
    let strip = tiff(false, (4000, 4000), 16, 1, 1, &[0; 100]);
    let code = decode(&strip, &options()).unwrap_err().code;
    assert!(matches!(code, ErrorCode::Truncated | ErrorCode::DecodeFailed), "{code}");
}

#[test]
fn colour_that_inflates_past_the_limit_is_refused() {
    let limits = DecodeLimits { max_inflated_bytes: 1 << 20, ..options().limits };
    let options = DecodeOptions { limits, ..options() };
    let wide = png_claiming(600, 600, 16, 6, &vec![0; 600 * 4801]);
    assert_eq!(decode(&wide, &options).unwrap_err().code, ErrorCode::InflatesTooLarge);
}

#[test]
fn a_png_stream_longer_than_its_image_is_cut_and_a_shorter_one_refused() {
    let row = 2 * 64 + 1;
    let mut exact = vec![0u8; 64 * row];
    exact[7] = 200; // one value only would be refused as such
    assert!(decode(&png_claiming(64, 64, 16, 0, &exact), &options()).is_ok());
    // A megabyte of zeros beyond the last row is never looked at.
    let mut long = exact.clone();
    long.resize(1 << 20, 0);
    assert!(decode(&png_claiming(64, 64, 16, 0, &long), &options()).is_ok());
    let error = decode(&png_claiming(64, 64, 16, 0, &exact[..32 * row]), &options()).unwrap_err();
    assert!(matches!(error.code, ErrorCode::Truncated | ErrorCode::DecodeFailed), "{error}");
}

#[test]
fn a_palette_of_broken_colours_is_refused() {
    let mut raw = vec![0u8; 16 * 17];
    raw[5] = 1;
    assert!(decode(&png_with_palette(16, 16, 8, 3, &[1, 2, 3, 4, 5, 6], &raw), &options()).is_ok());
    for length in [1, 2, 4, 5] {
        let error = decode(&png_with_palette(16, 16, 8, 3, &vec![7; length], &raw), &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::DecodeFailed, "{error}");
        assert!(!error.message.contains("gave up"), "{error}");
    }
}

#[test]
fn sequences_nested_without_end_do_not_overflow_the_stack() {
    let plain = Dicom::new(16, 16, 12, &grey(16, 16, 4095)).syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN).bytes();
    let mut bytes = plain[..plain.len() - 512 - 8].to_vec();
    for _ in 0..200_000 {
        bytes.extend([0x40, 0x00, 0x75, 0x02, 0xFF, 0xFF, 0xFF, 0xFF]); // (0040,0275), undefined length
        bytes.extend([0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]); // item, undefined length
    }
    let error = decode(&bytes, &options()).unwrap_err();
    assert_eq!(error.code, ErrorCode::HeaderInvalid, "{error}");
    assert!(error.message.contains("nests"), "{error}");
}

#[test]
fn stray_delimiters_and_endless_lengths_end_in_words() {
    let plain = Dicom::new(16, 16, 12, &grey(16, 16, 4095)).bytes();
    let head = plain[..plain.len() - 512 - 12].to_vec();
    for tail in [
        &[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0][..],
        &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
        b"\x40\0\x75\x02LO\xFF\xFFabc",
        b"\x40\0\x75\x02OB\0\0\xFE\xFF\xFF\xFFabc",
    ] {
        let mut bytes = head.clone();
        bytes.extend(tail);
        let error = decode(&bytes, &options()).unwrap_err();
        assert!(matches!(error.code, ErrorCode::HeaderInvalid | ErrorCode::Truncated), "{tail:?}: {error}");
    }
}

#[test]
fn too_small_empty_and_foreign_blobs() {
    let limits = DecodeLimits { min_side: 64, ..options().limits };
    let options = DecodeOptions { limits, ..options() };
    let code = |bytes: &[u8]| decode(bytes, &options).unwrap_err().code;
    assert_eq!(code(&png16(63, 100, &grey(63, 100, 65535))), ErrorCode::TooSmall);
    assert_eq!(code(b""), ErrorCode::BlobEmpty);
    assert_eq!(code(b"%PDF-1.7"), ErrorCode::UnsupportedMedia);
    assert_eq!(code(b"{\"a\": 1}"), ErrorCode::NotAnImage);
    let mut nifti = vec![0; 352];
    nifti[..4].copy_from_slice(&348u32.to_le_bytes());
    nifti[344..348].copy_from_slice(b"n+1\0");
    assert_eq!(code(&nifti), ErrorCode::UnsupportedMedia);
}

#[test]
fn an_absurd_frame_count_is_multi_frame() {
    let dicom = Dicom::new(16, 16, 12, &grey(16, 16, 4095)).set(tags::NUMBER_OF_FRAMES, VR::IS, "4000000000");
    assert_eq!(decode(&dicom.bytes(), &options()).unwrap_err().code, ErrorCode::MultiFrame);
}
