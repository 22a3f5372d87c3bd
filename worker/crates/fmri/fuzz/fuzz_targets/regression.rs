//! Any bytes as a scan for dual regression and as component maps, on a small grid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightread_fmri::regression::Options;
use nightread_fmri::{ComponentMaps, GroupMaps, dual_regression};
use nightread_volume::{Affine, BytesSource, Frame, Grid, Limits, Orientation};

fuzz_target!(|bytes: &[u8]| {
    let grid = Grid {
        dims: [3, 3, 3],
        affine: Affine([[4.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]]),
    };
    let maps: Vec<Vec<f64>> = (0..2).map(|k| (0..27).map(|v| f64::from(v * (k + 3) % 7)).collect()).collect();
    let Ok(maps) = GroupMaps::new(grid, (0..27).collect(), &maps) else { return };
    let limits = Limits { max_volume_voxels: 1 << 14, max_voxels: 1 << 16, max_inflated_bytes: 1 << 20, ..Limits::default() };
    let options = Options { resample: true, max_left_out: 2.0, z_maps: true, threads: 1, limits, ..Options::default() };
    if let Ok(result) = dual_regression(&BytesSource(bytes), &maps, &options) {
        assert!(result.time_courses.len() == 2 * result.facts.volumes);
    }
    let target = Frame { grid: &grid, orientation: Orientation::Sform(4), called: "the grid" };
    let _ = ComponentMaps::read(&BytesSource(bytes), &target, true, &limits);
});
