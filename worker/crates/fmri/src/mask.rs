//! Masks: which voxels of a grid a 3-D file counts as inside.

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_volume::{Frame, Limits, Orientation, Placed, ScanSource, VolumeStream, place};
use serde::Serialize;

/// How a mask's values were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    /// Zero and one other value, whatever that is.
    Binary,
    /// Several values: at and above half of the greatest is inside.
    HalfMaximum,
    /// No mask of its own: wherever any map differs from zero.
    AnyMap,
}

/// The voxels of a grid that lie inside of a mask.
#[derive(Clone, Debug)]
pub struct Mask {
    /// Linear indices, ascending.
    pub voxels: Vec<u32>,
    pub rule: MaskRule,
    pub warnings: Vec<Warning>,
    /// Whether the mask's own header says where it lies.
    pub placed: bool,
}

/// Halves that interpolation makes of whole values are inside whichever way their weights were rounded.
const HALF: f64 = 0.5 - 1e-6;

impl Mask {
    /// Reads a mask for a grid, interpolated when `resample` allows it. One rule on its own grid and on another: a voxel is
    /// inside where the value, as a share of the mask's greatest, is one half or more. Values that are not finite are
    /// outside.
    ///
    /// # Errors
    /// Those of reading a volume; `volume_header_invalid` for more than one volume; `grid_mismatch`; `mask_empty`.
    pub fn read(
        source: &dyn ScanSource,
        target: &Frame<'_>,
        resample: bool,
        limits: &Limits,
    ) -> Result<Self, JobError> {
        let mut stream = VolumeStream::open(source, limits)?;
        let header = stream.header().clone();
        if header.volumes != 1 {
            let message = format!("the mask has {} volumes; a mask has one", header.volumes);
            return Err(JobError::new(Stage::Decode, ErrorCode::VolumeHeaderInvalid, message));
        }
        let all: Vec<u32> = (0..target.grid.len() as u32).collect();
        let Placed { sampling, mut warnings } =
            place(&Frame::of(&header, "the mask"), target, &all, resample)?;
        warnings.extend(header.warnings.iter().cloned());
        let mut own = vec![0.0; header.grid.len()];
        if let Some(raw) = stream.next_volume()? {
            raw.values(&mut own);
        }
        stream.finish()?;
        let greatest = own.iter().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
        if greatest <= 0.0 {
            return Err(empty());
        }
        let binary = own.iter().all(|&x| x == 0.0 || x.to_bits() == greatest.to_bits());
        for x in &mut own {
            *x = if x.is_finite() { *x / greatest } else { 0.0 };
        }
        let mut values = vec![0.0; all.len()];
        sampling.apply(&own, &mut values);
        for &v in &sampling.outside {
            values[v] = 0.0;
        }
        let voxels: Vec<u32> = all.into_iter().filter(|&v| values[v as usize] >= HALF).collect();
        if voxels.is_empty() {
            return Err(empty());
        }
        if !binary {
            let text = format!(
                "the mask has more than two values: the {} voxels at and above half of its greatest, {greatest}, were taken",
                voxels.len()
            );
            warnings.push(Warning::new(WarningCode::MaskNotBinary, text));
        }
        let rule = if binary { MaskRule::Binary } else { MaskRule::HalfMaximum };
        let placed = header.orientation != Orientation::Unknown;
        Ok(Self { voxels, rule, warnings, placed })
    }
}

fn empty() -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::MaskEmpty, "the mask has no voxels")
}
