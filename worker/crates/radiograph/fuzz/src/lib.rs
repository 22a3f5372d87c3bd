//! What must hold of every decode, whatever the bytes.

use std::sync::Arc;

use nightread_domain::error::Stage;
use nightread_dicom::{InProcess, Samples};
use nightread_radiograph::{DecodeLimits, DecodeOptions, XrvPreprocessing, decode, prepare};

/// Decodes `bytes` under small limits, the codecs in this process so that coverage guides them too, and checks the promises
/// of the image or of the error.
pub fn check(bytes: &[u8]) {
    let limits = DecodeLimits { max_pixels: 1 << 20, max_inflated_bytes: 8 << 20, min_side: 1 };
    let options = DecodeOptions { limits, codec: Some(Arc::new(InProcess)), ..DecodeOptions::default() };
    match decode(bytes, &options) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert_eq!(image.samples().len() as u64, pixels);
            assert!(pixels <= limits.max_pixels);
            let brightest = match image.samples() {
                Samples::U8(samples) => samples.iter().copied().max().map(u32::from),
                Samples::U16(samples) => samples.iter().copied().max().map(u32::from),
            };
            assert!(brightest <= Some(image.max_value()));
            if let Some(spec) = XrvPreprocessing::new(16) {
                let tensor = prepare(&image, &spec);
                assert_eq!(tensor.len(), 16 * 16);
                assert!(tensor.iter().all(|v| (-1024.0..=1024.0).contains(v)));
            }
        }
        Err(error) => {
            assert_eq!(error.stage, Stage::Decode);
            assert!(!error.is_transient() && !error.is_fatal());
        }
    }
}

/// The input with `signature` in front, so that no effort is spent on guessing it.
pub fn signed(signature: &[u8], data: &[u8]) -> Vec<u8> {
    if data.starts_with(signature) {
        return data.to_vec();
    }
    [signature, data].concat()
}
