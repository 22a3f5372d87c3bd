//! Radiographs from bytes to a tensor: sniff, decode, gate, prepare, paint.
//!
//! ```text
//! sniff(&[u8]) -> Option<Media>
//! decode(&[u8], &DecodeOptions) -> Result<Radiograph, JobError>
//! prepare(&Radiograph, &XrvPreprocessing) -> Vec<f32>          // (1, size, size), values in [-1024, 1024]
//! prepare_by(&Radiograph, &Plan) -> Result<PreparedImage, JobError>          // by the steps that a manifest lists
//! low_contrast(&[f32]) -> Option<Warning>
//! preview(&Radiograph, side) -> Preview                                 // 8-bit grey, for the eye
//! centre_field(&Radiograph), field_of(&Radiograph, &Plan) -> Field         // what of it the network sees
//! HeatmapPainter::new(&Radiograph, &Field, size) -> Result<HeatmapPainter, JobError>
//! painter.paint(&ActivationMap, &Explained) -> Result<Vec<u8>, JobError>  // PNG
//! ```
//!
//! Bytes are hostile. Sizes are judged from headers before anything is allocated. Decoders in safe Rust run in process with
//! their limits set and their panics contained; DICOM, and the codecs of compressed images in their confined children, are
//! those of `nightread_dicom`.
//!
//! Pure CPU: no async runtime, no network, no files. All errors are [`nightread_domain::error::JobError`]s of stage
//! `decode` with a stable code, all permanent unless the code says otherwise.

mod contrast;
mod decode;
mod error;
mod gate;
mod heatmap;
mod limits;
mod npy;
mod options;
mod preview;
mod radiograph;
mod resize;
mod sniff;
mod steps;

pub use contrast::low_contrast;
pub use decode::decode;
pub use gate::GatePolicy;
pub use heatmap::{ActivationMap, Explained, HeatmapPainter};
pub use limits::DecodeLimits;
pub use nightread_steps::Field;
pub use npy::npy;
pub use options::DecodeOptions;
pub use preview::{Preview, preview};
pub use radiograph::{Facts, Radiograph, View};
pub use resize::{XrvPreprocessing, centre_field, prepare};
pub use sniff::{foreign, sniff};
pub use steps::{field_of, prepare_by};
