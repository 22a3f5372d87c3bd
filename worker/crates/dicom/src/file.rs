//! A file in two steps: the header, for whoever judges it, and then the pixels.
//!
//! | transfer syntax | decoded by |
//! |---|---|
//! | implicit and explicit VR, little and big endian, deflated, encapsulated uncompressed | `native` |
//! | RLE | `rle` |
//! | JPEG baseline and extended (8 and 12 bit), JPEG lossless | `libjpeg-turbo-rs`, in a child process |
//! | JPEG 2000, with and without loss | `openjp2` (OpenJPEG through c2rust), in a child process |
//! | JPEG-LS, with and without loss | CharLS (C++), in a child process |

use dicom_core::Tag;
use dicom_encoding::transfer_syntax::Endianness;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::Warning;

use super::attributes::Attributes;
use super::fragments::{fragments, several};
use super::header::Header;
use super::shape::Shape;
use super::source::{self, EncodedDataSet};
use super::walk::{self, Found, PixelData};
use super::{frame, native};
use crate::error::refuse;
use crate::options::ReadOptions;
use crate::samples::Samples;

/// A file whose header was read and whose pixels were not yet.
#[derive(Debug)]
pub struct File<'a> {
    pub(super) source: EncodedDataSet<'a>,
    pub(super) header: Header,
    pixels: Option<PixelData>,
    pub(super) big_endian: bool,
}

impl<'a> File<'a> {
    /// Reads the header. What had to be repaired is a warning.
    ///
    /// # Errors
    /// `header_invalid`, `truncated`, `unsupported_transfer_syntax`; `inflates_too_large` and `decode_failed` for a deflated
    /// data set.
    pub fn open(
        bytes: &'a [u8],
        options: &ReadOptions<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, JobError> {
        let source = source::open(bytes, options.max_inflated_bytes)?;
        let Found { header, pixels, big_endian } = walk::walk(&source, warnings)?;
        Ok(Self { source, header, pixels, big_endian })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The values of these elements of the root as they lie in the file: what [`File::header`] leaves out, names of patients
    /// among it, is read only where somebody asks for it here.
    ///
    /// # Errors
    /// `header_invalid` where one of them is longer than any value of it, or stands there twice with two values.
    pub fn attributes(&self, wanted: &[Tag]) -> Result<Attributes, JobError> {
        walk::attributes(&self.source, wanted)
    }

    /// The UID of the transfer syntax: the one that the file names, or that its bytes prove.
    pub fn transfer_syntax(&self) -> &'static str {
        self.source.syntax.uid()
    }

    /// The pixel data, not looked at yet.
    ///
    /// # Errors
    /// `header_invalid` where there is none.
    pub fn pixels(&self) -> Result<Pixels<'_>, JobError> {
        match &self.pixels {
            Some(data) => Ok(Pixels { file: self, data }),
            None => Err(refuse(ErrorCode::HeaderInvalid, "the file has no pixel data")),
        }
    }
}

/// The pixel data of a file, of one component: one frame, or several by [`Pixels::frames`].
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) data: &'a PixelData,
}

impl Pixels<'_> {
    /// How the header says that the samples lie in their bytes.
    ///
    /// # Errors
    /// `header_invalid` for what is missing or has no meaning.
    pub fn shape(&self) -> Result<Shape, JobError> {
        Shape::read(&self.file.header)
    }

    /// Unpacks or decodes the samples, `columns * rows` of them in row order, each at most [`Shape::max_value`]. Where a
    /// codestream has fewer bits than the header says, `shape` is made to agree with it, with a warning.
    ///
    /// # Errors
    /// `header_invalid` where header and pixel data contradict each other; `multi_frame`, `colour_image`, `truncated`,
    /// `value_out_of_range`, `inflates_too_large`, and those of the codecs.
    pub fn samples(
        &self,
        shape: &mut Shape,
        options: &ReadOptions<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Samples, JobError> {
        self.check_agreement()?;
        let File { source, header, big_endian, .. } = self.file;
        match self.data {
            PixelData::Native { bytes, promised, swapped } => {
                let bytes = source.data.get(bytes.clone()).unwrap_or_default();
                let endianness = if *big_endian { Endianness::Big } else { Endianness::Little };
                native::unpack(bytes, *promised, *swapped, endianness, shape, options, warnings)
            }
            PixelData::Encapsulated { at } => {
                if header.extended_offsets > 1 {
                    return Err(several(header.extended_offsets, "the extended offset table has"));
                }
                let fragments = fragments(&source.data, *at, warnings)?;
                frame::encapsulated(&fragments, source, shape, options, warnings)
            }
        }
    }

    /// Holds the transfer syntax against how the pixel data is written.
    pub(super) fn check_agreement(&self) -> Result<(), JobError> {
        let source = &self.file.source;
        let syntax = source.syntax;
        match self.data {
            PixelData::Native { .. } if syntax.is_encapsulated_pixel_data() => Err(contradicted(format!(
                "the pixel data is uncompressed although its transfer syntax, {}, says that it is compressed",
                syntax.name()
            ))),
            PixelData::Encapsulated { .. } if !source.is_named => Err(contradicted(
                "the pixel data is compressed, but the file names no transfer syntax: by what is not known",
            )),
            PixelData::Encapsulated { .. } if !syntax.is_encapsulated_pixel_data() => {
                Err(contradicted(format!(
                    "the pixel data is compressed although its transfer syntax, {}, says that it is not",
                    syntax.name()
                )))
            }
            _ => Ok(()),
        }
    }
}

fn contradicted(message: impl Into<String>) -> JobError {
    refuse(ErrorCode::HeaderInvalid, message)
}
