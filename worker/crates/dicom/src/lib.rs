//! DICOM files: the header, then the samples of the frame.
//!
//! ```text
//! File::open(&[u8], &ReadOptions, &mut warnings) -> Result<File, JobError>    // the header, walked
//! storage_class(&[u8]) -> Option<String>                                      // what the meta group says, without a walk
//! file.header() -> &Header                                                    // the attributes that are wanted
//! file.attributes(&[Tag]) -> Result<Attributes, JobError>                    // values as they lie there, for DICOM results
//! file.pixels()?.shape() -> Result<Shape, JobError>                           // how the samples lie in their bytes
//! file.pixels()?.samples(&mut shape, &ReadOptions, &mut warnings) -> Result<Samples, JobError>
//! file.pixels()?.frames(&mut warnings) -> Result<Frames, JobError>            // of a file of any number of frames
//! frames.values(n, &ReadOptions, &mut warnings) -> Result<Vec<i32>, JobError> // stored values with their sign
//! ```
//!
//! What may be read at all is the caller's to judge, between the header and the pixels.
//!
//! Bytes are hostile. Sizes are judged from headers before anything is allocated. The codecs in C++, translated C and unsafe
//! Rust (JPEG of every kind, JPEG-LS, JPEG 2000) run in child processes without files, network or other system calls than
//! they need, with a memory limit and a time-out ([`ChildCodec`] starts them, [`codec_child::serve`] is their body). They
//! serve JPEG files too ([`isolated`], [`codestream::jpeg`]).
//!
//! Pure CPU: no async runtime, no network, no files. All errors are [`nightread_domain::error::JobError`]s of stage
//! `decode` with a stable code, all permanent unless the code says otherwise.

mod attributes;
mod codec;
pub mod codestream;
mod element;
mod error;
mod file;
mod fragments;
mod frame;
mod frames;
mod header;
mod lut;
mod native;
mod options;
mod plane;
mod rle;
mod samples;
mod shape;
mod source;
mod text;
mod walk;
mod window;

pub use attributes::Attributes;
pub use codec::child as codec_child;
pub use codec::{ChildCodec, Codec, CodecImage, CodecRequest, InProcess, IsolatedCodec, isolated};
pub use file::{File, Pixels};
pub use frames::Frames;
pub use header::{Code, Header, Identity};
pub use lut::Lut;
pub use options::ReadOptions;
pub use plane::Plane;
pub use samples::Samples;
pub use shape::Shape;
pub use source::storage_class;
pub use window::{Given, Window};
