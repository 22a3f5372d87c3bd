//! Component maps of one scan: made by dual regression or read from a stage-2 file, written as NIfTI and TSV.

use std::io::{self, Write};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_volume::{
    Description, Frame, Grid, Intent, Limits, Orientation, Placed, Sampling, ScanSource, Storage,
    VolumeStream, VolumeWriter, place,
};
use serde::Serialize;

/// More maps than this in one file are refused: group analyses have tens to a few hundred components.
const MAX_MAPS: usize = 1024;

/// K maps of one scan on V voxels of a grid.
#[derive(Clone, Debug)]
pub struct ComponentMaps {
    pub grid: Grid,
    /// How a header places the grid; kept in what is written.
    pub orientation: Orientation,
    /// The voxels as linear indices, ascending.
    pub mask: Arc<[u32]>,
    /// Regression coefficients, K maps of V values.
    pub betas: Vec<Vec<f32>>,
    /// t of the coefficients, in the same order, when computed.
    pub t: Option<Vec<Vec<f32>>>,
    /// z of the same tail probabilities, when computed.
    pub z: Option<Vec<Vec<f32>>>,
}

/// Where a component map is strongest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// World position of the voxel's centre in millimetres (MNI when the maps are).
    pub peak_mni_mm: [f64; 3],
    /// z there, with its sign; `None` for maps that came without statistics.
    pub peak_z: Option<f64>,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

impl ComponentMaps {
    /// Reads component maps (stage-2 regression maps, or any 3-D or 4-D file of one map a volume) onto a grid.
    ///
    /// Values that are not finite become zero, with a warning. Maps on another grid are interpolated when `resample`
    /// allows it; the same voxels in another order always are.
    ///
    /// # Errors
    /// Those of reading volumes; `grid_mismatch`; `too_many_voxels` for more than 1024 maps.
    pub fn read(
        source: &dyn ScanSource,
        target: &Frame<'_>,
        resample: bool,
        limits: &Limits,
    ) -> Result<(Self, Vec<Warning>), JobError> {
        let grid = target.grid;
        let mut stream = VolumeStream::open(source, limits)?;
        let header = stream.header().clone();
        if header.volumes > MAX_MAPS {
            let message = format!("{} component maps are over the limit of {MAX_MAPS}", header.volumes);
            return Err(refuse(ErrorCode::TooManyVoxels, message));
        }
        let mask: Arc<[u32]> = (0..grid.len() as u32).collect();
        let Placed { sampling, mut warnings } =
            place(&Frame::of(&header, "the file of maps"), target, &mask, resample)?;
        if sampling.outside.len() == mask.len() {
            return Err(refuse(ErrorCode::GridMismatch, "the maps lie outside of the grid altogether"));
        }
        let mut volume = vec![0.0; mask.len()];
        let (mut betas, mut bad) = (Vec::new(), 0usize);
        while let Some(raw) = stream.next_volume()? {
            raw.sample(&sampling, &mut volume);
            bad += volume.iter().filter(|x| !x.is_finite()).count();
            betas.push(volume.iter().map(|&x| if x.is_finite() { x as f32 } else { 0.0 }).collect());
        }
        stream.finish()?;
        if bad > 0 {
            warnings.push(Warning::new(
                WarningCode::NonFiniteVoxels,
                format!("{bad} voxels held NaN or infinity: read as zero"),
            ));
        }
        Ok((Self { grid: *grid, orientation: target.orientation, mask, betas, t: None, z: None }, warnings))
    }

    /// The same maps interpolated onto another grid (trilinear; zero where they do not reach). Statistics are not carried over.
    ///
    /// # Errors
    /// `grid_mismatch` when an affine is singular.
    pub fn on_grid(&self, grid: &Grid) -> Result<Self, JobError> {
        let mask: Arc<[u32]> = (0..grid.len() as u32).collect();
        let sampling = Sampling::plan(&self.grid, grid, &mask)?;
        let mut whole = vec![0.0; self.grid.len()];
        let mut out = vec![0.0; grid.len()];
        let mut betas = Vec::new();
        for map in &self.betas {
            for (&v, &x) in self.mask.iter().zip(map) {
                whole[v as usize] = f64::from(x);
            }
            sampling.apply(&whole, &mut out);
            betas.push(out.iter().map(|&x| x as f32).collect());
        }
        Ok(Self { grid: *grid, orientation: self.orientation, mask, betas, t: None, z: None })
    }

    /// Peaks of the coefficients themselves, for maps without statistics; `None` for maps that are zero.
    pub fn peaks(&self) -> Vec<Option<Peak>> {
        self.betas.iter().map(|map| self.peak(map)).collect()
    }

    fn peak(&self, map: &[f32]) -> Option<Peak> {
        let first = (0..map.len()).reduce(|best, v| if map[v].abs() > map[best].abs() { v } else { best })?;
        (map[first] != 0.0)
            .then(|| Peak { peak_mni_mm: self.grid.world(self.mask[first] as usize), peak_z: None })
    }

    /// One map as a whole volume, zero outside of the mask.
    pub fn volume(&self, values: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.grid.len()];
        for (&v, &x) in self.mask.iter().zip(values) {
            out[v as usize] = x;
        }
        out
    }

    /// Writes maps of this set as one compressed 4-D file of single precision, whose header says what they are: the
    /// coefficients ([`Intent::ESTIMATE`]), t ([`Intent::T`], of `dof` degrees of freedom) or z ([`Intent::Z`]).
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write<W: Write>(
        &self,
        maps: &[Vec<f32>],
        text: &str,
        intent: Intent,
        dof: usize,
        writer: W,
    ) -> io::Result<W> {
        let description = Description {
            grid: self.grid,
            volumes: Some(maps.len()),
            storage: Storage::F32,
            tr_seconds: None,
            space: self.orientation.code() as i16,
            text: text.to_owned(),
        };
        let parameter = if intent == Intent::T { dof as f32 } else { 0.0 };
        let mut file = VolumeWriter::of_intent(writer, description, intent, parameter, Some(6))?;
        for map in maps {
            file.write_volume(&self.volume(map))?;
        }
        file.finish()
    }
}

/// Writes time courses (T rows of `count` values) as tab-separated text with a header line, as BIDS derivatives do.
///
/// # Errors
/// Those of the writer.
pub fn write_time_courses<W: Write>(courses: &[f64], count: usize, mut writer: W) -> io::Result<()> {
    let names: Vec<String> = (0..count).map(|k| format!("component_{k:03}")).collect();
    writeln!(writer, "{}", names.join("\t"))?;
    for row in courses.chunks(count.max(1)) {
        let cells: Vec<String> = row.iter().map(|x| format!("{x:.9e}")).collect();
        writeln!(writer, "{}", cells.join("\t"))?;
    }
    writer.flush()
}
