//! Random geometries, a network that is a formula, and the naive form, written without the crate's own parts.
#![allow(dead_code)]

use half::f16;
use nightread_segmentation::window::{Padding, Resample, Rule, Window};
use nightread_segmentation::{AxisMap, Back};
use proptest::prelude::*;

pub const IDENTITY: [[f64; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];

/// A grid, a window, and a source that is the grid with permuted, flipped and scaled axes.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub window: Window,
    pub shape: [usize; 3],
    pub classes: usize,
    pub resample: Resample,
    /// By axis of the source.
    pub source: [usize; 3],
    /// The source's axis of each axis of the model.
    pub axes: [usize; 3],
    pub flips: [bool; 3],
    pub seed: u64,
}

pub fn geometry() -> impl Strategy<Value = Geometry> {
    let patch = [1usize..10, 1usize..10, 1usize..10];
    let shape = [1usize..20, 1usize..20, 1usize..20];
    let source = [1usize..26, 1usize..26, 1usize..26];
    let window = (patch, 0.15..=1.0f64, proptest::option::of(0.05..0.4f64), any::<bool>());
    let window = window.prop_map(|(patch, step, gaussian, monai)| Window {
        patch,
        step: if step > 0.9 { 1.0 } else { step },
        gaussian,
        rule: if monai { Rule::Monai } else { Rule::NnUnet },
        padding: Padding::Edge,
    });
    let axes = Just([0, 1, 2]).prop_shuffle();
    // A few classes; now and then so many that labels take two bytes.
    let classes = prop_oneof![1 => Just(1usize), 12 => 2usize..7, 1 => Just(257usize)];
    let rest = (source, axes, any::<[bool; 3]>(), any::<u64>());
    (window, shape, classes, any::<bool>(), rest).prop_map(
        |(window, shape, classes, logits, (source, axes, flips, seed))| {
            let small = if classes > 100 { shape.map(|side| side.min(6)) } else { shape };
            let resample = if logits { Resample::Logits } else { Resample::Labels };
            let window = Window {
                // So many patches take long and show no more than fewer.
                step: if window.patch.iter().any(|&side| side > 5) {
                    window.step.max(0.3)
                } else {
                    window.step
                },
                ..window
            };
            Geometry { window, shape: small, classes, resample, source, axes, flips, seed }
        },
    )
}

/// A number in -1..1 out of some integers.
pub fn hashed(parts: &[u64]) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for &part in parts {
        state = (state ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
    }
    (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

impl Geometry {
    /// The network: waves that differ by class, and noise that differs by patch, so that overlaps disagree.
    pub fn logits(&self, start: [usize; 3]) -> Vec<f32> {
        let patch = self.window.patch;
        let before = [0, 1, 2].map(|axis| patch[axis].saturating_sub(self.shape[axis]) / 2);
        let place = (start[0] + 100 * (start[1] + 100 * start[2])) as u64;
        let mut out = Vec::with_capacity(self.classes * patch.iter().product::<usize>());
        for class in 0..self.classes as u64 {
            let wave = [0, 1, 2].map(|axis| 1.2 * hashed(&[self.seed, class, axis]));
            let phase = 6.0 * hashed(&[self.seed, class, 7]);
            for z in 0..patch[2] {
                for y in 0..patch[1] {
                    for x in 0..patch[0] {
                        let at = [x, y, z];
                        let angle: f64 = (0..3)
                            .map(|axis| {
                                wave[axis] * (start[axis] + at[axis]) as f64
                                    - wave[axis] * before[axis] as f64
                            })
                            .sum();
                        let index = (x + 50 * (y + 50 * z)) as u64;
                        let noise = hashed(&[self.seed, class, place, index]);
                        out.push((8.0 * (angle + phase).sin() + 2.0 * noise) as f32);
                    }
                }
            }
        }
        out
    }

    /// Corners meet, as with SciPy's zoom, and a flip where one is wanted.
    pub fn back(&self) -> Back {
        Back::Separable(std::array::from_fn(|axis| {
            let source_axis = self.axes[axis];
            let (from, to) = (self.source[source_axis], self.shape[axis]);
            // Some of it beyond the grid, as with half-voxel rules.
            let coordinate = |index: usize| {
                let index = if self.flips[axis] { from - 1 - index } else { index };
                (index as f64 + 0.5) * to as f64 / from as f64 - 0.5
            };
            let coordinates: Vec<f64> = (0..from).map(coordinate).collect();
            let nearest =
                coordinates.iter().map(|c| c.round().clamp(0.0, to as f64 - 1.0) as usize).collect();
            AxisMap { source_axis, coordinates, nearest }
        }))
    }
}

/// What the naive form finds for a voxel of the source.
pub struct Judged {
    pub label: usize,
    pub logits: Vec<f64>,
}

/// Begins of patches, by the peers' own loops.
fn begins(rule: Rule, length: usize, patch: usize, step: f64) -> Vec<usize> {
    match rule {
        Rule::NnUnet => {
            let count = ((length - patch) as f64 / (patch as f64 * step)).ceil() + 1.0;
            let mut begins = Vec::new();
            for index in 0..count as usize {
                let exact =
                    if count > 1.0 { (length - patch) as f64 / (count - 1.0) * index as f64 } else { 0.0 };
                let (low, rest) = (exact.floor(), exact - exact.floor());
                let half = (rest - 0.5).abs() < 1e-12;
                let up = if half { low as usize % 2 == 1 } else { rest > 0.5 };
                let begin = low as usize + usize::from(up);
                if !begins.contains(&begin) {
                    begins.push(begin);
                }
            }
            begins
        }
        Rule::Monai => {
            let interval = if length == patch { patch } else { ((patch as f64 * step) as usize).max(1) };
            let mut begins = Vec::new();
            for index in 0.. {
                let end = index * interval + patch;
                begins.push(index * interval - end.saturating_sub(length));
                if end >= length {
                    break;
                }
            }
            begins
        }
    }
}

/// A whole map of weights, made as the peers make theirs.
fn weights(window: &Window) -> Vec<f64> {
    let [wide, high, deep] = window.patch;
    let Some(scale) = window.gaussian else { return vec![1.0; wide * high * deep] };
    let factor = |index: usize, side: usize| {
        let sigma = side as f64 * scale;
        let centre = match window.rule {
            Rule::NnUnet => (side / 2) as f64,
            Rule::Monai => (side - 1) as f64 / 2.0,
        };
        let away = (index as f64 - centre).abs();
        let cut = window.rule == Rule::NnUnet && away > (4.0 * sigma + 0.5).floor();
        if cut { 0.0 } else { (-0.5 * (away / sigma).powi(2)).exp() }
    };
    let place = |at: usize| [at % wide, at / wide % high, at / wide / high];
    let factors = |at: usize| {
        let [x, y, z] = place(at);
        [factor(x, wide), factor(y, high), factor(z, deep)]
    };
    let voxels = 0..wide * high * deep;
    match window.rule {
        // Products in single precision: which number of half precision is the nearest must not depend on the last bits.
        Rule::NnUnet => voxels
            .map(|at| {
                let [x, y, z] = factors(at).map(|factor| factor as f32);
                f16::from_f32(z * y * x * 10.0).to_f64().max(2f64.powi(-24))
            })
            .collect(),
        Rule::Monai => {
            let map: Vec<f64> = voxels.map(|at| factors(at).iter().product()).collect();
            let least = map.iter().copied().fold(f64::INFINITY, f64::min).max(1e-3);
            map.into_iter().map(|weight| weight.max(least)).collect()
        }
    }
}

/// Everything in memory, in double precision.
pub fn naive(geometry: &Geometry) -> Vec<Judged> {
    let Geometry { window, shape, classes, source, .. } = geometry;
    let patch = window.patch;
    let padded = [0, 1, 2].map(|axis| shape[axis].max(patch[axis]));
    let before = [0, 1, 2].map(|axis| (padded[axis] - shape[axis]) / 2);
    let size: usize = padded.iter().product();
    let (mut sums, mut counts) = (vec![0.0; classes * size], vec![0.0; size]);
    let map = weights(window);
    let begins = [0, 1, 2].map(|axis| begins(window.rule, padded[axis], patch[axis], window.step));
    for &z0 in &begins[2] {
        for &y0 in &begins[1] {
            for &x0 in &begins[0] {
                let logits = geometry.logits([x0, y0, z0]);
                for (at, &weight) in map.iter().enumerate() {
                    let (x, y, z) = (at % patch[0], at / patch[0] % patch[1], at / patch[0] / patch[1]);
                    let to = ((z0 + z) * padded[1] + y0 + y) * padded[0] + x0 + x;
                    counts[to] += weight;
                    for class in 0..*classes {
                        sums[class * size + to] += weight * f64::from(logits[class * map.len() + at]);
                    }
                }
            }
        }
    }
    let mean = |class: usize, at: [usize; 3]| {
        let [x, y, z] = [0, 1, 2].map(|axis| at[axis] + before[axis]);
        let at = (z * padded[1] + y) * padded[0] + x;
        sums[class * size + at] / counts[at]
    };
    let Back::Separable(maps) = geometry.back() else { unreachable!() };
    let mut out = Vec::new();
    for z in 0..source[2] {
        for y in 0..source[1] {
            for x in 0..source[0] {
                let here = [x, y, z];
                let logits: Vec<f64> = (0..*classes)
                    .map(|class| match geometry.resample {
                        Resample::Labels => {
                            mean(class, [0, 1, 2].map(|axis| maps[axis].nearest[here[geometry.axes[axis]]]))
                        }
                        Resample::Logits => {
                            let at = [0, 1, 2].map(|axis| {
                                let end = (shape[axis] - 1) as f64;
                                maps[axis].coordinates[here[geometry.axes[axis]]].clamp(0.0, end)
                            });
                            let mut value = 0.0;
                            for corner in 0..8 {
                                let mut share = 1.0;
                                let voxel = [0, 1, 2].map(|axis| {
                                    let (low, rest) = (at[axis].floor(), at[axis] - at[axis].floor());
                                    let further = corner >> axis & 1 == 1;
                                    share *= if further { rest } else { 1.0 - rest };
                                    (low as usize + usize::from(further)).min(shape[axis] - 1)
                                });
                                value += if share > 0.0 { share * mean(class, voxel) } else { 0.0 };
                            }
                            value
                        }
                    })
                    .collect();
                let mut label = 0;
                for class in 1..*classes {
                    if logits[class] > logits[label] {
                        label = class;
                    }
                }
                out.push(Judged { label, logits });
            }
        }
    }
    out
}
