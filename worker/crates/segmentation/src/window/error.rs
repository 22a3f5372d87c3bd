//! Why a window cannot slide over a grid.

use std::fmt::{self, Display};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WindowError {
    EmptyGrid,
    EmptyPatch,
    Step(f64),
    Sigma(f64),
    /// The grid that patches are taken from is not the planned one.
    OtherGrid {
        planned: [usize; 3],
        given: [usize; 3],
    },
    NoSuchPatch {
        index: usize,
        patches: usize,
    },
    PatchLength {
        expected: usize,
        given: usize,
    },
}

impl Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyGrid => f.write_str("the model's grid has an axis without voxels"),
            Self::EmptyPatch => f.write_str("the window's patch has an axis without voxels"),
            Self::Step(step) => write!(f, "the window's step of {step} is not over 0 and at most 1"),
            Self::Sigma(sigma) => write!(f, "the window's sigma of {sigma} is not a number over 0"),
            Self::OtherGrid { planned, given } => {
                write!(f, "patches were planned for a grid of {planned:?} voxels, not for {given:?}")
            }
            Self::NoSuchPatch { index, patches } => {
                write!(f, "there is no patch {index} of {patches}")
            }
            Self::PatchLength { expected, given } => {
                write!(f, "a patch of {expected} values does not fit into {given}")
            }
        }
    }
}

impl std::error::Error for WindowError {}
