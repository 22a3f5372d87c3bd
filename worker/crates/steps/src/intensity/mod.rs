//! Steps that change values and leave every pixel where it is.

pub(crate) mod clahe;
mod scale;
mod statistics;
mod window;

pub(crate) use scale::{clip, extremes, rescale, to_bytes};
pub(crate) use statistics::{Flat, min_max, percentile, z_score};
pub(crate) use window::window;
