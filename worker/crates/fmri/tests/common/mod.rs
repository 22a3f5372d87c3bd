//! What the tests of this crate share: the files and numbers of the tests of `nightread-volume`, and measures of their own.
#![allow(dead_code)] // Every test binary uses its own part.

pub mod dense;
#[path = "../../../volume/tests/common/mod.rs"]
mod volume;

#[allow(unused_imports)]
pub use volume::*;

/// Pearson's correlation.
pub fn correlation(a: impl Iterator<Item = f64> + Clone, b: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = a.clone().count() as f64;
    let (ma, mb) = (a.clone().sum::<f64>() / n, b.clone().sum::<f64>() / n);
    let product: f64 = a.clone().zip(b.clone()).map(|(x, y)| (x - ma) * (y - mb)).sum();
    let (sa, sb) = (a.map(|x| (x - ma).powi(2)).sum::<f64>(), b.map(|y| (y - mb).powi(2)).sum::<f64>());
    product / (sa * sb).sqrt()
}
