//! Segmentation of CT volumes: the model's grid as three peers make it, and what a network gives, back on the source's.
//!
//! Pure computation on numbers; no file formats, no network runtime.

pub mod grid;
pub mod recipe;
pub mod types;

pub use types::{AxisMap, Back, Grid};
