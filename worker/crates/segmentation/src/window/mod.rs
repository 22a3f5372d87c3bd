//! A window that slides over the model's grid: which patches, in which order, how each voxel of them counts.
//!
//! Axis 0 is the fastest in memory, in grids and patches alike: it is the *last* axis of the network's tensor. A network
//! that takes arrays of z, y, x has x as axis 0. `Window::patch` has the same order.

mod error;
mod layout;
mod patches;
mod plan;
mod starts;
#[cfg(test)]
mod tests;
mod weights;

pub use error::WindowError;
pub(crate) use layout::Layout;
pub use layout::{Memory, Resample, label_bytes};
pub use patches::Patches;
pub(crate) use plan::Turn;
pub use plan::{Padding, Plan, Window};
pub use starts::Rule;
pub use weights::Weights;
