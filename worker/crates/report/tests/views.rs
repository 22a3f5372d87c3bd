//! Slices and glass brain against nilearn's cut axes and glass brain axes on the same map (`golden/views.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_report::scans::{Brain, Placement, Plane, View, glass, slice};
use nightread_volume::{BytesSource, Grid, Limits, Orientation, VolumeStream};

/// The volumes of a file with their grid.
fn volumes(bytes: &[u8]) -> (Vec<Vec<f64>>, Grid, Orientation) {
    let source = BytesSource(bytes);
    let mut stream = VolumeStream::open(&source, &Limits::default()).unwrap();
    let (grid, orientation) = (stream.header().grid, stream.header().orientation);
    let mut all = Vec::new();
    while let Some(volume) = stream.next_volume().unwrap() {
        let mut values = vec![0.0; grid.len()];
        volume.values(&mut values);
        all.push(values);
    }
    (all, grid, orientation)
}

#[test]
fn slices_and_projections_are_those_of_nilearn() {
    let (maps, grid, orientation) = volumes(include_bytes!("golden/maps.nii.gz"));
    let (views, wide, _) = volumes(include_bytes!("golden/views.nii.gz"));
    let brain = Brain::new().unwrap();
    let placement = Placement::of(&grid, orientation, &brain).unwrap().unwrap();
    let map = placement.apply(&maps[0], &brain);

    let peak = (0..map.len()).max_by(|&a, &b| map[a].abs().total_cmp(&map[b].abs())).unwrap();
    assert_eq!(brain.grid().position(peak), [37, 28, 50]);
    assert_eq!(brain.voxel([-6.0, -58.0, 28.0]), [37, 28, 50]);

    let slices = Plane::ALL.map(|plane| slice(brain.grid(), &map, plane, [37, 28, 50]));
    let projections = Plane::ALL.map(|plane| glass(brain.grid(), &map, plane));
    for (nth, view) in slices.iter().chain(&projections).enumerate() {
        let theirs = corner(&views[nth], wide.dims[0], view);
        let (mut far, mut count) = (0.0f64, 0);
        for (ours, theirs) in view.pixels.iter().zip(&theirs) {
            far = far.max((ours - theirs).abs());
            count += usize::from(*theirs != 0.0);
        }
        // Weights and the reference are of single precision.
        assert!(far < 2e-5, "view {nth}: {far}");
        assert!(count > 300, "view {nth} shows something: {count}");
    }
    assert!(projections[0].pixels.iter().any(|value| *value < -7.0), "the sign is kept");
}

/// The part of a square volume that a view of this size fills.
fn corner(volume: &[f64], side: usize, view: &View<f64>) -> Vec<f64> {
    let rows = (0..view.height).map(|row| &volume[row * side..row * side + view.width]);
    rows.flatten().copied().collect()
}
