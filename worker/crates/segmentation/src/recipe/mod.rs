//! What a network's makers did to a CT volume before the network saw it: the settings of one of three peers, checked.

mod error;

pub use error::RecipeError;

use std::fmt;
use std::str::FromStr;

/// Whose preprocessing it is. The three make grids that differ by up to a voxel across a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipeId {
    /// `ct-totalseg-1`: TotalSegmentator 2.18. The corners of both grids meet (`scipy.ndimage.zoom`), values are cut
    /// to whole numbers, and then nnU-Net's steps follow.
    Totalseg,
    /// `ct-nnunet-1`: nnU-Net 2.8. The outer faces of both grids meet (`skimage.transform.resize`), values are
    /// normalised before.
    Nnunet,
    /// `ct-monai-1`: MONAI 1.6. Voxels lie where the affine says (`Orientation`, `Spacing`), values are scaled after.
    Monai,
}

impl RecipeId {
    pub const ALL: [Self; 3] = [Self::Totalseg, Self::Nnunet, Self::Monai];

    /// The name in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totalseg => "ct-totalseg-1",
            Self::Nnunet => "ct-nnunet-1",
            Self::Monai => "ct-monai-1",
        }
    }
}

impl fmt::Display for RecipeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecipeId {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        Self::ALL.into_iter().find(|id| id.as_str() == name).ok_or_else(|| {
            RecipeError::new("id", format!("{name:?} is none of ct-totalseg-1, ct-nnunet-1, ct-monai-1"))
        })
    }
}

/// How the volume is turned before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Axes permuted and flipped so that x runs to the right, y to the front and z to the head, as nearly as they can.
    Ras,
    /// Left as the file has it (nnU-Net's readers but one).
    Source,
}

impl FromStr for Orientation {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        match name {
            "RAS" => Ok(Self::Ras),
            "none" => Ok(Self::Source),
            _ => Err(RecipeError::new("orientation", format!("{name:?} is neither RAS nor none"))),
        }
    }
}

/// Which axis of the turned volume each spatial axis of the network's tensor is, first (slowest) to last (fastest).
///
/// `zyx` is nnU-Net's, `xyz` MONAI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisOrder([usize; 3]);

impl AxisOrder {
    /// Axes (0, 1, 2 for x, y, z) in the order of the tensor's.
    pub const fn tensor_axes(self) -> [usize; 3] {
        self.0
    }

    /// The axes in the order of a [`Grid`](crate::Grid)'s, fastest first: the tensor's, backwards.
    pub const fn grid_axes(self) -> [usize; 3] {
        [self.0[2], self.0[1], self.0[0]]
    }
}

impl FromStr for AxisOrder {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        let axes: Vec<usize> = name.chars().filter_map(|letter| "xyz".find(letter)).collect();
        match axes[..] {
            [a, b, c] if name.len() == 3 && a != b && b != c && a != c => Ok(Self([a, b, c])),
            _ => {
                Err(RecipeError::new("axis_order", format!("{name:?} does not name each of x, y and z once")))
            }
        }
    }
}

/// What becomes of Hounsfield units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intensity {
    /// `(clamp(v, clip) - mean) / std`: nnU-Net's `CTNormalization`.
    Standardised { clip: [f64; 2], mean: f64, std: f64 },
    /// `clip` to `range`, linearly, and nothing outside: MONAI's `ScaleIntensityRange` with `clip=True`.
    Ranged { clip: [f64; 2], range: [f64; 2] },
    /// Mean and standard deviation of the voxels that are not 0, of this volume, and then its least and greatest value to
    /// `range`: MONAI's `NormalizeIntensity(nonzero=True)`, `ScaleIntensity`. A value between voxels that is 0 but for the last
    /// bit counts or does not count by its rounding, in torch and here, not always alike: single voxels can differ.
    NonzeroStandardised { range: Option<[f64; 2]> },
}

impl Intensity {
    /// Which of them a manifest's fields mean: `clip` with `mean` and `std`, `clip` with `range`, or neither `clip` nor the
    /// two.
    ///
    /// # Errors
    /// Other fields together, in words that name what is missing or too much.
    pub fn of(
        clip: Option<[f64; 2]>,
        mean: Option<f64>,
        std: Option<f64>,
        range: Option<[f64; 2]>,
    ) -> Result<Self, RecipeError> {
        match (clip, mean, std, range) {
            (Some(clip), Some(mean), Some(std), None) => Ok(Self::Standardised { clip, mean, std }),
            (Some(clip), None, None, Some(range)) => Ok(Self::Ranged { clip, range }),
            (None, None, None, range) => Ok(Self::NonzeroStandardised { range }),
            (None, ..) => Err(RecipeError::new("clip", "is missing beside mean and std".to_owned())),
            (Some(_), None, None, None) => {
                Err(RecipeError::new("clip", "needs mean and std, or range, beside it".to_owned()))
            }
            (Some(_), None, Some(_), None) => {
                Err(RecipeError::new("mean", "is missing beside std".to_owned()))
            }
            (Some(_), Some(_), None, None) => {
                Err(RecipeError::new("std", "is missing beside mean".to_owned()))
            }
            (Some(_), _, _, Some(_)) => Err(RecipeError::new(
                "range",
                "stands beside mean or std: only one way is possible".to_owned(),
            )),
        }
    }
}

/// The order of the splines through the voxels of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOrder {
    Linear,
    Cubic,
}

impl TryFrom<u8> for ImageOrder {
    type Error = RecipeError;

    fn try_from(order: u8) -> Result<Self, RecipeError> {
        match order {
            1 => Ok(Self::Linear),
            3 => Ok(Self::Cubic),
            _ => Err(RecipeError::new("order", format!("{order} is neither 1 nor 3"))),
        }
    }
}

/// nnU-Net's threshold: a spacing of which the greatest step is more than this many times the least has its coarse axis
/// resampled apart, by nearest neighbour.
pub const ANISOTROPY: f64 = 3.0;

/// Spacings outside of this, in millimetres, are taken for mistakes.
const SPACING_MM: std::ops::RangeInclusive<f64> = 0.05..=100.0;

/// The settings of a recipe as a manifest has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecipeSettings {
    pub id: RecipeId,
    /// Millimetres between voxels of the model's grid along x, y, z of the turned volume.
    pub spacing_mm: [f64; 3],
    pub orientation: Orientation,
    pub axis_order: AxisOrder,
    pub intensity: Intensity,
    pub order: ImageOrder,
    /// For `ct-nnunet-1` alone; [`ANISOTROPY`] where it is not set.
    pub anisotropy: Option<f64>,
}

/// Settings of which each can be carried out as the peer would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe(RecipeSettings);

impl Recipe {
    /// # Errors
    /// Names the first field that is out of bounds, or that the peer of this id does not have.
    pub fn new(settings: RecipeSettings) -> Result<Self, RecipeError> {
        check_spacing(settings.spacing_mm)?;
        check_intensity(settings.intensity)?;
        let (id, standardised) = (settings.id, matches!(settings.intensity, Intensity::Standardised { .. }));
        if id != RecipeId::Nnunet && settings.orientation != Orientation::Ras {
            return Err(RecipeError::new("orientation", format!("must be RAS for {id}")));
        }
        if id != RecipeId::Monai && !standardised {
            return Err(RecipeError::new("clip, mean, std", format!("all three are needed for {id}")));
        }
        if id == RecipeId::Monai && settings.order != ImageOrder::Linear {
            return Err(RecipeError::new("order", format!("must be 1 for {id}")));
        }
        match settings.anisotropy {
            Some(_) if id != RecipeId::Nnunet => {
                Err(RecipeError::new("anisotropy", format!("there is no such rule in {id}")))
            }
            Some(times) if !(times.is_finite() && times >= 1.0) => {
                Err(RecipeError::new("anisotropy", format!("{times} is not a number of at least 1")))
            }
            _ => Ok(Self(settings)),
        }
    }

    pub const fn settings(&self) -> &RecipeSettings {
        &self.0
    }

    /// More than this many times the least step, and the coarse axis is resampled apart.
    pub(crate) fn anisotropy(&self) -> f64 {
        self.0.anisotropy.unwrap_or(ANISOTROPY)
    }
}

fn check_spacing(spacing_mm: [f64; 3]) -> Result<(), RecipeError> {
    match spacing_mm.into_iter().find(|mm| !SPACING_MM.contains(mm)) {
        Some(mm) => Err(RecipeError::new(
            "spacing_mm",
            format!("{mm} is not between {} and {} mm", SPACING_MM.start(), SPACING_MM.end()),
        )),
        None => Ok(()),
    }
}

fn check_intensity(intensity: Intensity) -> Result<(), RecipeError> {
    match intensity {
        Intensity::Standardised { clip, mean, std } => {
            check_ascending("clip", clip)?;
            if !mean.is_finite() {
                return Err(RecipeError::new("mean", format!("{mean} is not a finite number")));
            }
            // A deviation so small that single precision has it as 0 would divide by nothing.
            if !(std.is_finite() && std as f32 > 0.0) {
                return Err(RecipeError::new("std", format!("{std} is not a positive number")));
            }
            Ok(())
        }
        Intensity::Ranged { clip, range } => {
            check_ascending("clip", clip)?;
            check_ascending("range", range)
        }
        Intensity::NonzeroStandardised { range } => {
            range.map_or(Ok(()), |range| check_ascending("range", range))
        }
    }
}

fn check_ascending(field: &'static str, [low, high]: [f64; 2]) -> Result<(), RecipeError> {
    if low.is_finite() && high.is_finite() && (low as f32) < high as f32 {
        return Ok(());
    }
    Err(RecipeError::new(field, format!("{low} to {high} is not an ascending pair of finite numbers")))
}

#[cfg(test)]
mod tests;
