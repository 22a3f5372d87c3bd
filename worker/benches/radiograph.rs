//! What an image costs on one core: decode a 2000 x 2000 16-bit PNG, prepare it, decode the same as DICOM, and as 8-bit
//! JPEG, once in this process and once in a confined child as production does. (Build `codec_child` of the crate `dicom` first.)
//!
//! The image is a soft shadow with the noise of a 12-bit detector, so that it packs like a radiograph. Comparisons
//! with TorchXRayVision are made by `parity/parity.py`.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;
use nightread_dicom::{ChildCodec, InProcess, IsolatedCodec};
use nightread_radiograph::{
    ActivationMap, DecodeOptions, Explained, HeatmapPainter, XrvPreprocessing, centre_field, decode, prepare,
};

const SIDE: usize = 2000;

fn shadow() -> Vec<u16> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..SIDE * SIDE)
        .map(|i| {
            let (y, x) = ((i / SIDE) as f64 / SIDE as f64, (i % SIDE) as f64 / SIDE as f64);
            let lungs = (9.0 * x).sin() * (3.0 * y).sin();
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = 2048.0 + 1500.0 * lungs + (state % 17) as f64;
            (value as u32 * 65535 / 4095).min(65535) as u16
        })
        .collect()
}

fn png_of(samples: &[u16]) -> Vec<u8> {
    let rows: Vec<u8> = samples.iter().flat_map(|v| v.to_be_bytes()).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&rows).unwrap();
    writer.finish().unwrap();
    bytes
}

fn jpeg_of(samples: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = samples.iter().map(|v| (v >> 8) as u8).collect();
    libjpeg_turbo_rs::Encoder::new(&bytes, SIDE, SIDE, libjpeg_turbo_rs::PixelFormat::Grayscale)
        .quality(90)
        .encode()
        .unwrap()
}

fn dicom_of(samples: &[u16]) -> Vec<u8> {
    let number = |value: u16| dicom_value!(U16, [value]);
    let mut object = InMemDicomObject::new_empty();
    object.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE));
    object.put(DataElement::new(tags::MODALITY, VR::CS, "CR"));
    object.put(DataElement::new(tags::BODY_PART_EXAMINED, VR::CS, "CHEST"));
    object.put(DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"));
    for (tag, value) in [
        (tags::ROWS, SIDE as u16),
        (tags::COLUMNS, SIDE as u16),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, number(value)));
    }
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(samples.to_vec().into())));
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2.3");
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

/// The program `codec_child` of the crate `dicom`.
fn child() -> PathBuf {
    let bench = std::env::current_exe().unwrap();
    bench.parent().and_then(|deps| deps.parent()).unwrap().join("codec_child")
}

fn benches(criterion: &mut Criterion) {
    let samples = shadow();
    let (png, dicom, jpeg) = (png_of(&samples), dicom_of(&samples), jpeg_of(&samples));
    let with =
        |codec: Arc<dyn IsolatedCodec>| DecodeOptions { codec: Some(codec), ..DecodeOptions::default() };
    let options = with(Arc::new(InProcess));
    let in_child = with(Arc::new(ChildCodec::new(child(), [""; 0])));
    let spec = XrvPreprocessing::new(224).unwrap();
    let image = decode(&png, &options).unwrap();

    let mut group = criterion.benchmark_group("2000x2000");
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64)).sample_size(20);
    group.bench_function("decode png", |b| b.iter(|| decode(black_box(&png), &options).unwrap()));
    group.bench_function("decode jpeg", |b| b.iter(|| decode(black_box(&jpeg), &options).unwrap()));
    let child = |b: &mut criterion::Bencher<'_>| b.iter(|| decode(black_box(&jpeg), &in_child).unwrap());
    group.bench_function("decode jpeg in a child", child);
    group.bench_function("decode dicom", |b| b.iter(|| decode(black_box(&dicom), &options).unwrap()));
    group.bench_function("prepare", |b| b.iter(|| prepare(black_box(&image), &spec)));
    let values: Vec<f32> = (0..49).map(|i| (i % 20) as f32).collect();
    let map = ActivationMap::new(&values, 7, 7).unwrap();
    let explained = Explained {
        label: "Mass",
        logit: 2.0,
        probability: 0.9,
        threshold: 0.5,
        positive: true,
        model: "model 1.0.0-fp32",
        software: "Nightread",
        notice: "Not a medical device.",
    };
    let field = centre_field(&image);
    group.bench_function("paint one heatmap", |b| {
        b.iter(|| {
            HeatmapPainter::new(black_box(&image), &field, 512).unwrap().paint(&map, &explained).unwrap()
        });
    });
    let painter = HeatmapPainter::new(&image, &field, 512).unwrap();
    group.bench_function("paint a further heatmap", |b| {
        b.iter(|| painter.paint(black_box(&map), &explained).unwrap());
    });
    group.finish();
}

criterion_group!(radiograph, benches);
criterion_main!(radiograph);
