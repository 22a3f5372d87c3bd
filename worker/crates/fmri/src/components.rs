//! Component maps of one scan: on a mask's voxels or read from a stage-2 file.

use std::sync::Arc;

use serde::Serialize;

use crate::grid::Grid;

/// K maps of one scan on V voxels of a grid.
#[derive(Clone, Debug)]
pub struct ComponentMaps {
    pub grid: Grid,
    /// The voxels as linear indices, ascending.
    pub mask: Arc<[u32]>,
    /// Regression coefficients, K maps of V values.
    pub betas: Vec<Vec<f32>>,
    /// z of the coefficients, in the same order, when computed.
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

impl ComponentMaps {
    /// One map as a whole volume, zero outside of the mask.
    pub fn volume(&self, values: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.grid.len()];
        for (&v, &x) in self.mask.iter().zip(values) {
            out[v as usize] = x;
        }
        out
    }
}
