//! DICOM radiographs: CR, DX and their kin, one grey frame.
//!
//! The samples are what TorchXRayVision's `read_xray_dcm` sees: the stored values, no rescale slope, no window;
//! `MONOCHROME1` inverted as `max - v` with `max = 2^BitsStored - 1`.
//!
//! On purpose unlike it: bits that an old overlay claims are taken away, where pydicom leaves them in; bits outside
//! `BitsStored` that nothing claims are refused, as are negative samples, which it would normalise below -1024, and a file
//! that holds several frames. What the header says of the display (a falling LUT, `INVERSE`, an orientation) changes no
//! sample, as it did not in training, but is a warning.
//!
//! | transfer syntax | decoded by |
//! |---|---|
//! | implicit and explicit VR, little and big endian, deflated, encapsulated uncompressed | this module |
//! | RLE | this module |
//! | JPEG baseline and extended (8 and 12 bit), JPEG lossless | `libjpeg-turbo-rs`, in a child process |
//! | JPEG 2000, with and without loss | `openjp2` (OpenJPEG through c2rust), in a child process |
//! | JPEG-LS, with and without loss | CharLS (C++), in a child process |

use dicom_encoding::transfer_syntax::Endianness;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;

use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph};

mod element;
mod fragments;
mod frame;
pub(crate) mod header;
mod lut;
mod native;
mod rle;
mod source;
mod text;
mod walk;

use fragments::{fragments, several};
use header::Header;
use walk::{Found, PixelData};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let source = source::open(bytes, options)?;
    let mut warnings = Vec::new();
    let Found { header, pixels, big_endian } = walk::walk(&source, &mut warnings)?;

    let mut facts = Facts::new(Media::Dicom);
    facts.modality.clone_from(&header.modality);
    facts.body_part = header.body_part.as_deref().map(gate::shown);
    facts.photometric.clone_from(&header.photometric);
    facts.age_years = header.age_years;
    facts.transfer_syntax = Some(source.syntax.uid().to_owned());
    gate::judge_dicom(&header, &options.gate, &mut facts, &mut warnings)?;

    let Some(pixels) = pixels else {
        return Err(refuse(ErrorCode::HeaderInvalid, "the file has no pixel data"));
    };
    let mut shape = Shape::read(&header)?;
    gate::judge_size(shape.columns, shape.rows, &options.limits, &options.gate, &mut warnings)?;

    let syntax = source.syntax;
    let samples = match pixels {
        PixelData::Native { .. } if syntax.is_encapsulated_pixel_data() => {
            return Err(contradicted(format!(
                "the pixel data is uncompressed although its transfer syntax, {}, says that it is compressed",
                syntax.name()
            )));
        }
        PixelData::Native { bytes, promised, swapped } => {
            let endianness = if big_endian { Endianness::Big } else { Endianness::Little };
            native::unpack(bytes, promised, swapped, endianness, &shape, options, &mut warnings)?
        }
        PixelData::Encapsulated { .. } if !source.is_named => {
            return Err(contradicted(
                "the pixel data is compressed, but the file names no transfer syntax: by what is not known",
            ));
        }
        PixelData::Encapsulated { .. } if !syntax.is_encapsulated_pixel_data() => {
            return Err(contradicted(format!(
                "the pixel data is compressed although its transfer syntax, {}, says that it is not",
                syntax.name()
            )));
        }
        PixelData::Encapsulated { at } => {
            if header.extended_offsets > 1 {
                return Err(several(header.extended_offsets, "the extended offset table has"));
            }
            let fragments = fragments(&source.data, at, &mut warnings)?;
            frame::encapsulated(&fragments, &source, &mut shape, options, &mut warnings)?
        }
    };
    // Not before: a codestream may have fewer bits than the header says.
    facts.bits_stored = Some(shape.bits_stored);
    let (width, height, max_value) = (shape.columns, shape.rows, shape.max_value());
    if shape.inverted {
        return Radiograph::inverted(width, height, samples, max_value, facts, warnings);
    }
    Radiograph::new(width, height, samples, max_value, facts, warnings)
}

fn contradicted(message: impl Into<String>) -> JobError {
    refuse(ErrorCode::HeaderInvalid, message)
}

/// The attributes that give pixel bytes their meaning, checked against each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) columns: u32,
    pub(super) rows: u32,
    /// 8 or 16.
    pub(super) bits_allocated: u16,
    pub(super) bits_stored: u16,
    pub(super) high_bit: u16,
    /// How far the stored bits lie above the lowest bit of the word, as `high_bit` says; `None` where it cannot be.
    pub(super) shift: Option<u16>,
    /// Bits of the words that old overlays claim.
    pub(super) overlay_bits: u16,
    pub(super) signed: bool,
    /// `MONOCHROME1`.
    pub(super) inverted: bool,
}

impl Shape {
    fn read(header: &Header) -> Result<Self, JobError> {
        if header.frames.is_some_and(|frames| frames > 1) {
            return Err(refuse(
                ErrorCode::MultiFrame,
                format!(
                    "the file holds {} frames; one picture was expected",
                    header.frames.unwrap_or_default()
                ),
            ));
        }
        if header.samples_per_pixel.is_some_and(|samples| samples != 1) {
            return Err(refuse(ErrorCode::ColourImage, "the picture is in colour; radiographs are grey"));
        }
        let inverted = match header.photometric.as_deref() {
            Some("MONOCHROME1") => true,
            Some("MONOCHROME2") => false,
            other => {
                return Err(refuse(
                    ErrorCode::UnsupportedPhotometric,
                    format!(
                        "the photometric interpretation is {}; MONOCHROME1 and MONOCHROME2 are read",
                        other.unwrap_or("missing")
                    ),
                ));
            }
        };
        let missing = |name: &str| refuse(ErrorCode::HeaderInvalid, format!("the header lacks {name}"));
        let bits_allocated = header.bits_allocated.ok_or_else(|| missing("BitsAllocated"))?;
        let bits_stored = header.bits_stored.ok_or_else(|| missing("BitsStored"))?;
        let high_bit = header.high_bit.unwrap_or(bits_stored.saturating_sub(1));
        if !matches!(bits_allocated, 8 | 16) || bits_stored == 0 || bits_stored > bits_allocated {
            return Err(refuse(
                ErrorCode::HeaderInvalid,
                format!(
                    "{bits_stored} bits stored of {bits_allocated} is no layout this reader knows; 8 or 16 bits are \
                     allocated to a radiograph's pixel"
                ),
            ));
        }
        let shift = if high_bit < bits_allocated { (high_bit + 1).checked_sub(bits_stored) } else { None };
        Ok(Self {
            columns: header.columns.map(u32::from).ok_or_else(|| missing("Columns"))?,
            rows: header.rows.map(u32::from).ok_or_else(|| missing("Rows"))?,
            bits_allocated,
            bits_stored,
            high_bit,
            shift,
            overlay_bits: header.overlay_bits(),
            signed: header.signed,
            inverted,
        })
    }

    /// Rows times columns; both are 16-bit in the header, so the product fits.
    pub(super) fn pixels(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    pub(super) fn bytes_per_sample(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }

    /// `2^BitsStored - 1`.
    pub(super) fn max_value(&self) -> u32 {
        (1u32 << self.bits_stored) - 1
    }
}
