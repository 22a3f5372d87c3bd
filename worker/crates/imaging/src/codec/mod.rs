//! Codecs written in C or C++ never see hostile bytes in the worker's own process.
//!
//! [`IsolatedCodec`] is the port; [`ChildCodec`] implements it by starting `program args…` for each picture, whose
//! body is [`child::serve`]. The child limits its own memory and processor time before it reads a byte; the parent kills
//! it at the time-out. A child that dies is `codec_died`, one that is late `codec_timeout`: permanent failures of that
//! one picture.

use std::fmt;

use nightread_domain::error::JobError;

pub mod child;
mod runner;
mod wire;

pub use runner::ChildCodec;

/// A codec that runs isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// JPEG-LS (ITU-T T.87) by CharLS, with and without loss.
    JpegLs,
    /// JPEG 2000 part 1 by OpenJPEG (`openjp2`), with and without loss.
    Jpeg2000,
}

impl Codec {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JpegLs => "jpeg-ls",
            Self::Jpeg2000 => "jpeg-2000",
        }
    }
}

/// One compressed frame of one component, and the size its outer header promises.
#[derive(Clone, Copy, Debug)]
pub struct CodecRequest<'a> {
    pub codec: Codec,
    pub columns: u32,
    pub rows: u32,
    /// Bits allocated to a sample: 8 or 16.
    pub bits: u16,
    pub frame: &'a [u8],
}

/// Decoded samples in row order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecImage {
    /// Bits of a sample, 1 to 16. Up to 8 they are bytes, above little-endian words.
    pub precision: u8,
    /// Exactly `columns * rows` samples.
    pub data: Vec<u8>,
}

/// Decodes one frame somewhere a crash cannot reach the worker.
pub trait IsolatedCodec: fmt::Debug + Send + Sync {
    /// # Errors
    /// `internal` when no child can be started (fatal if the program is missing, else transient), `codec_died`,
    /// `codec_timeout`, or what the codec says of the frame (`decode_failed`, `value_out_of_range`).
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError>;
}
