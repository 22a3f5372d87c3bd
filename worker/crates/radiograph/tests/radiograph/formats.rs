//! PNG, JPEG and TIFF of every kind that is read, sample by sample.

use libjpeg_turbo_rs::PixelFormat;
use nightread_dicom::Samples;
use nightread_domain::error::ErrorCode;
use nightread_domain::media::Media;
use nightread_radiograph::{DecodeOptions, decode};
use png::{BitDepth, ColorType};

use crate::fixtures::{self, grey, options, tiff, words};

const W: u32 = 37;
const H: u32 = 29;

/// Packs samples of `bits` bits into PNG rows.
fn packed(samples: &[u16], bits: usize) -> Vec<u8> {
    let mut rows = Vec::new();
    for row in samples.chunks(W as usize) {
        let mut line = vec![0u8; (W as usize * bits).div_ceil(8)];
        for (i, &sample) in row.iter().enumerate() {
            line[i * bits / 8] |= (sample as u8) << (8 - bits - i * bits % 8);
        }
        rows.extend(line);
    }
    rows
}

#[test]
fn png_grey_of_every_depth() {
    for (bits, depth) in [(1, BitDepth::One), (2, BitDepth::Two), (4, BitDepth::Four), (8, BitDepth::Eight)] {
        let most = (1u16 << bits) - 1;
        let samples = grey(W, H, most);
        let bytes = fixtures::png(W, H, ColorType::Grayscale, depth, &packed(&samples, bits), None);
        let image = decode(&bytes, &options()).unwrap();
        let expected: Vec<u16> = samples.iter().map(|v| v * (255 / most)).collect();
        same!(words(&image), expected, "{bits} bits");
        assert_eq!((image.max_value(), image.facts().bits_stored), (255, Some(bits as u16)));
        assert_eq!(image.facts().media, Media::Png);
        assert_eq!(image.warnings()[0].code, "unverified_view");
    }
    let samples = grey(W, H, 65535);
    let image = decode(&fixtures::png16(W, H, &samples), &options()).unwrap();
    same!(image.samples(), &Samples::U16(samples));
    assert_eq!((image.width(), image.height(), image.max_value()), (W, H, 65535));
}

#[test]
fn png_colour_gives_channel_0() {
    let red = grey(W, H, 255);
    for (colour, channels) in [(ColorType::GrayscaleAlpha, 2), (ColorType::Rgb, 3), (ColorType::Rgba, 4)] {
        let rows: Vec<u8> = red.iter().flat_map(|&v| [v as u8, 1, 2, 3][..channels].to_vec()).collect();
        let image = decode(&fixtures::png(W, H, colour, BitDepth::Eight, &rows, None), &options()).unwrap();
        same!(words(&image), red, "{colour:?}");

        let deep = grey(W, H, 65535);
        let rows: Vec<u8> = deep
            .iter()
            .flat_map(|&v| [v, 1, 2, 3][..channels].iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>())
            .collect();
        let image = decode(&fixtures::png(W, H, colour, BitDepth::Sixteen, &rows, None), &options()).unwrap();
        same!(words(&image), deep, "{colour:?} of 16 bits");
    }
    let palette: Vec<u8> = (0..=255u8).flat_map(|i| [255 - i, i, 7]).collect();
    let indices: Vec<u8> = red.iter().map(|&v| v as u8).collect();
    let bytes = fixtures::png(W, H, ColorType::Indexed, BitDepth::Eight, &indices, Some(palette));
    let expected: Vec<u16> = red.iter().map(|v| 255 - v).collect();
    same!(words(&decode(&bytes, &options()).unwrap()), expected);
}

#[test]
fn png_of_a_stored_range() {
    let samples = grey(W, H, 32767);
    let bytes = fixtures::png16(W, H, &samples);
    let stored = |max| DecodeOptions { stored_max: Some(max), ..options() };
    assert_eq!(decode(&bytes, &stored(32767)).unwrap().max_value(), 32767);
    let error = decode(&bytes, &stored(32766)).unwrap_err();
    assert_eq!(error.code, ErrorCode::ValueOutOfRange);
    assert!(error.message.contains("32767") && error.message.contains("32766"), "{}", error.message);
}

#[test]
fn jpeg_grey_and_colour() {
    // Smooth, so that quality 95 keeps every sample within two.
    let smooth: Vec<u8> = (0..W * H).map(|i| (i % W * 3 + i / W * 2) as u8).collect();
    let near = |a: &[u16], b: &[u8]| a.iter().zip(b).all(|(&a, &b)| a.abs_diff(u16::from(b)) <= 3);
    let image = decode(&fixtures::jpeg_dct(&smooth, W, H, PixelFormat::Grayscale), &options()).unwrap();
    assert!(near(&words(&image), &smooth));
    assert_eq!(image.facts().photometric.as_deref(), Some("MONOCHROME2"));

    let rgb: Vec<u8> = smooth.iter().flat_map(|&v| [v, v / 2, 40]).collect();
    let image = decode(&fixtures::jpeg_dct(&rgb, W, H, PixelFormat::Rgb), &options()).unwrap();
    assert!(near(&words(&image), &smooth));
    assert_eq!((image.max_value(), image.facts().photometric.as_deref()), (255, Some("RGB")));
}

#[test]
fn tiff_grey_colour_and_negative_in_both_orders() {
    for big_endian in [false, true] {
        let samples = grey(W, H, 65535);
        let data: Vec<u8> =
            samples.iter().flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
        let image = decode(&tiff(big_endian, (W, H), 16, 1, 1, &data), &options()).unwrap();
        same!(words(&image), samples);
        assert_eq!((image.max_value(), image.facts().media), (65535, Media::Tiff));

        let negative = decode(&tiff(big_endian, (W, H), 16, 0, 1, &data), &options()).unwrap();
        let inverted: Vec<u16> = samples.iter().map(|v| 65535 - v).collect();
        same!(words(&negative), inverted);
        assert_eq!(negative.facts().photometric.as_deref(), Some("MONOCHROME1"));

        let bytes: Vec<u8> = grey(W, H, 255).iter().map(|&v| v as u8).collect();
        let image = decode(&tiff(big_endian, (W, H), 8, 1, 1, &bytes), &options()).unwrap();
        same!(image.samples(), &Samples::U8(bytes.clone()));
        let negative = decode(&tiff(big_endian, (W, H), 8, 0, 1, &bytes), &options()).unwrap();
        same!(negative.samples(), &Samples::U8(bytes.iter().map(|v| 255 - v).collect()));

        let rgb: Vec<u8> = bytes.iter().flat_map(|&v| [v, 1, 2]).collect();
        let image = decode(&tiff(big_endian, (W, H), 8, 2, 3, &rgb), &options()).unwrap();
        same!(image.samples(), &Samples::U8(bytes));
    }
}

#[test]
fn tiff_compressed() {
    use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};
    let samples = grey(W, H, 4095);
    for (name, compression) in [
        ("LZW", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Balanced)),
        ("PackBits", Compression::Packbits),
    ] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(compression);
        encoder.write_image::<colortype::Gray16>(W, H, &samples).unwrap();
        let stored = DecodeOptions { stored_max: Some(4095), ..options() };
        let image = decode(bytes.get_ref(), &stored).unwrap();
        same!(words(&image), samples, "{name}");
        assert_eq!(image.max_value(), 4095);
    }
}

#[test]
fn bigtiff_and_many_pages_are_refused_in_words() {
    use tiff::encoder::{TiffEncoder, colortype};
    let samples = grey(W, H, 65535);
    let mut bytes = std::io::Cursor::new(Vec::new());
    TiffEncoder::new_big(&mut bytes).unwrap().write_image::<colortype::Gray16>(W, H, &samples).unwrap();
    let error = decode(bytes.get_ref(), &options()).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedMedia);
    assert!(error.message.contains("BigTIFF"), "{}", error.message);

    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<colortype::Gray16>(W, H, &samples).unwrap();
    encoder.write_image::<colortype::Gray16>(W, H, &samples).unwrap();
    assert_eq!(decode(bytes.get_ref(), &options()).unwrap_err().code, ErrorCode::MultiFrame);
}
