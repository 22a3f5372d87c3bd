//! A short, seeded fuzz run: valid seeds, bent in a few places. Nothing may panic, and what comes out must keep its
//! promises. The fuzz targets beside this crate do the same for as long as one likes.

use std::sync::Arc;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use nightread_dicom::{InProcess, Samples};
use nightread_domain::error::{ErrorCode, Stage};
use nightread_radiograph::{DecodeLimits, DecodeOptions, XrvPreprocessing, decode, prepare, sniff};

use crate::fixtures::{
    self, BIG_ENDIAN, Dicom, J2K, Noise, grey, jpeg_dct, jpeg_lossless, jpeg_ls, options, png16, rle, tiff,
};

const ROUNDS: usize = 1500;
/// Nearly each of these ends a child.
const CHILD_ROUNDS: usize = 40;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (w, h) = (40u16, 33u16);
    let deep = grey(w.into(), h.into(), 4095);
    let flat = grey(w.into(), h.into(), 255);
    let bytes: Vec<u8> = flat.iter().map(|&v| v as u8).collect();
    let rgb: Vec<u8> = bytes.iter().flat_map(|&v| [v, v / 2, 9]).collect();
    let words: Vec<u8> = deep.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dicom = Dicom::new(w, h, 12, &deep);
    let size = (u32::from(w), u32::from(h));
    let grey_jpeg = jpeg_dct(&bytes, size.0, size.1, libjpeg_turbo_rs::PixelFormat::Grayscale);
    let progressive = libjpeg_turbo_rs::compress_progressive(
        &rgb,
        w.into(),
        h.into(),
        libjpeg_turbo_rs::PixelFormat::Rgb,
        80,
        libjpeg_turbo_rs::Subsampling::S420,
    )
    .unwrap();
    let wide: Vec<i16> = deep.iter().map(|&v| v as i16).collect();
    let extended = libjpeg_turbo_rs::compress_12bit(
        &wide,
        w.into(),
        h.into(),
        1,
        90,
        libjpeg_turbo_rs::Subsampling::S444,
    )
    .unwrap();
    vec![
        ("png 16", png16(size.0, size.1, &deep)),
        ("png rgb", fixtures::png(size.0, size.1, png::ColorType::Rgb, png::BitDepth::Eight, &rgb, None)),
        (
            "png palette",
            fixtures::png(
                size.0,
                size.1,
                png::ColorType::Indexed,
                png::BitDepth::Eight,
                &bytes,
                Some((0..768).map(|i| i as u8).collect()),
            ),
        ),
        ("jpeg grey", grey_jpeg.clone()),
        ("jpeg rgb", jpeg_dct(&rgb, size.0, size.1, libjpeg_turbo_rs::PixelFormat::Rgb)),
        ("jpeg progressive", progressive),
        ("tiff", tiff(false, size, 16, 1, 1, &words)),
        ("tiff big endian rgb", tiff(true, size, 8, 2, 3, &rgb)),
        ("dicom explicit", dicom.bytes()),
        ("dicom sequences", dicom.bytes_with(view_codes())),
        (
            "dicom implicit sequences",
            dicom.clone().syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN).bytes_with(view_codes()),
        ),
        ("dicom implicit", dicom.clone().syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN).bytes()),
        ("dicom big endian", dicom.clone().syntax(BIG_ENDIAN).bytes()),
        ("dicom deflated", dicom.clone().syntax(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN).bytes()),
        ("dicom rle", dicom.clone().frame(uids::RLE_LOSSLESS, rle(&deep, 16)).bytes()),
        ("dicom jpeg", Dicom::new(w, h, 8, &flat).frame(uids::JPEG_BASELINE8_BIT, grey_jpeg).bytes()),
        ("dicom jpeg 12", dicom.clone().frame(uids::JPEG_EXTENDED12_BIT, extended).bytes()),
        (
            "dicom lossless",
            dicom.clone().frame(uids::JPEG_LOSSLESS_SV1, jpeg_lossless(&deep, w, h, 12)).bytes(),
        ),
        ("dicom j2k", dicom.clone().frame(uids::JPEG2000_LOSSLESS, J2K.to_vec()).bytes()),
        ("dicom jpeg-ls", dicom.frame(uids::JPEGLS_LOSSLESS, jpeg_ls(&deep, w, h, 12, 0)).bytes()),
    ]
}

/// A sequence that is looked into, with another inside.
fn view_codes() -> DataElement<InMemDicomObject> {
    let code = |value: &str| {
        vec![
            DataElement::new(tags::CODE_VALUE, VR::SH, PrimitiveValue::from(value)),
            DataElement::new(tags::CODE_MEANING, VR::LO, PrimitiveValue::from("postero-anterior")),
        ]
    };
    let modifier = DataSetSequence::from(vec![InMemDicomObject::from_element_iter(code("R-41198"))]);
    let mut view = code("R-10214");
    view.push(DataElement::new(tags::VIEW_MODIFIER_CODE_SEQUENCE, VR::SQ, modifier));
    let items = vec![InMemDicomObject::from_element_iter(view)];
    DataElement::new(tags::VIEW_CODE_SEQUENCE, VR::SQ, DataSetSequence::from(items))
}

fn mutate(seed: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len());
        match noise.below(8) {
            0 => bytes[at] = noise.next() as u8,
            1 => bytes[at] ^= 1 << noise.below(8),
            2 => bytes[at] = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF][noise.below(6)],
            3 => bytes.truncate(at.max(1)),
            4 => bytes.insert(at, noise.next() as u8),
            5 => {
                bytes.remove(at);
                if bytes.is_empty() {
                    return seed.to_vec();
                }
            }
            6 => {
                let end = (at + 4).min(bytes.len());
                let value = [0u32, 1, 0xFFFF, 0x10000, 0x7FFF_FFFF, u32::MAX][noise.below(6)].to_le_bytes();
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            _ => {
                let from = noise.below(bytes.len());
                let end = (from + noise.below(64)).min(bytes.len());
                let piece = bytes[from..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// What must hold of any blob whatever.
fn check(name: &str, bytes: &[u8], options: &DecodeOptions) -> bool {
    let _ = sniff(bytes);
    match decode(bytes, options) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert_eq!(image.samples().len() as u64, pixels, "{name}");
            assert!(pixels <= options.limits.max_pixels, "{name}");
            let brightest = match image.samples() {
                Samples::U8(samples) => samples.iter().copied().max().map(u32::from),
                Samples::U16(samples) => samples.iter().copied().max().map(u32::from),
            };
            assert!(brightest <= Some(image.max_value()), "{name}");
            let tensor = prepare(&image, &XrvPreprocessing::new(24).unwrap());
            assert_eq!(tensor.len(), 24 * 24, "{name}");
            assert!(tensor.iter().all(|v| (-1024.0..=1024.0).contains(v)), "{name}");
            true
        }
        Err(error) => {
            assert_eq!(error.stage, Stage::Decode, "{name}: {error}");
            assert!(!error.is_transient() && !error.is_fatal(), "{name}: {error}");
            assert_ne!(error.code, ErrorCode::Internal, "{name}: {error}");
            assert!(!error.message.contains("gave up"), "{name}: a decoder panicked");
            false
        }
    }
}

#[test]
fn bent_images_end_in_words_or_in_images() {
    let limits = DecodeLimits { max_pixels: 1 << 20, max_inflated_bytes: 8 << 20, min_side: 1 };
    let in_child = DecodeOptions { limits, ..options() };
    let in_process = DecodeOptions { codec: Some(Arc::new(InProcess)), ..in_child.clone() };
    for (name, seed) in seeds() {
        assert!(check(name, &seed, &in_child), "the seed {name} decodes");
        let mut noise = Noise::new(name.bytes().map(u64::from).sum());
        for _ in 0..CHILD_ROUNDS {
            check(name, &mutate(&seed, &mut noise), &in_child);
        }
        // What these do to their process is not for this one.
        if matches!(name, "dicom jpeg-ls" | "dicom j2k") {
            continue;
        }
        for _ in 0..ROUNDS {
            check(name, &mutate(&seed, &mut noise), &in_process);
        }
    }
}

#[test]
fn noise_is_not_an_image() {
    let mut noise = Noise::new(7);
    for length in 0..600 {
        let bytes: Vec<u8> = (0..length).map(|_| noise.next() as u8).collect();
        check("noise", &bytes, &options());
    }
}
