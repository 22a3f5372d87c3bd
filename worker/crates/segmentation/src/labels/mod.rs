//! Labels out of patches of logits, while the patches come, and their way back to the source's grid.
//!
//! ```text
//! Accumulator::new(&plan, classes, &back, resample, source_shape)
//! accumulator.add(index, &logits)          // C x patch, in the order of `plan.patches()`
//! accumulator.finish(affine, &rules)       // a label for each voxel of the source
//! ```
//!
//! The logits of patches that overlap are weighted and added, divided by the sum of the weights, and the class of the
//! greatest is the label; of equal ones the lowest class. Class 0 is what belongs to no segment.

mod accumulator;
mod back;
mod cells;
mod components;
mod error;
mod final_lines;
mod map;
mod ring;

pub use accumulator::{Accumulator, Finished};
pub use components::{LabelRule, clean};
pub use error::LabelError;
pub use map::{LabelMap, LabelValues};
