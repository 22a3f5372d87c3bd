//! Volumes that are a formula.

use nightread_volume::{Affine, Description, Grid, Storage, VolumeWriter};

/// A `.nii.gz` of Hounsfield units: `value` of each voxel, along axes of so many voxels and these steps in mm.
pub fn nifti(dims: [usize; 3], steps_mm: [f64; 3], value: impl Fn([usize; 3]) -> f32) -> Vec<u8> {
    let [x, y, z] = steps_mm;
    let affine = Affine([[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]]);
    let grid = Grid { dims, affine };
    let [wide, high, _] = dims;
    let values = (0..grid.len()).map(|at| value([at % wide, at / wide % high, at / wide / high]));
    let description = Description {
        grid,
        volumes: None,
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: None,
        space: 1,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, Some(1)).expect("a header");
    writer.write_volume(&values.collect::<Vec<f32>>()).expect("written");
    writer.finish().expect("written")
}
