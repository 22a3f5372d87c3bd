//! From a resting-state scan to the maps of its brain networks: NIfTI volumes, dual regression, the classifier's
//! input, group ICA, and a simulator of scans. Pure computation on bytes; no network, no async runtime.

pub mod components;
pub mod confounds;
pub mod grid;
pub mod ica;
mod mask;
pub mod place;
pub mod projection;
mod random;
pub mod regression;
pub mod simulate;
pub mod survey;
pub mod volume;
mod zscore;

pub use components::{ComponentMaps, Peak};
pub use grid::{Affine, Grid, GridRelation};
pub use mask::{Mask, MaskRule};
pub use place::{Frame, Placed, place};
pub use projection::MNI_4MM;
pub use regression::{DualRegression, Flag, GroupMaps, Nuisance, dual_regression, dual_regression_beside};
pub use volume::{BytesSource, FileSource, LimitNames, Limits, Source, VolumeStream};
