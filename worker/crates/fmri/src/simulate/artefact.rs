//! What real scans hold beside networks: movement at edges, pulse and breath, fluid, drift, slices, air.
//!
//! Places are given in MNI millimetres, so that every artefact is at the same place in every subject but for the
//! subject's own deformation.

use super::space::{Blur, Deformation, Waves};
use super::{Options, course};
use crate::random::Random;
use nightread_volume::Grid;

/// Gaussian blobs: centre and standard deviation in millimetres.
type Blob = ([f64; 3], f64);

/// Arteries at the base, the insular branches, and the sagittal sinus.
const VESSELS: &[Blob] = &[
    ([0.0, 4.0, -22.0], 9.0),
    ([36.0, 4.0, -8.0], 7.0),
    ([-36.0, 4.0, -8.0], 7.0),
    ([0.0, -88.0, 8.0], 9.0),
];
/// Brainstem and fourth ventricle.
const BRAINSTEM: &[Blob] = &[([0.0, -30.0, -36.0], 9.0), ([0.0, -42.0, -30.0], 7.0)];
/// Lateral ventricles.
const VENTRICLES: &[Blob] = &[
    ([12.0, -22.0, 18.0], 8.0),
    ([-12.0, -22.0, 18.0], 8.0),
    ([10.0, 16.0, 10.0], 7.0),
    ([-10.0, 16.0, 10.0], 7.0),
];
/// Deep white matter.
const WHITE: &[Blob] = &[
    ([26.0, -14.0, 30.0], 13.0),
    ([-26.0, -14.0, 30.0], 13.0),
    ([24.0, 26.0, 16.0], 11.0),
    ([-24.0, 26.0, 16.0], 11.0),
];
/// Beside air: above the sinuses and the ear canals.
const AIR: &[Blob] = &[([0.0, 40.0, -24.0], 11.0), ([40.0, -6.0, -34.0], 10.0), ([-40.0, -6.0, -34.0], 10.0)];
/// Cerebellum.
const CEREBELLUM: &[Blob] = &[([24.0, -66.0, -36.0], 13.0), ([-24.0, -66.0, -36.0], 13.0)];

/// Maps (in the mask's order) with their courses.
pub(super) fn all(
    grid: &Grid,
    mask: &[u32],
    options: &Options,
    deformation: &Deformation,
    random: &mut Random,
) -> Vec<(Vec<f32>, Vec<f64>)> {
    let places: Vec<[f64; 3]> = mask.iter().map(|&v| deformation.apply(grid.world(v as usize))).collect();
    let edges = edges(grid, mask);

    let mut out = Vec::new();
    // Movement along each axis brightens one side of the edge and darkens the other.
    for edge in &edges {
        out.push((edge.clone(), course::movement(random, options)));
    }
    let rim: Vec<f32> =
        (0..mask.len()).map(|n| edges.iter().map(|e| e[n] * e[n]).sum::<f32>().sqrt()).collect();
    let pulse = random.between(0.9, 1.25);
    let breath = random.between(0.22, 0.34);
    out.push((blobs(VESSELS, &places), course::physiological(random, options, pulse, 0.03)));
    out.push((blobs(BRAINSTEM, &places), course::physiological(random, options, pulse, 0.03)));
    out.push((blobs(VENTRICLES, &places), course::band(random, options, 0.01, 0.2, 0.3)));
    out.push((blobs(WHITE, &places), course::band(random, options, 0.004, 0.05, 1.0)));
    out.push((blobs(AIR, &places), course::movement(random, options)));
    out.push((blobs(CEREBELLUM, &places), course::physiological(random, options, breath, 0.03)));
    // Breath moves the rim, more at the top and the back.
    let upper = places.iter().zip(&rim).map(|([_, y, z], rim)| rim * (1.0 + 0.01 * (z - y)).max(0.0) as f32);
    out.push((upper.collect(), course::physiological(random, options, breath, 0.03)));
    let axis = random.below(3);
    let gradient = places.iter().map(|place| (place[axis] / 60.0) as f32);
    out.push((gradient.collect(), course::drift(random, options)));
    // Every other slice, as interleaved acquisition leaves it.
    let slices =
        mask.iter().map(|&v| if grid.position(v as usize)[2].is_multiple_of(2) { 1.0 } else { -1.0 });
    out.push((slices.collect(), course::spikes(random, options)));
    let cloud = Waves::new(random);
    let clouded = places.iter().map(|&place| cloud.at(place) as f32);
    out.push((clouded.collect(), course::spikes(random, options)));
    out
}

/// The sum of blobs at every place.
fn blobs(list: &[Blob], places: &[[f64; 3]]) -> Vec<f32> {
    places.iter().map(|&place| list.iter().map(|blob| gaussian(place, blob)).sum::<f64>() as f32).collect()
}

fn gaussian(place: [f64; 3], (centre, sigma): &Blob) -> f64 {
    let square: f64 = place.iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum();
    (-0.5 * square / (sigma * sigma)).exp()
}

/// Gradient of the smoothed brain along every axis, in the mask's order.
fn edges(grid: &Grid, mask: &[u32]) -> [Vec<f32>; 3] {
    let mut brain = vec![0f32; grid.len()];
    for &v in mask {
        brain[v as usize] = 1.0;
    }
    Blur::new(grid, 8.0).apply(&mut brain);
    let strides = [1, grid.dims[0], grid.dims[0] * grid.dims[1]];
    std::array::from_fn(|axis| {
        let differences = mask.iter().map(|&v| {
            let (v, at) = (v as usize, grid.position(v as usize)[axis]);
            let before = if at > 0 { brain[v - strides[axis]] } else { 0.0 };
            let after = if at + 1 < grid.dims[axis] { brain[v + strides[axis]] } else { 0.0 };
            after - before
        });
        differences.collect()
    })
}
