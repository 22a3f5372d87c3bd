//! Segmentation of CT volumes: the model's grid as three peers make it, and what a network gives, back on the source's.
//!
//! Pure computation on numbers; no file formats, no network runtime.

pub mod grid;
pub mod labels;
pub mod preview;
pub mod recipe;
pub mod segments;
pub mod types;
pub mod window;

pub use types::{AxisMap, Back, Grid};
