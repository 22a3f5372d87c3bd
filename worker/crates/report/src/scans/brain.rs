//! The template brain, and a map of a scan on its voxels: three slices through a place, and a glass brain.
//!
//! The template is the brain of the ICBM 152 non-linear symmetric average of 2009 on 2 mm voxels (`assets/NOTICE.txt`). A map is interpolated
//! trilinearly onto those voxels once; slices and maximum intensity projections are then views of one array. Slices have world right to the
//! right of the image, as nilearn draws them: left is left.

use nightread_domain::JobError;
use nightread_volume::{BytesSource, Grid, Limits, Orientation, Sampling, VolumeStream};

/// What must stand wherever the template is shown, by its terms (`assets/NOTICE.txt`).
pub const TEMPLATE_NOTICE: &str = "Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill University make no representations about the suitability of this software for any purpose. It is provided \"as is\" without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property loss, or injury to subjects or patients resulting from the use or misuse of this software package.";

const TEMPLATE: &[u8] = include_bytes!("../../assets/mni152-t1-brain-2mm.nii.gz");

/// Greys of the template: 0 is outside of the brain.
pub const GREYS: u8 = 64;

/// A two-dimensional array of one view, its first row at the top.
#[derive(Clone, Debug, PartialEq)]
pub struct View<T> {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<T>,
}

/// Which axis of the world a view looks along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Along x; front to the right.
    Sagittal,
    /// Along y.
    Coronal,
    /// Along z; front to the top.
    Axial,
}

impl Plane {
    pub const ALL: [Self; 3] = [Self::Sagittal, Self::Coronal, Self::Axial];

    /// The axis that is looked along, the one to the right, and the one to the top.
    const fn axes(self) -> [usize; 3] {
        match self {
            Self::Sagittal => [0, 1, 2],
            Self::Coronal => [1, 0, 2],
            Self::Axial => [2, 0, 1],
        }
    }
}

/// The template's voxels, whose axes run to the right, the front and the top.
#[derive(Debug)]
pub struct Brain {
    grid: Grid,
    greys: Vec<u8>,
    /// Where the brain is when it is looked through, for each plane.
    silhouettes: [View<bool>; 3],
}

impl Brain {
    /// # Errors
    /// Never, unless the program was built with another file.
    pub fn new() -> Result<Self, JobError> {
        let source = BytesSource(TEMPLATE);
        let mut stream = VolumeStream::open(&source, &Limits::default())?;
        let grid = stream.header().grid;
        let mut values = vec![0.0; grid.len()];
        if let Some(volume) = stream.next_volume()? {
            volume.values(&mut values);
        }
        stream.finish()?;
        let greys: Vec<u8> = values.iter().map(|&grey| grey as u8).collect();
        let silhouettes = Plane::ALL.map(|plane| silhouette(&grid, &greys, plane));
        Ok(Self { grid, greys, silhouettes })
    }

    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The voxel whose centre is nearest to a place in millimetres; of one outside, the nearest at the border.
    pub fn voxel(&self, mm: [f64; 3]) -> [usize; 3] {
        let place = self.grid.affine.inverse().map_or([0.0; 3], |inverse| inverse.apply(mm));
        std::array::from_fn(|axis| place[axis].round().clamp(0.0, (self.grid.dims[axis] - 1) as f64) as usize)
    }

    /// The template's greys in a slice through `voxel`.
    pub fn slice(&self, plane: Plane, voxel: [usize; 3]) -> View<u8> {
        slice(&self.grid, &self.greys, plane, voxel)
    }

    /// Where the brain is when it is looked through.
    pub const fn silhouette(&self, plane: Plane) -> &View<bool> {
        &self.silhouettes[plane.axes()[0]]
    }
}

fn silhouette(grid: &Grid, greys: &[u8], plane: Plane) -> View<bool> {
    let [_, right, top] = plane.axes();
    let mut view = View::new(grid.dims[right], grid.dims[top], false);
    for (index, _) in greys.iter().enumerate().filter(|(_, grey)| **grey > 0) {
        let at = grid.position(index);
        view.set(at[right], at[top], true);
    }
    view
}

/// How the maps of one file come onto the template's voxels.
#[derive(Debug)]
pub struct Placement {
    sampling: Sampling,
    own: usize,
}

impl Placement {
    /// `None` where the header does not say where the maps lie.
    ///
    /// # Errors
    /// `grid_mismatch` when the affine is singular.
    pub fn of(grid: &Grid, orientation: Orientation, brain: &Brain) -> Result<Option<Self>, JobError> {
        if orientation == Orientation::Unknown {
            return Ok(None);
        }
        let wanted: Vec<u32> = (0..brain.grid.len() as u32).collect();
        Ok(Some(Self { sampling: Sampling::plan(grid, &brain.grid, &wanted)?, own: grid.len() }))
    }

    /// The map on the template's voxels; 0 where it does not reach, or holds no number.
    pub fn apply(&self, map: &[f64], brain: &Brain) -> Vec<f64> {
        debug_assert_eq!(map.len(), self.own);
        let mut out = vec![0.0; brain.grid.len()];
        self.sampling.apply(map, &mut out);
        for &outside in &self.sampling.outside {
            out[outside] = 0.0;
        }
        for value in &mut out {
            if !value.is_finite() {
                *value = 0.0;
            }
        }
        out
    }
}

impl<T: Copy> View<T> {
    fn new(width: usize, height: usize, value: T) -> Self {
        Self { width, height, pixels: vec![value; width * height] }
    }

    /// By place from the left and from the bottom.
    fn set(&mut self, right: usize, up: usize, value: T) {
        self.pixels[(self.height - 1 - up) * self.width + right] = value;
    }

    fn get(&self, right: usize, up: usize) -> T {
        self.pixels[(self.height - 1 - up) * self.width + right]
    }
}

/// A slice of an array on `grid` through `voxel`.
pub fn slice<T: Copy + Default>(grid: &Grid, values: &[T], plane: Plane, voxel: [usize; 3]) -> View<T> {
    let [along, right, top] = plane.axes();
    let mut view = View::new(grid.dims[right], grid.dims[top], T::default());
    let mut at = voxel;
    at[along] = voxel[along].min(grid.dims[along] - 1);
    for up in 0..grid.dims[top] {
        for across in 0..grid.dims[right] {
            (at[right], at[top]) = (across, up);
            view.set(across, up, values[at[0] + grid.dims[0] * (at[1] + grid.dims[1] * at[2])]);
        }
    }
    view
}

/// The value that is farthest from zero on each line of sight, with its sign.
pub fn glass(grid: &Grid, values: &[f64], plane: Plane) -> View<f64> {
    let [_, right, top] = plane.axes();
    let mut view = View::new(grid.dims[right], grid.dims[top], 0.0f64);
    for (index, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        let at = grid.position(index);
        if value.abs() > view.get(at[right], at[top]).abs() {
            view.set(at[right], at[top], value);
        }
    }
    view
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn its_notice_is_that_of_its_source() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(include_str!("../../assets/NOTICE.txt")).contains(TEMPLATE_NOTICE));
    }

    #[test]
    fn the_template_is_a_brain_in_its_place() {
        let brain = Brain::new().expect("the template");
        assert_eq!(brain.grid.dims, [81, 98, 82]);
        assert_eq!(brain.grid.affine.axis_codes(), "RAS");
        assert!(brain.greys.iter().all(|grey| *grey < GREYS));
        let litres = brain.greys.iter().filter(|grey| **grey > 0).count() as f64 * 8e-6;
        assert!((1.5..2.4).contains(&litres), "{litres}");
        // The corpus callosum is white, the air beside the head is none.
        let grey = |mm| {
            let [i, j, k] = brain.voxel(mm);
            brain.greys[i + 81 * (j + 98 * k)]
        };
        assert!(grey([0.0, 22.0, 8.0]) > 40 && grey([79.0, -100.0, 70.0]) == 0);
        assert_eq!(brain.voxel([1000.0, -1000.0, 1000.0]), [80, 0, 81]);
    }

    #[test]
    fn left_is_left_and_the_front_is_on_the_right() {
        let brain = Brain::new().expect("the template");
        let mut map = vec![0.0; brain.grid.len()];
        let [i, j, k] = brain.voxel([-40.0, 30.0, 20.0]);
        map[i + 81 * (j + 98 * k)] = -5.0;
        for (plane, [right, top]) in
            [(Plane::Sagittal, [j, k]), (Plane::Coronal, [i, k]), (Plane::Axial, [i, j])]
        {
            let (slice, glass) =
                (slice(&brain.grid, &map, plane, [i, j, k]), glass(&brain.grid, &map, plane));
            assert_eq!(slice, glass);
            assert_eq!(slice.get(right, top), -5.0);
            assert_eq!(slice.pixels.iter().filter(|value| **value != 0.0).count(), 1);
            assert_eq!(slice.pixels[(slice.height - 1 - top) * slice.width + right], -5.0);
        }
        assert!(i < 40 && j > 49);
    }
}
