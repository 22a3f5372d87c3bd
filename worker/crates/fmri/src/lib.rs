//! From a resting-state scan to the maps of its brain networks: dual regression, the classifier's input, group ICA, and a simulator of scans. Pure computation on bytes; no network, no async runtime.

pub mod components;
pub mod confounds;
pub mod connectivity;
pub mod ica;
mod mask;
pub mod motion;
pub mod projection;
mod random;
pub mod regression;
pub mod simulate;
pub mod survey;
mod zscore;

pub use components::{ComponentMaps, Peak};
pub use connectivity::{Connectivity, NetworkMatrix, connectivity};
pub use mask::{Mask, MaskRule};
pub use projection::MNI_4MM;
pub use regression::{DualRegression, Flag, GroupMaps, Nuisance, dual_regression, dual_regression_beside};
