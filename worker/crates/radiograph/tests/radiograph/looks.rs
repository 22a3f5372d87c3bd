//! What the header says of how the image is shown: the samples stay as they are, and each doubt has a code of its own.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use nightread_domain::error::ErrorCode;
use nightread_radiograph::{Radiograph, XrvPreprocessing, decode, low_contrast, prepare};

use crate::fixtures::{Dicom, grey, options, png16, words};

const W: u16 = 40;
const H: u16 = 33;

fn codes(image: &Radiograph) -> Vec<&str> {
    image.warnings().iter().map(|warning| &*warning.code).collect()
}

fn chest() -> (Vec<u16>, Dicom) {
    let samples = grey(W.into(), H.into(), 4095);
    (samples.clone(), Dicom::new(W, H, 12, &samples))
}

#[track_caller]
fn warns(dicom: &Dicom, samples: &[u16], expected: &[&str]) {
    let image = decode(&dicom.bytes(), &options()).unwrap();
    same!(words(&image), samples);
    assert_eq!(codes(&image), expected, "{:?}", image.warnings());
}

#[test]
fn slopes() {
    let (samples, dicom) = chest();
    for (slope, expected) in [
        ("1", &[][..]),
        ("2.5", &[]),
        ("0", &[]),
        ("nonsense", &[]),
        ("-1", &["negative_rescale_slope"]),
        (" -0.25 ", &["negative_rescale_slope"]),
        ("-1.0E+1", &["negative_rescale_slope"]),
    ] {
        warns(&dicom.clone().set(tags::RESCALE_SLOPE, VR::DS, slope), &samples, expected);
    }
}

#[test]
fn look_up_tables() {
    let (samples, dicom) = chest();
    let falling: Vec<u16> = (0..4096).rev().collect();
    let rising: Vec<u16> = (0..4096).collect();
    let clipped: Vec<u16> = (0..4096u16).map(|v| 4095 - v.clamp(1000, 3000)).collect();
    for (sequence, code) in
        [(tags::MODALITY_LUT_SEQUENCE, "falling_modality_lut"), (tags::VOILUT_SEQUENCE, "falling_voi_lut")]
    {
        for (table, falls) in [(&falling, true), (&clipped, true), (&rising, false)] {
            for syntax in [
                uids::EXPLICIT_VR_LITTLE_ENDIAN,
                uids::IMPLICIT_VR_LITTLE_ENDIAN,
                uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
            ] {
                let item = InMemDicomObject::from_element_iter([
                    DataElement::new(tags::LUT_DESCRIPTOR, VR::US, dicom_value!(U16, [4096, 0, 12])),
                    DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16(table.clone().into())),
                ]);
                let element = DataElement::new(sequence, VR::SQ, DataSetSequence::from(vec![item]));
                let bytes = dicom.clone().syntax(syntax).bytes_with(element);
                let image = decode(&bytes, &options()).unwrap();
                same!(words(&image), samples);
                assert_eq!(codes(&image), if falls { vec![code] } else { vec![] }, "{syntax}");
            }
        }
    }
}

#[test]
fn shapes_intents_and_padding() {
    let (samples, dicom) = chest();
    let negative: Vec<u16> = samples.iter().map(|v| 4095 - v).collect();
    let set = |tag, value: &str| dicom.clone().set(tag, VR::CS, value);
    let mono1 = |dicom: Dicom| dicom.set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    warns(&set(tags::PRESENTATION_LUT_SHAPE, "IDENTITY"), &samples, &[]);
    warns(&set(tags::PRESENTATION_LUT_SHAPE, "INVERSE"), &samples, &["presentation_lut_inverse"]);
    // The standard's own pair.
    warns(&mono1(set(tags::PRESENTATION_LUT_SHAPE, "INVERSE")), &negative, &[]);
    warns(&set(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION"), &samples, &[]);
    warns(&set(tags::PRESENTATION_INTENT_TYPE, "FOR PROCESSING"), &samples, &["for_processing"]);
    let raw = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING;
    warns(&dicom.clone().set(tags::SOP_CLASS_UID, VR::UI, raw), &samples, &["for_processing"]);
    let padded =
        |value: u16| dicom.clone().set(tags::PIXEL_PADDING_VALUE, VR::US, dicom_value!(U16, [value]));
    warns(&padded(0), &samples, &[]);
    warns(&padded(4095), &samples, &["padding_not_black"]);
    warns(&mono1(padded(0)), &negative, &["padding_not_black"]);
    warns(&mono1(padded(4095)), &negative, &[]);
    for orientation in ["R\\F", "L\\H", "F\\L"] {
        warns(&set(tags::PATIENT_ORIENTATION, orientation), &samples, &["image_turned"]);
    }
    warns(&set(tags::PATIENT_ORIENTATION, "L\\F"), &samples, &[]);
}

#[test]
fn monochrome1_is_checked_before_it_is_inverted() {
    let high = grey(W.into(), H.into(), 4096);
    for (stored, photometric) in [(12, "MONOCHROME1"), (12, "MONOCHROME2"), (10, "MONOCHROME1")] {
        let frame = crate::fixtures::jpeg_ls(&high, W, H, 16, 0);
        let dicom = Dicom::new(W, H, stored, &high)
            .set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric)
            .frame(uids::JPEGLS_LOSSLESS, frame);
        let error = decode(&dicom.bytes(), &options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::ValueOutOfRange, "{stored} {photometric}: {error}");
    }
}

#[test]
fn one_value_only_is_a_blank_image() {
    for value in [0u16, 1, 2000, 4095] {
        for photometric in ["MONOCHROME1", "MONOCHROME2"] {
            let dicom = Dicom::new(W, H, 12, &vec![value; usize::from(W * H)]);
            let dicom = dicom.set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
            let error = decode(&dicom.bytes(), &options()).unwrap_err();
            assert_eq!(error.code, ErrorCode::BlankImage, "{value} {photometric}");
        }
        let png = png16(W.into(), H.into(), &vec![value; usize::from(W * H)]);
        assert_eq!(decode(&png, &options()).unwrap_err().code, ErrorCode::BlankImage);
    }
    let mut nearly = vec![0; usize::from(W * H)];
    nearly[77] = 1;
    assert!(decode(&Dicom::new(W, H, 12, &nearly).bytes(), &options()).is_ok());
}

#[test]
fn values_of_a_small_part_of_the_range_have_low_contrast() {
    let spec = XrvPreprocessing::new(24).unwrap();
    let warned = |samples: &[u16]| {
        let image = decode(&png16(W.into(), H.into(), samples), &options()).unwrap();
        low_contrast(&prepare(&image, &spec)).map(|warning| warning.code)
    };
    // An image of blocks, so that shrinking leaves its range.
    let blocks = |least: u16, most: u16| -> Vec<u16> {
        (0..W * H).map(|i| if i % W < W / 2 { least } else { most }).collect()
    };
    for (least, most, low) in [
        (0, 65535, false),
        (20_000, 45_000, false),
        (0, 4095, true),
        (0, 32_767, true),
        (60_000, 65_535, true),
        (30_000, 35_000, true),
    ] {
        assert_eq!(warned(&blocks(least, most)).is_some(), low, "{least} to {most}");
    }
}

#[test]
fn text_in_the_encoding_that_the_header_names() {
    let (samples, dicom) = chest();
    let with = |charset: Option<&str>, part: &[u8]| {
        let mut dicom = dicom.clone().set(tags::BODY_PART_EXAMINED, VR::CS, "0123456789ABCDEF");
        if let Some(charset) = charset {
            dicom = dicom.set(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset);
        }
        let mut bytes = dicom.bytes();
        let at = bytes.windows(16).position(|window| window == b"0123456789ABCDEF").unwrap();
        let mut part = part.to_vec();
        part.resize(16, b' ');
        bytes[at..at + 16].copy_from_slice(&part);
        decode(&bytes, &options())
    };
    for (charset, part) in [
        (Some("ISO_IR 100"), &b"T\xD3RAX"[..]),
        (Some("ISO_IR 192"), "T\u{D3}RAX".as_bytes()),
        (None, b"T\xD3RAX"),
        (None, "T\u{D3}RAX".as_bytes()),
        (Some("ISO_IR 101"), b"P\xA3UCA"),
        (Some("GB18030"), b"\xD0\xD8\xB2\xBF"),
        (Some("\\ISO 2022 IR 87"), b"\x1B$B6;It\x1B(B"),
        (Some("\\ISO 2022 IR 149"), b"\x1B$)C\xC8\xE4\xBA\xCE"),
        (Some("ISO_IR 126"), b"\xC8\xD9\xD1\xC1\xCA\xC1\xD3"),
        (Some("ISO_IR 148"), b"G\xD6\xD0\xDCS"),
    ] {
        let image = with(charset, part).unwrap_or_else(|error| panic!("{charset:?} {part:?}: {error}"));
        same!(words(&image), samples);
    }
    assert_eq!(with(Some("ISO_IR 100"), b"\xC9PAULE").unwrap_err().code, ErrorCode::WrongBodyPart);
}
