#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_domain::media::Media;
use nightread_dicom::Samples;
use nightread_radiograph::{ActivationMap, Explained, Facts, HeatmapPainter, Radiograph, XrvPreprocessing, centre_field, prepare};

fuzz_target!(|data: &[u8]| {
    let Some((&[width, size, high, low], samples)) = data.split_first_chunk::<4>() else { return };
    let width = u32::from(width).max(1);
    let height = (samples.len() / 2) as u32 / width;
    let words: Vec<u16> = samples
        .chunks_exact(2)
        .take((width * height) as usize)
        .map(|p| u16::from_le_bytes([p[0], p[1]]))
        .collect();
    let max_value = u32::from(u16::from_be_bytes([high, low]));
    let image =
        Radiograph::new(width, height, Samples::U16(words), max_value, Facts::new(Media::Png), Vec::new());
    let (Ok(image), Some(spec)) = (image, XrvPreprocessing::new(u32::from(size))) else { return };
    let tensor = prepare(&image, &spec);
    assert_eq!(tensor.len(), usize::from(size).pow(2));
    assert!(tensor.iter().all(|v| (-1024.0..=1024.0).contains(v)));
    let Ok(map) = ActivationMap::new(&tensor, usize::from(size), usize::from(size)) else { return };
    let label = String::from_utf8_lossy(&data[..data.len().min(64)]);
    let explained = Explained {
        label: &label,
        logit: tensor[0],
        probability: f32::from(high) / 255.0,
        threshold: 0.5,
        positive: true,
        model: "",
        software: "",
        notice: "",
    };
    let painted = HeatmapPainter::new(&image, &centre_field(&image), 16).and_then(|painter| painter.paint(&map, &explained));
    assert!(painted.is_ok_and(|png| png.starts_with(b"\x89PNG")));
});
