//! Codecs in C, C++ and unsafe Rust never see hostile bytes in the worker's own process.
//!
//! [`IsolatedCodec`] is the port. [`ChildCodec`] implements it with children `program args…`, each of which serves one
//! frame after another; their body is [`child::serve`]. Before its first frame a child limits its memory and gives up
//! all that a decoder does not need ([`confine`]): no files, no sockets, no other program or process. The parent kills it at
//! the time-out. A child that dies is `codec_died`, one that is late `codec_timeout`: permanent failures of that one
//! image; one that is late because it was given no processor is `codec_starved`, and the image is tried again. Where the kernel cannot confine a child, nothing is decoded: `sandbox_unavailable`, which ends the worker.
//!
//! A child that refused a frame is not used again, and one that dies after it served other frames is not held against
//! the frame in flight: a fresh one decides.

use std::fmt;

use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;
use crate::samples::Samples;

pub mod child;
mod confine;
mod in_process;
mod jpeg;
mod link;
mod load;
mod plausible;
mod promises;
mod runner;
mod wire;

pub use in_process::InProcess;
pub use runner::ChildCodec;

/// A codec that runs isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// JPEG with loss (ITU-T T.81), 8 bits grey or in colour, 12 bits grey, by `libjpeg-turbo-rs`.
    Jpeg,
    /// JPEG without loss (ITU-T T.81 annex H), 2 to 16 bits, by `libjpeg-turbo-rs`.
    JpegLossless,
    /// JPEG-LS (ITU-T T.87) by CharLS, with and without loss.
    JpegLs,
    /// JPEG 2000 part 1 by OpenJPEG (`openjp2`), with and without loss.
    Jpeg2000,
}

impl Codec {
    const ALL: [Self; 4] = [Self::Jpeg, Self::JpegLossless, Self::JpegLs, Self::Jpeg2000];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::JpegLossless => "jpeg-lossless",
            Self::JpegLs => "jpeg-ls",
            Self::Jpeg2000 => "jpeg-2000",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.as_str() == name)
    }
}

/// One compressed frame and what its outer header promises. One sample a pixel is wanted: of a JPEG in colour the first of
/// RGB; the other codecs must hold one component.
#[derive(Clone, Copy, Debug)]
pub struct CodecRequest<'a> {
    pub codec: Codec,
    pub columns: u32,
    pub rows: u32,
    /// The most bits a sample may have: 8 or 16.
    pub bits: u16,
    /// Whether the samples of a codestream may be below zero: they are then given in two's complement of its precision.
    pub signed: bool,
    /// What a codec that can be told so may allocate.
    pub working_bytes: u64,
    pub frame: &'a [u8],
}

/// Decoded samples in row order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecImage {
    /// Bits of a sample, 1 to 16.
    pub precision: u8,
    /// Exactly `columns * rows`; bytes up to 8 bits, words above.
    pub samples: Samples,
}

/// Decodes one frame somewhere a crash cannot reach the worker.
pub trait IsolatedCodec: fmt::Debug + Send + Sync {
    /// # Errors
    /// `internal` when no child can be started (fatal if the program is missing, else transient), `sandbox_unavailable`,
    /// `codec_died`, `codec_timeout`, `codec_starved`, or what the codec says of the frame (`truncated`, `decode_failed`,
    /// `value_out_of_range`, `inflates_too_large`, `unsupported_media`, `colour_image`).
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError>;
}

/// One frame through the isolated codec.
///
/// # Errors
/// `unsupported_transfer_syntax` without a codec; `decode_failed` for a wrong number of samples; those of the codec.
pub fn isolated(
    request: &CodecRequest<'_>,
    codec: Option<&dyn IsolatedCodec>,
) -> Result<CodecImage, JobError> {
    let codec = codec.ok_or_else(|| {
        refuse(
            ErrorCode::UnsupportedTransferSyntax,
            format!("{} images need the isolated codec, which is switched off", request.codec.as_str()),
        )
    })?;
    let image = codec.decode(request)?;
    let expected = request.columns as usize * request.rows as usize;
    if image.samples.len() != expected {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!("the codec gave {} samples where {expected} were expected", image.samples.len()),
        ));
    }
    Ok(image)
}
