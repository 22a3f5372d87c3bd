//! Images that pack and decode as radiographs do.

use std::sync::Arc;

use bytes::Bytes;
use nightread_domain::{ErrorCode, JobError, Media, Stage};
use nightread_engine::Preprocessing;

use crate::compute::verified::Model;

/// A generated image that a model reads.
#[derive(Clone, Debug)]
pub struct Image {
    pub media: Media,
    pub bytes: Bytes,
}

impl Image {
    /// A PNG, or DICOM for a model which reads through the window of the header: it refuses every other file.
    ///
    /// # Errors
    /// `internal` when it cannot be made.
    pub fn of(model: &Arc<Model>, side: u32, seed: u64) -> Result<Self, JobError> {
        let through_window = model.networks().iter().any(|network| match &network.manifest.preprocessing {
            Preprocessing::Steps(plan) => plan.needs_window(),
            _ => false,
        });
        Ok(if through_window {
            Self { media: Media::Dicom, bytes: dicom(side, seed) }
        } else {
            Self { media: Media::Png, bytes: png(side, seed)? }
        })
    }
}

/// A square 16-bit grey PNG: a soft shadow of two lungs with the noise of a 12-bit detector. Different seeds give
/// different noise.
pub fn png(side: u32, seed: u64) -> Result<Bytes, JobError> {
    let rows: Vec<u8> = samples(side, seed).into_iter().flat_map(u16::to_be_bytes).collect();
    packed(side, &rows).map(Bytes::from).map_err(|error| {
        JobError::new(Stage::Start, ErrorCode::Internal, "a sample image cannot be made").with_source(error)
    })
}

/// The same as a frontal chest image in DICOM, 65,535 pixels a side at most, with a window over all that can be stored.
pub fn dicom(side: u32, seed: u64) -> Bytes {
    let samples = samples(side, seed);
    let side = (side as u16).to_le_bytes();
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let syntax = b"1.2.840.10008.1.2.1\0";
    element(&mut file, (0x0002, 0x0000), *b"UL", &(syntax.len() as u32 + 8).to_le_bytes());
    element(&mut file, (0x0002, 0x0010), *b"UI", syntax);
    for (tag, representation, value) in [
        ((0x0008, 0x0016), b"UI", &b"1.2.840.10008.5.1.4.1.1.1.1\0"[..]),
        ((0x0008, 0x0060), b"CS", b"DX"),
        ((0x0018, 0x0015), b"CS", b"CHEST "),
        ((0x0018, 0x5101), b"CS", b"PA"),
        ((0x0028, 0x0002), b"US", &1_u16.to_le_bytes()),
        ((0x0028, 0x0004), b"CS", b"MONOCHROME2 "),
        ((0x0028, 0x0010), b"US", &side),
        ((0x0028, 0x0011), b"US", &side),
        ((0x0028, 0x0100), b"US", &16_u16.to_le_bytes()),
        ((0x0028, 0x0101), b"US", &16_u16.to_le_bytes()),
        ((0x0028, 0x0102), b"US", &15_u16.to_le_bytes()),
        ((0x0028, 0x0103), b"US", &0_u16.to_le_bytes()),
        ((0x0028, 0x1050), b"DS", b"32768 "),
        ((0x0028, 0x1051), b"DS", b"65536 "),
    ] {
        element(&mut file, tag, *representation, value);
    }
    for part in [0x7FE0_u16, 0x0010] {
        file.extend_from_slice(&part.to_le_bytes());
    }
    file.extend_from_slice(b"OW\0\0");
    file.extend_from_slice(&(2 * samples.len() as u32).to_le_bytes());
    file.extend(samples.into_iter().flat_map(u16::to_le_bytes));
    file.into()
}

/// An element of explicit VR, little endian, whose length has two bytes; `value` has an even number of them.
fn element(file: &mut Vec<u8>, (group, number): (u16, u16), representation: [u8; 2], value: &[u8]) {
    file.extend_from_slice(&group.to_le_bytes());
    file.extend_from_slice(&number.to_le_bytes());
    file.extend_from_slice(&representation);
    file.extend_from_slice(&(value.len() as u16).to_le_bytes());
    file.extend_from_slice(value);
}

/// Row by row.
fn samples(side: u32, seed: u64) -> Vec<u16> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ (seed << 17);
    let mut samples = Vec::with_capacity(side as usize * side as usize);
    for y in 0..side {
        let down = (3.0 * f64::from(y) / f64::from(side)).sin();
        for x in 0..side {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let lungs = (9.0 * f64::from(x) / f64::from(side)).sin() * down;
            let value = 2048.0 + 1500.0 * lungs + (state % 17) as f64;
            samples.push((value * 65535.0 / 4095.0).min(65535.0) as u16);
        }
    }
    samples
}

fn packed(side: u32, rows: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rows)?;
    writer.finish()?;
    Ok(bytes)
}
