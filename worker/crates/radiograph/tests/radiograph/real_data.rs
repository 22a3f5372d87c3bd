//! One chest image (RG1, NEMA WG-04) in every encoding there is of it must give one tensor.

use std::path::{Path, PathBuf};

use dicom_core::PrimitiveValue;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use nightread_radiograph::{DecodeOptions, Radiograph, XrvPreprocessing, decode, prepare};

use crate::fixtures::{
    BIG_ENDIAN, Dicom, Pixels, jpeg_lossless, jpeg_ls, open_dicom, options, pydicom_data, rle, skipped,
    test_data, words,
};

const W: u16 = 1841;
const H: u16 = 1955;

fn tensor(image: &Radiograph) -> Vec<f32> {
    prepare(image, &XrvPreprocessing::new(224).unwrap())
}

fn read(path: &Path, options: &DecodeOptions) -> Radiograph {
    decode(&std::fs::read(path).unwrap(), options)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn rg1(test: &str, file: &str) -> Option<PathBuf> {
    let path = pydicom_data().map(|folder| folder.join(file)).filter(|path| path.exists());
    if path.is_none() {
        skipped(test, file);
    }
    path
}

#[test]
fn rg1_is_the_same_image_in_every_lossless_encoding() {
    let test = "rg1_is_the_same_image_in_every_lossless_encoding";
    let Some(path) = rg1(test, "RG1_UNCR.dcm") else { return };
    let original = read(&path, &options());
    assert_eq!((original.width(), original.height()), (W.into(), H.into()));
    assert_eq!(original.max_value(), 32767);
    assert_eq!(original.facts().photometric.as_deref(), Some("MONOCHROME1"));
    assert_eq!(original.facts().body_part.as_deref(), Some("CHEST"));
    assert_eq!(original.warnings(), []);
    let reversible = read(&path.with_file_name("RG1_J2KR.dcm"), &options());
    same!(reversible.samples(), original.samples(), "RG1_J2KR");

    let object = open_dicom(&path);
    let stored: Vec<u16> = object.element(tags::PIXEL_DATA).unwrap().to_multi_int().unwrap();
    let inverted = PrimitiveValue::from("MONOCHROME1");
    let again = Dicom::new(W, H, 15, &stored).set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, inverted);
    for (name, dicom) in [
        ("implicit VR", again.clone().syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN)),
        ("big endian", again.clone().syntax(BIG_ENDIAN)),
        ("deflated", again.clone().syntax(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)),
        ("RLE", again.clone().frame(uids::RLE_LOSSLESS, rle(&stored, 16))),
        ("lossless JPEG", again.clone().frame(uids::JPEG_LOSSLESS_SV1, jpeg_lossless(&stored, W, H, 15))),
        ("lossless JPEG-LS", again.clone().frame(uids::JPEGLS_LOSSLESS, jpeg_ls(&stored, W, H, 15, 0))),
        (
            "MONOCHROME2",
            again.pixels(Pixels::Words(stored.iter().map(|v| 32767 - v).collect())).set(
                tags::PHOTOMETRIC_INTERPRETATION,
                VR::CS,
                "MONOCHROME2",
            ),
        ),
    ] {
        let image = decode(&dicom.bytes(), &options()).unwrap_or_else(|error| panic!("{name}: {error}"));
        same!(image.samples(), original.samples(), "{name}");
        same!(tensor(&image), tensor(&original), "{name}");
    }
}

#[test]
fn rg1_with_loss_stays_near() {
    let Some(path) = rg1("rg1_with_loss_stays_near", "RG1_UNCR.dcm") else { return };
    let original = tensor(&read(&path, &options()));
    let lossy = read(&path.with_file_name("RG1_J2KI.dcm"), &options());
    // The archive holds what its makers' own decoder made of the lossy file.
    let unpacked = read(&path.with_file_name("RG1_UNCI.dcm"), &options());
    same!(lossy.samples(), unpacked.samples(), "RG1_J2KI and RG1_UNCI");
    let lossy = tensor(&lossy);
    assert!(furthest(&original, &lossy) < 4.0, "{}", furthest(&original, &lossy));
    let Some(data) = test_data() else { return skipped("rg1_with_loss_stays_near", "RG1_JLSN.dcm") };
    let near = tensor(&read(&data.join("xray/dicom/RG1_JLSN.dcm"), &options()));
    assert!(furthest(&original, &near) < 4.0, "{}", furthest(&original, &near));
}

#[test]
fn rg1_as_png_in_both_ranges() {
    let test = "rg1_as_png_in_both_ranges";
    let Some(path) = rg1(test, "RG1_UNCR.dcm") else { return };
    let Some(data) = test_data() else { return skipped(test, "xray/png16") };
    let original = read(&path, &options());
    let stored_range = DecodeOptions { stored_max: Some(32767), ..options() };
    let stored = read(&data.join("xray/png16/RG1_UNCR_inverted_to_MONO2_16bit.png"), &stored_range);
    same!(words(&stored), words(&original));
    same!(tensor(&stored), tensor(&original));
    let full = read(&data.join("xray/png16/RG1_UNCR_MONO2_fullrange_16bit.png"), &options());
    // Stretching 15 bits to 16 rounded down, by less than one of 65535 steps over the range of 2048.
    assert!(furthest(&tensor(&full), &tensor(&original)) < 2048.0 / 65535.0);
}

#[test]
fn monochrome1_and_2_of_one_image_are_negatives() {
    let test = "monochrome1_and_2_of_one_image_are_negatives";
    let Some(data) = test_data() else { return skipped(test, "xray/dicom") };
    let positive = tensor(&read(&data.join("xray/dicom/jpeg_baseline_mono2.dcm"), &options()));
    let negative = tensor(&read(&data.join("xray/dicom/jpeg_baseline_mono1.dcm"), &options()));
    let mirrored: Vec<f32> = negative.iter().map(|v| -v).collect();
    assert!(furthest(&positive, &mirrored) < 1e-3);
}

/// Every image of the collection decodes, is near its promised size, and says that its view is not verified.
#[test]
fn the_collections_decode() {
    let Some(data) = test_data() else { return skipped("the_collections_decode", "xray") };
    let mut seen = 0;
    for (folder, extension, most) in
        [("nih", "png", usize::MAX), ("hannover", "png", usize::MAX), ("kermany", "jpeg", 200)]
    {
        let files =
            std::fs::read_dir(data.join("xray").join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|path| path.extension().is_some_and(|e| e == extension)).take(most) {
            let image = read(&path, &options());
            assert_eq!(image.max_value(), 255);
            assert_eq!(image.warnings().len(), 1);
            seen += 1;
        }
    }
    assert_eq!(seen, 40 + 30 + 200);
}
