//! Contrast-limited adaptive histogram equalisation. The two libraries share a name and no arithmetic.

mod opencv;
mod skimage;

pub(crate) use opencv::equalise as opencv;
pub(crate) use skimage::{equalise as skimage, fits as skimage_fits};
