//! JPEG whose entropy-coded data decodes to coefficients that no image has: each decoder makes a block of its own of them,
//! and none warns. They are refused; whatever an encoder makes of a real image is read as libjpeg-turbo reads it.

use dicom_dictionary_std::uids;
use libjpeg_turbo_rs::{Decoder, Encoder, PixelFormat, Subsampling, precision};
use nightread_domain::error::{ErrorCode, JobError};
use nightread_radiograph::{Radiograph, decode};

use crate::fixtures::{Dicom, Noise, grey, options, words};
use crate::lossless::Lossless;

const W: usize = 75;
const H: usize = 61;

/// Every kind of JPEG of 8 bits that is read.
fn encoded(pixels: &[u8], channels: usize, quality: u8) -> Vec<(String, Vec<u8>)> {
    let format = if channels == 1 { PixelFormat::Grayscale } else { PixelFormat::Rgb };
    let samplings: &[_] = if channels == 1 {
        &[None]
    } else {
        &[Subsampling::S444, Subsampling::S420, Subsampling::S422].map(Some)
    };
    let kinds = |sampling: Option<Subsampling>| {
        let encoder = || {
            let encoder = Encoder::new(pixels, W, H, format).quality(quality);
            match sampling {
                Some(sampling) => encoder.subsampling(sampling),
                None => encoder,
            }
        };
        [
            ("baseline", encoder()),
            ("own tables", encoder().optimize_huffman(true)),
            ("restart markers", encoder().restart_blocks(5)),
            ("restart rows", encoder().restart_rows(1)),
            ("progressive", encoder().progressive(true)),
            ("progressive with restart markers", encoder().progressive(true).restart_blocks(4)),
            ("arithmetic", encoder().arithmetic(true)),
            ("arithmetic, progressive", encoder().arithmetic(true).progressive(true)),
        ]
    };
    samplings
        .iter()
        .flat_map(|&sampling| kinds(sampling))
        .map(|(name, encoder)| (format!("{channels} x {name}, {quality}"), encoder.encode().unwrap()))
        .collect()
}

fn twelve(pixels: &[i16], quality: u8) -> Vec<u8> {
    precision::compress_12bit(pixels, W, H, 1, quality, Subsampling::S444).unwrap()
}

fn read_twelve(frame: Vec<u8>) -> Result<Radiograph, JobError> {
    let dicom = Dicom::new(W as u16, H as u16, 12, &[]).frame(uids::JPEG_EXTENDED12_BIT, frame);
    decode(&dicom.bytes(), &options())
}

/// Where the values of each quantisation table lie; 8 bits each.
fn quantisers(file: &[u8]) -> Vec<usize> {
    let marks = (0..file.len() - 5).filter(|&at| file[at..at + 2] == [0xFF, 0xDB]);
    marks
        .flat_map(|at| {
            let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
            (at + 4..at + 2 + length).step_by(65).map(|table| table + 1)
        })
        .collect()
}

/// A shadow with noise, of three channels or one.
fn shadow(channels: usize) -> Vec<u8> {
    let mut noise = Noise::new(7);
    (0..W * H * channels).map(|i| (40 + i / channels % W + noise.below(60)) as u8).collect()
}

fn assert_damaged(outcome: Result<Radiograph, JobError>, name: &str) {
    let Err(error) = outcome else { panic!("{name} is read") };
    assert!(
        error.code == ErrorCode::DecodeFailed && error.message.contains("coefficients that no image has"),
        "{name}: {error}"
    );
}

/// Greater quantisers do to every block what a bit error in its data does to one.
#[test]
fn coefficients_that_no_image_has_are_refused() {
    for channels in [1, 3] {
        for (name, mut file) in encoded(&shadow(channels), channels, 85) {
            let tables = quantisers(&file);
            assert!(!tables.is_empty(), "{name}");
            for at in tables {
                file[at..at + 64].fill(255);
            }
            assert_damaged(decode(&file, &options()), &name);
        }
    }
    let pixels: Vec<i16> = shadow(1).into_iter().map(|v| i16::from(v) * 16).collect();
    let mut frame = twelve(&pixels, 85);
    for at in quantisers(&frame) {
        frame[at..at + 64].fill(255);
    }
    assert_damaged(read_twelve(frame), "12 bits");
}

/// One coefficient in one block: the far end of a slope that a bit error made steep.
#[test]
fn one_block_beyond_the_range_is_enough() {
    // An encoder has no such coefficients: a flat block against a table that is altered afterwards.
    let mut pixels = vec![128u8; W * H];
    for row in 8..16 {
        pixels[row * W + 16..row * W + 24].fill(160);
    }
    for (name, mut file) in encoded(&pixels, 1, 100) {
        // The flat block is 32 brighter: its first coefficient is 256 of steps of 1.
        for (step, is_read) in [(1, true), (2, true), (15, true), (17, false), (100, false), (255, false)] {
            let at = quantisers(&file)[0];
            file[at] = step;
            match decode(&file, &options()) {
                Ok(image) => {
                    assert!(is_read, "{name}: a step of {step} is read");
                    let brightest = (128 + 32 * u16::from(step)).min(255);
                    assert_eq!(words(&image)[10 * W + 20], brightest, "{name}");
                }
                outcome => {
                    assert!(!is_read, "{name}: a step of {step}");
                    assert_damaged(outcome, &name);
                }
            }
        }
    }
}

/// The same in 12 bits, where a coefficient may be too great for the transform before its samples are: white stays white.
#[test]
fn twelve_bits_are_clamped_or_refused_and_never_wrapped() {
    let mut pixels = vec![2048i16; W * H];
    for (from, value) in [(16, 3048), (40, 1048)] {
        for row in 8..16 {
            pixels[row * W + from..row * W + from + 8].fill(value);
        }
    }
    let frame = twelve(&pixels, 100);
    let at = quantisers(&frame)[0];
    assert_eq!(frame[at], 1);
    for (step, is_read) in
        [(1, true), (2, true), (3, true), (4, true), (5, false), (8, false), (33, false), (255, false)]
    {
        let mut frame = frame.clone();
        frame[at] = step;
        match read_twelve(frame) {
            Ok(image) => {
                assert!(is_read, "a step of {step} is read");
                let (bright, dark) = (2048 + 1000 * i32::from(step), 2048 - 1000 * i32::from(step));
                let got = [20, 44].map(|x| i32::from(words(&image)[10 * W + x]));
                assert_eq!(got, [bright.min(4095), dark.max(0)], "{step}");
            }
            outcome => {
                assert!(!is_read, "a step of {step}");
                assert_damaged(outcome, "12 bits");
            }
        }
    }
}

/// The most that pixels can hold is within what is read, and block by block it is what the library makes of the whole.
#[test]
fn images_of_the_greatest_contrast_are_read_as_libjpeg_turbo_reads_them() {
    let mut noise = Noise::new(3);
    let patterns: [(&str, Vec<u8>); 4] = [
        ("noise", (0..W * H).map(|_| noise.below(256) as u8).collect()),
        ("dots", (0..W * H).map(|_| 255 * (noise.below(2) as u8)).collect()),
        ("squares", (0..W * H).map(|i| 255 * ((i % W + i / W) % 2) as u8).collect()),
        ("stripes", (0..W * H).map(|i| 255 * (i % W / 4 % 2) as u8).collect()),
    ];
    for (pattern, pixels) in &patterns {
        let colour: Vec<u8> = pixels.iter().flat_map(|&v| [v, 255 - v, v / 2]).collect();
        for quality in [1, 10, 60, 95, 100] {
            let files = encoded(pixels, 1, quality).into_iter().chain(encoded(&colour, 3, quality));
            for (name, file) in files {
                let outcome = decode(&file, &options());
                let format = if name.starts_with('1') { PixelFormat::Grayscale } else { PixelFormat::Rgb };
                let whole = Decoder::new(&file).unwrap().with_output_format(format).decode_image().unwrap();
                let step = if name.starts_with('1') { 1 } else { 3 };
                let right: Vec<u16> = whole.data.iter().step_by(step).map(|&v| v.into()).collect();
                match outcome {
                    Ok(image) => same!(words(&image), right, "{pattern} {name}"),
                    // The lowest quality makes one grey of colours.
                    Err(error) => {
                        let is_flat = right.iter().all(|v| *v == right[0]);
                        assert!(is_flat && error.code == ErrorCode::BlankImage, "{pattern} {name}: {error}");
                    }
                }
            }
            // Steps of thousands of 4096 values, in dots, may go as far as what is refused.
            if quality == 1 {
                continue;
            }
            let wide: Vec<i16> = pixels.iter().map(|&v| i16::from(v) * 16 + i16::from(v) / 16).collect();
            let frame = twelve(&wide, quality);
            let right = precision::decompress_12bit(&frame).unwrap().data;
            let image = read_twelve(frame).unwrap_or_else(|error| panic!("{pattern}, {quality}: {error}"));
            same!(
                words(&image),
                right.iter().map(|&v| v.clamp(0, 4095) as u16).collect::<Vec<_>>(),
                "12 bits"
            );
        }
    }
}

/// The blocks of one component lie in rows, whatever sampling its frame header claims for it (T.81 A.2.2).
#[test]
fn a_grey_image_that_claims_to_be_sampled_twice_is_read_in_rows() {
    let sampled = |mut file: Vec<u8>| {
        let frame = (0..file.len())
            .find(|&at| file[at] == 0xFF && matches!(file[at + 1], 0xC0..=0xC2 | 0xC9 | 0xCA))
            .unwrap();
        assert_eq!(file[frame + 11], 0x11);
        file[frame + 11] = 0x22;
        file
    };
    for (name, file) in encoded(&shadow(1), 1, 90) {
        let right = decode(&file, &options()).unwrap();
        same!(words(&decode(&sampled(file), &options()).unwrap()), words(&right), "{name}");
    }
    let pixels: Vec<i16> = shadow(1).into_iter().map(|v| i16::from(v) * 16).collect();
    let frame = twelve(&pixels, 90);
    let right = read_twelve(frame.clone()).unwrap();
    same!(words(&read_twelve(sampled(frame)).unwrap()), words(&right), "12 bits");
}

/// Legal, but the library takes the last table for all scans.
#[test]
fn a_quantisation_table_that_changes_between_scans_is_refused() {
    let (_, file) =
        encoded(&shadow(1), 1, 85).into_iter().find(|(name, _)| name.contains("progressive")).unwrap();
    let table = quantisers(&file)[0];
    let second = file.windows(2).rposition(|bytes| bytes == [0xFF, 0xDA]).unwrap();
    let tables = file[..second].windows(2).rposition(|bytes| bytes == [0xFF, 0xC4]).unwrap();
    let with = |step: u8| {
        let again = [&file[table - 5..table], &[step], &file[table + 1..table + 64]].concat();
        decode(&[&file[..tables], &again, &file[tables..]].concat(), &options())
    };
    same!(words(&with(file[table]).unwrap()), words(&decode(&file, &options()).unwrap()), "the same again");
    assert_eq!(with(file[table] + 9).unwrap_err().code, ErrorCode::UnsupportedMedia);
}

/// libjpeg-turbo goes over such a block twice, and leaves what it made of it the first time.
#[test]
fn fill_bytes_inside_of_the_data_are_refused() {
    for channels in [1, 3] {
        for (name, file) in encoded(&shadow(channels), channels, 90) {
            let stuffed = (0..file.len() - 1).rev().find(|&at| file[at..at + 2] == [0xFF, 0]);
            // Two bytes of data become one of ones, and a fill byte before it.
            let at = stuffed.unwrap_or(file.len() - 60);
            for fill in [&[0xFF][..], &[0xFF, 0xFF]] {
                let bytes = [&file[..at], fill, &[0xFF, 0], &file[at + 2..]].concat();
                let Err(error) = decode(&bytes, &options()) else { panic!("{name} is read") };
                assert_eq!(error.code, ErrorCode::DecodeFailed, "{name}: {error}");
            }
        }
    }
}

/// A bit error in a lossless image runs on to the end of its row; values of more bits than it has betray it. The library
/// drops these bits, other decoders clamp.
#[test]
fn lossless_values_beyond_their_precision_are_refused() {
    let (width, height) = (W as u16, H as u16);
    for precision in 2..=15u8 {
        let most = (1u16 << precision) - 1;
        let samples = grey(width.into(), height.into(), most);
        for predictor in 1..=7 {
            for point_transform in [0, 1] {
                for restart_rows in [0, 3] {
                    let kind = Lossless {
                        predictor,
                        point_transform,
                        restart_rows,
                        ..Lossless::new(width, height, precision)
                    };
                    let read = |samples: &[u16]| {
                        let dicom = Dicom::new(width, height, precision.into(), &[]);
                        decode(&dicom.frame(uids::JPEG_LOSSLESS, kind.encode(samples)).bytes(), &options())
                    };
                    same!(words(&read(&samples).unwrap()), kind.kept(&samples), "{kind:?}");
                    for (at, value) in [(0, most + 1), (W * 30 + 7, most + 2), (W * H - 1, u16::MAX)] {
                        let mut samples = samples.clone();
                        samples[at] = value;
                        let error = read(&samples).expect_err("damage");
                        assert!(error.message.contains("values of more than"), "{kind:?} {at}: {error}");
                    }
                }
            }
        }
    }
}
