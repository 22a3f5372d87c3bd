//! Pixel data that its header contradicts: the one reading that is left, with a warning, or a refusal in words.

use dicom_core::{PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use nightread_dicom::Samples;
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{Radiograph, decode};

use crate::fixtures::{BIG_ENDIAN, Dicom, Pixels, grey, options, rle, words};

const W: u16 = 37;
const H: u16 = 29;
const NATIVE: [&str; 4] = [
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    BIG_ENDIAN,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];

fn read(dicom: &Dicom) -> Radiograph {
    decode(&dicom.bytes(), &options()).unwrap()
}

fn refused(dicom: &Dicom) -> (ErrorCode, String) {
    let error = decode(&dicom.bytes(), &options()).unwrap_err();
    (error.code, error.message)
}

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|warning| &*warning.code).collect()
}

fn number(value: u16) -> PrimitiveValue {
    dicom_value!(U16, [value])
}

/// The samples as words above `shift` bits, 16 of them allocated, whatever `stored` says.
fn in_words(stored: u16, samples: &[u16], shift: u16, noise: u16) -> Dicom {
    let words = samples.iter().enumerate().map(|(i, v)| v << shift | i as u16 & noise).collect();
    Dicom { allocated: 16, ..Dicom::new(W, H, stored, samples) }.pixels(Pixels::Words(words))
}

fn overlay(dicom: Dicom, group: u16, bit: u16) -> Dicom {
    dicom
        .set(Tag(group, 0x0010), VR::US, number(H))
        .set(Tag(group, 0x0011), VR::US, number(W))
        .set(Tag(group, 0x0100), VR::US, number(16))
        .set(Tag(group, 0x0102), VR::US, number(bit))
}

#[test]
fn bits_that_an_overlay_claims_are_taken_away() {
    for (stored, bit, group) in [(12u16, 12u16, 0x6000), (12, 15, 0x6002), (10, 11, 0x601E), (8, 8, 0x6000)] {
        let samples = grey(W.into(), H.into(), (1 << stored) - 1);
        for shift in [0, 16 - stored - 1] {
            let words_: Vec<u16> = samples.iter().map(|v| v << shift).collect();
            let free = if shift == 0 { bit } else { 0 };
            let dirty = words_.iter().enumerate().map(|(i, v)| v | (i as u16 % 2) << free).collect();
            let dicom = Dicom { high: stored - 1 + shift, ..in_words(stored, &samples, 0, 0) };
            let dicom = overlay(dicom.pixels(Pixels::Words(dirty)), group, free);
            let image = read(&dicom);
            same!(words(&image), samples, "{stored} bits, overlay in {bit}, shifted by {shift}");
            assert!(codes(&image).contains(&"overlay_removed"));
            // Without the overlay, or with data of its own, nothing may be taken away.
            for other in [
                dicom.clone().without(Tag(group, 0x0102)),
                dicom.clone().set(Tag(group, 0x3000), VR::OW, number(0)),
            ] {
                let (code, reason) = refused(&other);
                assert_eq!(code, ErrorCode::ValueOutOfRange, "{reason}");
                assert!(reason.contains("no overlay"), "{reason}");
            }
        }
    }
}

#[test]
fn values_above_the_stored_bits_are_refused_and_never_wrapped() {
    for (held, stored) in [(14u16, 12u16), (16, 12), (12, 10), (16, 15), (9, 8)] {
        let samples = grey(W.into(), H.into(), ((1u32 << held) - 1) as u16);
        for photometric in ["MONOCHROME1", "MONOCHROME2"] {
            for syntax in NATIVE {
                let dicom = in_words(stored, &samples, 0, 0).syntax(syntax);
                let dicom = dicom.set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
                let (code, reason) = refused(&dicom);
                assert_eq!(code, ErrorCode::ValueOutOfRange, "{held} in {stored}, {photometric}: {reason}");
                assert!(reason.contains(&format!("bit {}", held - 1)), "{reason}");
            }
            let packed = in_words(stored, &samples, 0, 0).frame(uids::RLE_LOSSLESS, rle(&samples, 16)).set(
                tags::PHOTOMETRIC_INTERPRETATION,
                VR::CS,
                photometric,
            );
            assert_eq!(refused(&packed).0, ErrorCode::ValueOutOfRange);
        }
    }
    let narrow = Dicom { stored: 7, high: 6, ..Dicom::new(W, H, 8, &grey(W.into(), H.into(), 255)) };
    assert_eq!(refused(&narrow).0, ErrorCode::ValueOutOfRange);
}

#[test]
fn high_bit_gives_way_to_the_samples() {
    for stored in [9u16, 10, 12, 14, 15] {
        let samples = grey(W.into(), H.into(), (1 << stored) - 1);
        // What HighBit says: nonsense, too low, too high, or a shift that the words deny.
        for high in [0, stored - 2, 15, 16, 200] {
            let dicom = Dicom { high, ..in_words(stored, &samples, 0, 0) };
            for dicom in [dicom.clone(), dicom.frame(uids::RLE_LOSSLESS, rle(&samples, 16))] {
                let image = read(&dicom);
                same!(words(&image), samples, "{stored} bits, HighBit {high}");
                assert_eq!(image.max_value(), (1 << stored) - 1);
                assert_eq!(codes(&image), ["high_bit_contradicted"]);
            }
        }
        let shift = 16 - stored;
        let shifted = Dicom { high: 15, ..in_words(stored, &samples, shift, 0) };
        let image = read(&shifted);
        same!(words(&image), samples, "{stored} bits, shifted");
        assert_eq!(codes(&image), ["high_bit_shifted"]);
        // Neither reading holds.
        let noisy = Dicom { high: 15, ..in_words(stored, &samples, shift, 1) };
        assert_eq!(refused(&noisy).0, ErrorCode::ValueOutOfRange);
        let silent = Dicom { high: stored - 1, ..shifted };
        assert_eq!(refused(&silent).0, ErrorCode::ValueOutOfRange);
    }
}

#[test]
fn negative_samples_are_named_as_such() {
    let mut samples = grey(W.into(), H.into(), 2047);
    samples[7] = (-3i16) as u16;
    for stored in [12, 16] {
        let dicom = in_words(stored, &samples, 0, 0).set(tags::PIXEL_REPRESENTATION, VR::US, number(1));
        let (code, reason) = refused(&dicom);
        assert_eq!(code, ErrorCode::ValueOutOfRange);
        assert!(reason.contains("negative"), "{reason}");
    }
}

#[test]
fn pixel_data_of_another_length() {
    for stored in [8u16, 12] {
        let samples = grey(W.into(), H.into(), (1 << stored) - 1);
        let size = if stored == 8 { 1 } else { 2 };
        let row = usize::from(W) * size;
        let whole: Vec<u8> = samples.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
        let with = |bytes: Vec<u8>, columns: u16| Dicom {
            columns,
            allocated: size as u16 * 8,
            ..Dicom::new(W, H, stored, &samples).pixels(Pixels::Bytes(bytes))
        };
        let longer = |by: usize| [whole.clone(), vec![7; by]].concat();
        assert_eq!(codes(&read(&with(whole.clone(), W))), [""; 0]);
        for by in [2, 3, row / 2, row - 2] {
            let image = read(&with(longer(by), W));
            same!(words(&image), samples, "{by} bytes more");
            assert_eq!(codes(&image), ["excess_pixel_data"], "{by} bytes more");
        }
        for by in [row + 1, 2 * row, whole.len()] {
            let (code, reason) = refused(&with(longer(by), W));
            assert_eq!(code, ErrorCode::HeaderInvalid, "{by} bytes more: {reason}");
        }
        for (columns, more) in [(W - 1, false), (W + 1, true), (W / 2, false), (2 * W, true)] {
            let (code, reason) = refused(&with(whole.clone(), columns));
            assert_eq!(code, ErrorCode::HeaderInvalid, "{columns} columns, too few bytes {more}: {reason}");
            assert!(reason.contains(&format!("{columns} x {H}")), "{reason}");
        }
    }
}

#[test]
fn a_file_that_ends_inside_its_pixels_is_truncated() {
    let samples = grey(W.into(), H.into(), 4095);
    let bytes = Dicom::new(W, H, 12, &samples).bytes();
    for cut in [1, 2, 73, 74, 75, 1000, samples.len() * 2 - 1] {
        let error = decode(&bytes[..bytes.len() - cut], &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Truncated, "{cut}: {error}");
    }
}

#[test]
fn an_odd_image_of_bytes_has_one_byte_of_padding() {
    let samples = grey(W.into(), H.into(), 255);
    let image = read(&Dicom::new(W, H, 8, &samples));
    assert_eq!(codes(&image), [""; 0]);
    assert!(matches!(image.samples(), Samples::U8(bytes) if bytes.len() == samples.len()));
}
