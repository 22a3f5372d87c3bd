//! Compressed frames, judged by their markers before a codec sees them: decoders fill up what is missing and say nothing.

pub mod jpeg;
pub(crate) mod jpeg_2000;
pub(crate) mod jpeg_ls;
