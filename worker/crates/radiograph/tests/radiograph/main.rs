//! The crate through its public face: images built here, real images where they are at hand, and hostile ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Equal, without printing megapixels when they are not.
macro_rules! same {
    ($left:expr, $right:expr $(,)?) => { same!($left, $right, "samples") };
    ($left:expr, $right:expr, $($what:tt)+) => {
        assert!($left == $right, "{} differ", format_args!($($what)+))
    };
}

mod cases;
mod compressed;
mod contradictions;
mod damaged;
mod dicom;
mod fixtures;
mod formats;
mod headers;
mod hostile;
mod looks;
mod lossless;
mod mutations;
mod named;
mod pydicom_data;
mod real_data;
mod whole;
