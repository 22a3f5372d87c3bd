//! The attributes that give pixel bytes their meaning, checked against each other.

use nightread_domain::error::{ErrorCode, JobError};

use super::header::Header;
use crate::error::refuse;

/// How the samples of one frame lie in their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub columns: u32,
    pub rows: u32,
    /// 8 or 16.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    /// How far the stored bits lie above the lowest bit of the word, as `high_bit` says; `None` where it cannot be.
    pub shift: Option<u16>,
    /// Bits of the words that old overlays claim.
    pub overlay_bits: u16,
    pub signed: bool,
}

impl Shape {
    pub(super) fn read(header: &Header) -> Result<Self, JobError> {
        let bits_allocated = header.bits_allocated.ok_or_else(|| missing("BitsAllocated"))?;
        let bits_stored = header.bits_stored.ok_or_else(|| missing("BitsStored"))?;
        let high_bit = header.high_bit.unwrap_or(bits_stored.saturating_sub(1));
        if !matches!(bits_allocated, 8 | 16) || bits_stored == 0 || bits_stored > bits_allocated {
            return Err(refuse(
                ErrorCode::HeaderInvalid,
                format!(
                    "{bits_stored} bits stored of {bits_allocated} is no layout this reader knows; 8 or 16 allocated \
                     bits are read"
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
    pub fn max_value(&self) -> u32 {
        (1u32 << self.bits_stored) - 1
    }
}

fn missing(name: &str) -> JobError {
    refuse(ErrorCode::HeaderInvalid, format!("the header lacks {name}"))
}
