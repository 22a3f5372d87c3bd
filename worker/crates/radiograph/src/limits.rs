//! Bounds that are judged from headers.

/// Caps that are checked from headers, before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height.
    pub max_pixels: u64,
    /// Bytes that one blob may inflate to: a deflated data set, the rows of a PNG, the strips of a TIFF.
    pub max_inflated_bytes: u64,
    /// The shorter side, in pixels.
    pub min_side: u32,
}

impl Default for DecodeLimits {
    /// 40 megapixels are twice the largest image of PadChest (4280 x 4280); 256 MiB hold them as 16-bit RGB; below 64
    /// pixels nothing of a chest can be seen.
    fn default() -> Self {
        Self { max_pixels: 40_000_000, max_inflated_bytes: 256 << 20, min_side: 64 }
    }
}
