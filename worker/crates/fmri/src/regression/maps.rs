//! The group's component maps, held the way that every scan's regression needs them.

use std::sync::Arc;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_volume::{Frame, Grid, Limits, Orientation, Sampling, ScanSource, VolumeStream};

use crate::mask::{Mask, MaskRule};

/// Voxels of one tile: a tile's columns stay in the cache while a block of volumes passes.
pub(super) const TILE: usize = 4096;

/// K group maps on V voxels of a mask. Prepared once, shared by all scans.
///
/// Memory: 8 V (K + 1) bytes.
#[derive(Debug)]
pub struct GroupMaps {
    grid: Grid,
    orientation: Orientation,
    mask: Arc<[u32]>,
    mask_rule: MaskRule,
    count: usize,
    /// Whether the mask was given as such; otherwise it is where any map differs from zero.
    brain: bool,
    /// Mean of every map over the mask.
    means: Vec<f64>,
    /// Tiles of (K + 1) x voxels: the maps with their mean over the mask removed, and a row of ones.
    pub(super) tiles: Vec<Mat<f64>>,
    /// Sum over the mask of the outer products of those columns, (K + 1) x (K + 1).
    pub(super) gram: Mat<f64>,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

impl GroupMaps {
    /// Takes K maps (each V values, in the mask's order) on the voxels `mask` (linear indices, ascending) of a grid in
    /// MNI152 space.
    ///
    /// # Errors
    /// `mask_empty` when the mask has no voxels or there are no maps; `volume_header_invalid` when lengths disagree
    /// or a voxel lies outside of the grid; `non_finite_voxels` when a map holds NaN or infinity in the mask.
    pub fn new(grid: Grid, mask: Vec<u32>, maps: &[Vec<f64>]) -> Result<Self, JobError> {
        if maps.iter().any(|map| map.len() != mask.len()) {
            return Err(refuse(ErrorCode::VolumeHeaderInvalid, "the group maps do not fit their mask"));
        }
        let mut rows = maps.iter();
        Self::assemble(grid, mask, maps.len(), |row| {
            if let Some(map) = rows.next() {
                row.copy_from_slice(map);
            }
            Ok(())
        })
    }

    /// Builds the tiles map by map, so that no second copy of the maps is held.
    fn assemble(
        grid: Grid,
        mask: Vec<u32>,
        count: usize,
        mut next: impl FnMut(&mut [f64]) -> Result<(), JobError>,
    ) -> Result<Self, JobError> {
        if mask.is_empty() || count == 0 {
            return Err(refuse(ErrorCode::MaskEmpty, "the group maps have no voxels"));
        }
        let inside = mask.last().is_some_and(|&v| (v as usize) < grid.len());
        if !inside || !mask.is_sorted_by(|a, b| a < b) {
            return Err(refuse(ErrorCode::VolumeHeaderInvalid, "the group maps do not fit their mask"));
        }
        let widths = (0..mask.len()).step_by(TILE).map(|first| TILE.min(mask.len() - first));
        // The row of ones stays; every other is overwritten.
        let mut tiles: Vec<Mat<f64>> = widths.map(|width| Mat::ones(count + 1, width)).collect();
        let mut row = vec![0.0; mask.len()];
        let mut means = Vec::with_capacity(count);
        for k in 0..count {
            next(&mut row)?;
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            if !mean.is_finite() {
                let message = format!("group map {k} is not finite everywhere in the mask");
                return Err(refuse(ErrorCode::NonFiniteVoxels, message));
            }
            means.push(mean);
            for (tile, part) in tiles.iter_mut().zip(row.chunks(TILE)) {
                for (cell, x) in tile.row_mut(k).iter_mut().zip(part) {
                    *cell = x - mean;
                }
            }
        }
        let mut gram = Mat::zeros(count + 1, count + 1);
        for tile in &tiles {
            add_gram(&mut gram, tile);
        }
        let (orientation, mask_rule) = (Orientation::Sform(4), MaskRule::Binary);
        Ok(Self { grid, orientation, mask: mask.into(), mask_rule, count, brain: true, means, tiles, gram })
    }

    /// Reads K maps from a 4-D NIfTI file. The mask is a 3-D file of the same voxels ([`Mask::read`]), or, without one, the
    /// voxels where any map differs from zero.
    ///
    /// # Errors
    /// Those of reading volumes and masks; those of [`GroupMaps::new`].
    pub fn read(
        maps: &dyn ScanSource,
        mask: Option<&dyn ScanSource>,
        limits: &Limits,
    ) -> Result<Self, JobError> {
        let header = VolumeStream::open(maps, limits)?.header().clone();
        let grid = header.grid;
        let brain = mask.is_some();
        let (mask, mask_rule) = if let Some(source) = mask {
            let read = Mask::read(source, &Frame::of(&header, "the group maps"), false, limits)?;
            (read.voxels, read.rule)
        } else {
            let inside = voxels_where(VolumeStream::open(maps, limits)?, |x| x != 0.0)?;
            ((0..grid.len() as u32).filter(|&v| inside[v as usize]).collect(), MaskRule::AnyMap)
        };
        let mut stream = VolumeStream::open(maps, limits)?;
        let count = stream.header().volumes;
        let voxels = Sampling::plan(&grid, &grid, &mask)?;
        let mut out = Self::assemble(grid, mask, count, |row| {
            if let Some(raw) = stream.next_volume()? {
                raw.sample(&voxels, row);
            }
            Ok(())
        })?;
        stream.finish()?;
        (out.orientation, out.mask_rule, out.brain) = (header.orientation, mask_rule, brain);
        Ok(out)
    }

    /// Whether the mask was given as such, and is not only where the maps differ from zero.
    pub fn has_brain_mask(&self) -> bool {
        self.brain
    }

    /// How the maps' own header places them.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// How the mask came about.
    pub fn mask_rule(&self) -> MaskRule {
        self.mask_rule
    }

    /// The grid of the maps, and of every component map made with them.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The mask's voxels as linear indices, ascending.
    pub fn mask(&self) -> &Arc<[u32]> {
        &self.mask
    }

    /// Number of maps, K.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The share of every map's squared weights that lies in voxels left out; `removed` marks these.
    pub(super) fn share_left_out(&self, removed: &[bool]) -> Vec<f64> {
        let (mut gone, mut all) = (vec![0.0; self.count], vec![0.0; self.count]);
        for (tile, removed) in self.tiles.iter().zip(removed.chunks(TILE)) {
            for (column, &removed) in tile.col_iter().zip(removed) {
                for (k, mean) in self.means.iter().enumerate() {
                    let square = (column[k] + mean).powi(2);
                    all[k] += square;
                    gone[k] += if removed { square } else { 0.0 };
                }
            }
        }
        gone.iter().zip(all).map(|(gone, all)| if all > 0.0 { gone / all } else { 0.0 }).collect()
    }

    /// The Gram matrix over the voxels that are kept; `removed` marks the others, in the mask's order.
    pub(super) fn gram_without(&self, removed: &[bool]) -> Mat<f64> {
        let gone = removed.iter().filter(|&&x| x).count();
        // Whichever part is smaller is summed up: taking most of a sum away again would cost precision.
        let downdate = gone <= removed.len() / 2;
        let mut part = Mat::zeros(self.count + 1, self.count + 1);
        for (tile, removed) in self.tiles.iter().zip(removed.chunks(TILE)) {
            let columns: Vec<usize> = (0..tile.ncols()).filter(|&v| removed[v] == downdate).collect();
            if !columns.is_empty() {
                add_gram(&mut part, &Mat::from_fn(tile.nrows(), columns.len(), |k, v| tile[(k, columns[v])]));
            }
        }
        if downdate { &self.gram - part } else { part }
    }
}

/// Adds a tile's outer products, both triangles.
fn add_gram(gram: &mut Mat<f64>, tile: &Mat<f64>) {
    matmul(gram.as_mut(), Accum::Add, tile.as_ref(), tile.transpose(), 1.0, Par::Seq);
}

/// Which voxels fulfil a condition in any volume of a file.
fn voxels_where(mut stream: VolumeStream<'_>, holds: impl Fn(f64) -> bool) -> Result<Vec<bool>, JobError> {
    let mut inside = vec![false; stream.header().grid.len()];
    let mut volume = vec![0.0; inside.len()];
    while let Some(raw) = stream.next_volume()? {
        raw.values(&mut volume);
        for (inside, &x) in inside.iter_mut().zip(&volume) {
            *inside |= holds(x);
        }
    }
    stream.finish()?;
    Ok(inside)
}
