//! Why a volume cannot be brought onto a model's grid.

use std::fmt;

/// All of them are the volume's fault, or that of a budget; none passes by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum PrepareError {
    /// An axis has no voxels.
    Empty { shape: [usize; 3] },
    /// The values are not as many as the shape says.
    ValuesMissing { expected: u64, found: u64 },
    /// The affine has a number that is not finite or lies a kilometre away, or its axes do not span space.
    Affine,
    /// Voxels of this size along an axis, in millimetres, are no CT's.
    VoxelSize { mm: f64 },
    /// An axis of the volume is shorter than half of one voxel of the model.
    TooThin { shape: [usize; 3], model: [f64; 3] },
    /// An axis of the volume has, or one of the model's grid would have, more voxels than any has.
    TooLong { shape: [f64; 3] },
    /// Preparing would take more memory than there is for it.
    TooLarge { needed_bytes: u64, budget_bytes: u64, model: [usize; 3] },
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { shape: [x, y, z] } => write!(f, "the volume has {x} x {y} x {z} voxels"),
            Self::ValuesMissing { expected, found } => {
                write!(f, "the volume has {found} values instead of {expected}")
            }
            Self::Affine => f.write_str("the volume's affine does not say where its voxels lie"),
            Self::VoxelSize { mm } => write!(f, "the volume's voxels are {mm} mm wide along an axis"),
            Self::TooThin { shape: [x, y, z], model: [u, v, w] } => write!(
                f,
                "the volume of {x} x {y} x {z} voxels would be {u} x {v} x {w} at the model's spacing"
            ),
            Self::TooLong { shape: [u, v, w] } => {
                write!(f, "a grid of {u} x {v} x {w} voxels is longer than any CT is")
            }
            Self::TooLarge { needed_bytes, budget_bytes, model: [u, v, w] } => write!(
                f,
                "{u} x {v} x {w} voxels at the model's spacing take {needed_bytes} bytes to prepare, \
                 and {budget_bytes} are allowed"
            ),
        }
    }
}

impl std::error::Error for PrepareError {}
