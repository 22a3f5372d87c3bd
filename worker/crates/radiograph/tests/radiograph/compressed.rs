//! What compressed frames hold, sample by sample: every kind of lossless JPEG, codestreams of other depths than their header,
//! and values beyond it.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, precision};
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{Radiograph, decode};

use crate::fixtures::{Dicom, J2K, grey, jpeg_dct, jpeg_lossless, jpeg_ls, options, words};
use crate::lossless::Lossless;

const W: u16 = 37;
const H: u16 = 29;

fn read(dicom: &Dicom) -> Radiograph {
    decode(&dicom.bytes(), &options()).unwrap()
}

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|warning| warning.code.as_str()).collect()
}

/// A chest of `stored` bits in words of 16, whatever its frame holds.
fn chest(stored: u16) -> Dicom {
    let dicom = Dicom::new(W, H, stored, &[]);
    Dicom { allocated: 16, ..dicom }
}

#[test]
fn lossless_jpeg_of_every_predictor_precision_transform_and_interval() {
    for precision in 2..=16u8 {
        let samples = grey(W.into(), H.into(), ((1u32 << precision) - 1) as u16);
        let dicom = Dicom::new(W, H, precision.into(), &samples);
        for predictor in 1..=7 {
            for point_transform in [0, 1, 2].into_iter().filter(|&transform| transform < precision) {
                for restart_rows in [0, 1, 4, H] {
                    let kind = Lossless {
                        predictor,
                        point_transform,
                        restart_rows,
                        ..Lossless::new(W, H, precision)
                    };
                    let dicom = dicom.clone().frame(uids::JPEG_LOSSLESS, kind.encode(&samples));
                    let image = read(&dicom);
                    same!(words(&image), kind.kept(&samples), "{kind:?}");
                    assert_eq!(image.max_value(), (1 << precision) - 1);
                    assert!(codes(&image).is_empty(), "{kind:?}");
                }
            }
        }
    }
}

/// Restart intervals inside of a row are forbidden (T.81 H.1.1), and no two decoders agree on them.
#[test]
fn lossless_jpeg_with_half_a_row_between_restarts_is_refused() {
    let samples = grey(W.into(), H.into(), 4095);
    let mut frame = Lossless { restart_rows: 1, ..Lossless::new(W, H, 12) }.encode(&samples);
    let interval = frame.windows(4).position(|bytes| bytes == [0xFF, 0xDD, 0, 4]).unwrap() + 4;
    frame[interval + 1] = (W - 1) as u8;
    let dicom = Dicom::new(W, H, 12, &samples).frame(uids::JPEG_LOSSLESS, frame);
    let error = decode(&dicom.bytes(), &options()).unwrap_err();
    assert!(matches!(error.code, ErrorCode::DecodeFailed | ErrorCode::Truncated), "{error}");
}

#[test]
fn a_codestream_of_fewer_bits_than_the_header_says_keeps_its_own_range() {
    let twelve = grey(W.into(), H.into(), 4095);
    let ten = grey(W.into(), H.into(), 1023);
    let eight = grey(W.into(), H.into(), 255);
    let bytes: Vec<u8> = eight.iter().map(|&v| v as u8).collect();
    let near = |a: &[u16], b: &[u16], most: u16| a.iter().zip(b).all(|(&a, &b)| a.abs_diff(b) <= most);
    for (stored, syntax, frame, samples, max, most) in [
        (16, uids::JPEG_LOSSLESS, jpeg_lossless(&twelve, W, H, 12), &twelve, 4095, 0),
        (12, uids::JPEG_LOSSLESS_SV1, jpeg_lossless(&eight, W, H, 8), &eight, 255, 0),
        (16, uids::JPEGLS_LOSSLESS, jpeg_ls(&ten, W, H, 10, 0), &ten, 1023, 0),
        (12, uids::JPEGLS_NEAR_LOSSLESS, jpeg_ls(&ten, W, H, 10, 2), &ten, 1023, 2),
        (
            12,
            uids::JPEG_BASELINE8_BIT,
            jpeg_dct(&bytes, W.into(), H.into(), PixelFormat::Grayscale),
            &eight,
            255,
            24,
        ),
    ] {
        for photometric in ["MONOCHROME2", "MONOCHROME1"] {
            let dicom = chest(stored).frame(syntax, frame.clone());
            let image = read(&dicom.set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric));
            let right: Vec<u16> = match photometric {
                "MONOCHROME1" => samples.iter().map(|v| max - v).collect(),
                _ => samples.clone(),
            };
            assert!(near(&words(&image), &right, most), "{syntax} {photometric}");
            assert_eq!(image.max_value(), u32::from(max), "{syntax}");
            assert_eq!(image.facts().bits_stored, Some((u32::from(max) + 1).ilog2() as u16), "{syntax}");
            assert_eq!(codes(&image), ["codestream_narrower"], "{syntax}");
        }
    }
    let image =
        read(&Dicom { columns: 40, rows: 33, ..chest(16).frame(uids::JPEG2000_LOSSLESS, J2K.to_vec()) });
    same!(words(&image), grey(40, 33, 4095));
    assert_eq!((image.max_value(), codes(&image)), (4095, vec!["codestream_narrower"]));
}

/// White letters on film ring when they are compressed with loss: what lies above the stored bits is white.
#[test]
fn overshoot_of_a_lossy_codec_is_clamped() {
    let film: Vec<u16> =
        (0..W * H).map(|i| if (i % W / 4).is_multiple_of(2) { 1023 } else { i % 512 }).collect();
    let wide: Vec<i16> = film.iter().map(|&v| v as i16).collect();
    let frame = precision::compress_12bit(&wide, W.into(), H.into(), 1, 40, Subsampling::S444).unwrap();
    let raw = precision::decompress_12bit(&frame).unwrap().data;
    assert!(raw.iter().any(|&v| v > 1023), "the image rings");
    let image = read(&chest(10).frame(uids::JPEG_EXTENDED12_BIT, frame));
    same!(words(&image), raw.iter().map(|&v| v.clamp(0, 1023) as u16).collect::<Vec<_>>());
    assert_eq!(image.max_value(), 1023);

    // A codestream of 16 bits around 12, near-lossless.
    let bright: Vec<u16> = grey(W.into(), H.into(), 4095).iter().map(|&v| v.max(4080)).collect();
    let image = read(&chest(12).frame(uids::JPEGLS_NEAR_LOSSLESS, jpeg_ls(&bright, W, H, 16, 7)));
    assert!(words(&image).iter().zip(&bright).all(|(a, b)| a.abs_diff(*b) <= 7 && *a <= 4095));
}

#[test]
fn values_above_the_stored_bits_are_refused_in_either_photometric_interpretation() {
    let samples = grey(W.into(), H.into(), 4095);
    let wide: Vec<i16> = samples.iter().map(|&v| v as i16).collect();
    let lossy = precision::compress_12bit(&wide, W.into(), H.into(), 1, 90, Subsampling::S444).unwrap();
    for (syntax, frame) in [
        (uids::JPEG_LOSSLESS, jpeg_lossless(&samples, W, H, 12)),
        (uids::JPEGLS_LOSSLESS, jpeg_ls(&samples, W, H, 12, 0)),
        // Four times the range is no ringing.
        (uids::JPEG_EXTENDED12_BIT, lossy),
        (uids::JPEGLS_NEAR_LOSSLESS, jpeg_ls(&samples, W, H, 12, 2)),
    ] {
        for photometric in ["MONOCHROME1", "MONOCHROME2"] {
            let dicom = chest(10).set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
            let error = decode(&dicom.frame(syntax, frame.clone()).bytes(), &options()).unwrap_err();
            assert_eq!(error.code, ErrorCode::ValueOutOfRange, "{syntax} {photometric}: {error}");
        }
    }
}

/// A counter of 16 bits would end before the last block.
#[test]
fn twelve_bits_of_many_blocks() {
    const SIDE: u16 = 2056;
    let samples: Vec<u16> =
        (0..u32::from(SIDE) * u32::from(SIDE)).map(|i| (i % 2056 + i / 2056) as u16 & 0xFFF).collect();
    let wide: Vec<i16> = samples.iter().map(|&v| v as i16).collect();
    let side = usize::from(SIDE);
    let frame = precision::compress_12bit(&wide, side, side, 1, 98, Subsampling::S444).unwrap();
    let dicom = Dicom::new(SIDE, SIDE, 12, &[]).frame(uids::JPEG_EXTENDED12_BIT, frame);
    let decoded = words(&read(&dicom));
    // Away from the fold, where the slope falls back to zero.
    let near = decoded.iter().zip(&samples).filter(|(a, b)| a.abs_diff(**b) <= 16).count();
    assert!(near * 100 > decoded.len() * 95, "{near} of {}", decoded.len());
}
