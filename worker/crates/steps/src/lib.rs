//! Preprocessing as data: what a network's owner did in Python, as a list of steps that is checked before anything runs.
//!
//! ```text
//! Plan::new(Vec<Step>) -> Result<Plan, Vec<Mistake>>   // the order, every field, what comes out
//! plan.item_shape(), plan.range()                      // held against the network's input
//! plan.prepare(&StoredImage) -> Result<PreparedImage, Refusal>   // one image, to a tensor of that shape
//! plan.field(width, height) -> Field                   // what of the image the network sees
//! ```
//!
//! Each step is that of a library which it names where libraries differ: bit-exact where that library works in integers,
//! within 1e-5 of the range of the values elsewhere. `tests/golden` holds each against arrays that the libraries made.
//!
//! Pure numbers: no I/O, no formats, no errors of the worker. An image is whatever has samples and a greatest value.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod channels;
mod field;
mod geometry;
mod intensity;
mod plan;
mod plane;
mod run;
mod step;

pub use field::Field;
pub use plan::{Mistake, Plan};
pub use plane::{HeaderWindow, Samples, StoredImage};
pub use run::{PreparedImage, Refusal};
pub use step::{
    Channels, Clahe, CropRule, Edge, Layout, Resizer, Rounding, SideRounding, Sides, Step, Window,
    WindowFunction,
};
