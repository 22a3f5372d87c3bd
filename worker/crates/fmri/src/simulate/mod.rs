//! Simulated resting-state scans: networks from given maps, made a subject's own, with the artefacts of real scans.
//!
//! A scan is a baseline image, plus a sum of maps times courses (networks and artefacts), plus noise. It is made
//! volume after volume, so that its length costs no memory. The same seed gives the same scan.

mod artefact;
mod course;
mod space;

use std::io::{self, Write};

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_volume::{
    Description, Grid, GridRelation, Limits, SIMULATED, Sampling, ScanSource, Storage, VolumeStream,
    VolumeWriter,
};

use crate::random::Random;
use space::Deformation;

/// The networks that scans are simulated from: one map each on a common grid.
#[derive(Clone, Debug)]
pub struct Networks {
    grid: Grid,
    /// The brain, as linear indices, ascending.
    mask: Vec<u32>,
    /// Whole-grid maps, greatest value one.
    maps: Vec<Vec<f32>>,
}

/// How a scan is simulated. Lengths are standard deviations or full widths in millimetres, strengths are shares of
/// the baseline.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub volumes: usize,
    pub tr_seconds: f64,
    /// How far a subject's networks lie from the given maps.
    pub place_mm: f64,
    /// Full width at half maximum of the Gaussian that smooths the networks.
    pub smooth_mm: f64,
    /// Fluctuation of a network at its peak.
    pub network: f64,
    /// Fluctuation of an artefact at its peak.
    pub artefact: f64,
    /// White noise in every voxel.
    pub noise: f64,
    /// Smooth the noise as preprocessing would.
    pub smooth_noise: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            volumes: 160,
            tr_seconds: 2.0,
            place_mm: 2.5,
            smooth_mm: 7.0,
            network: 0.012,
            artefact: 0.012,
            noise: 0.012,
            smooth_noise: true,
        }
    }
}

/// Baseline of the brain in stored units: one per cent is a hundred integer steps.
const BASELINE: f64 = 10_000.0;

/// Share of a map's greatest value below which it is taken for background.
const BACKGROUND: f64 = 0.2;

fn refuse(code: ErrorCode, message: &str) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

impl Networks {
    /// Reads networks from a 3-D label image (one network a label above zero) or a 4-D file (one a volume, values
    /// below a fifth of the greatest dropped). The brain mask may be on another grid; without one, the brain is where any network is.
    ///
    /// # Errors
    /// Those of reading volumes; `mask_empty` when there is no network or no brain; `grid_mismatch`.
    pub fn read(
        source: &dyn ScanSource,
        mask: Option<&dyn ScanSource>,
        limits: &Limits,
    ) -> Result<Self, JobError> {
        let mut stream = VolumeStream::open(source, limits)?;
        let header = stream.header().clone();
        let grid = header.grid;
        let mut volume = vec![0.0; grid.len()];
        let mut maps: Vec<Vec<f32>> = Vec::new();
        while let Some(raw) = stream.next_volume()? {
            raw.values(&mut volume);
            if header.four_dimensional {
                let peak = volume.iter().copied().fold(0.0, f64::max);
                if peak > 0.0 && peak.is_finite() {
                    // The background of a component map is noise, not a weak network.
                    let kept = volume.iter().map(|&x| if x >= BACKGROUND * peak { x / peak } else { 0.0 });
                    maps.push(kept.map(|x| x as f32).collect());
                }
            } else {
                let mut labels: Vec<i64> =
                    volume.iter().filter(|x| **x > 0.5).map(|x| x.round() as i64).collect();
                labels.sort_unstable();
                labels.dedup();
                maps.extend(labels.iter().map(|&label| {
                    volume.iter().map(|x| f32::from(u8::from(x.round() as i64 == label))).collect::<Vec<_>>()
                }));
            }
        }
        stream.finish()?;
        let mask = match mask {
            Some(mask) => brain(mask, &grid, limits)?,
            None => {
                (0..grid.len()).filter(|&v| maps.iter().any(|map| map[v] > 0.0)).map(|v| v as u32).collect()
            }
        };
        if maps.is_empty() || mask.is_empty() {
            return Err(refuse(ErrorCode::MaskEmpty, "there is no network to simulate, or no brain"));
        }
        Ok(Self { grid, mask, maps })
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    pub fn count(&self) -> usize {
        self.maps.len()
    }

    /// The brain's voxels as linear indices, ascending.
    pub fn mask(&self) -> &[u32] {
        &self.mask
    }
}

/// The voxels of a mask on another grid, at and above one half.
fn brain(mask: &dyn ScanSource, grid: &Grid, limits: &Limits) -> Result<Vec<u32>, JobError> {
    let mut stream = VolumeStream::open(mask, limits)?;
    let all: Vec<u32> = (0..grid.len() as u32).collect();
    let sampling = Sampling::plan(&stream.header().grid, grid, &all)?;
    let mut values = vec![0.0; grid.len()];
    if let Some(raw) = stream.next_volume()? {
        raw.sample(&sampling, &mut values);
    }
    stream.finish()?;
    let least = if sampling.relation == GridRelation::Different { 0.5 } else { f64::MIN_POSITIVE };
    Ok(all.into_iter().filter(|&v| values[v as usize] >= least).collect())
}

/// One map with its course: what adds up to a scan.
struct Part {
    /// In the mask's order, in stored units.
    map: Vec<f32>,
    /// One value a volume, standard deviation one.
    course: Vec<f64>,
}

/// Simulates one subject's scan as 16-bit NIfTI; `compression` is the gzip level, or `None` for a plain file.
///
/// # Errors
/// Those of the writer.
pub fn simulate<W: Write>(
    networks: &Networks,
    options: &Options,
    writer: W,
    compression: Option<u32>,
) -> io::Result<W> {
    let parts = subject(networks, options);
    let Networks { grid, mask, .. } = networks;
    let baseline = space::baseline(grid, mask, &mut Random::stream(options.seed, 3));
    let description = Description {
        grid: *grid,
        volumes: Some(options.volumes),
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: Some(options.tr_seconds),
        space: 4,
        text: format!("{SIMULATED}, seed {}", options.seed),
    };
    let mut file = VolumeWriter::new(writer, description, compression)?;
    let mut random = Random::stream(options.seed, 4);
    let mut volume = vec![0f32; grid.len()];
    let mut noise = vec![0f32; grid.len()];
    // Smoothing takes white noise down by this factor, which is given back.
    let blur = space::Blur::new(grid, options.smooth_mm / 1.6);
    let gain = options.noise * BASELINE * if options.smooth_noise { blur.noise_gain() } else { 1.0 };
    for t in 0..options.volumes {
        for &v in mask {
            noise[v as usize] = (random.normal() * gain) as f32;
        }
        if options.smooth_noise {
            blur.apply(&mut noise);
        }
        for (n, &v) in mask.iter().enumerate() {
            volume[v as usize] = baseline[n] + noise[v as usize];
        }
        for part in &parts {
            let now = part.course[t] as f32;
            for (&v, &x) in mask.iter().zip(&part.map) {
                volume[v as usize] += x * now;
            }
        }
        if options.smooth_noise {
            // The blur spreads noise beyond the brain, where the next volume must start from nothing.
            noise.fill(0.0);
        }
        file.write_volume(&volume)?;
    }
    file.finish()
}

/// The subject's own networks and artefacts.
fn subject(networks: &Networks, options: &Options) -> Vec<Part> {
    let Networks { grid, mask, maps } = networks;
    let mut random = Random::stream(options.seed, 1);
    let deformation = Deformation::new(&mut random, options.place_mm);
    let blur = space::Blur::new(grid, options.smooth_mm * random.between(0.8, 1.25));
    let global = course::network(&mut random, options);
    let mut parts: Vec<Part> = maps
        .iter()
        .map(|map| {
            let own = course::network(&mut random, options);
            let share = random.between(0.1, 0.45);
            let course = own.iter().zip(&global).map(|(a, b)| a + share * b).collect();
            let peak = options.network * BASELINE * (0.3 * random.normal()).exp();
            let map = space::subject_map(map, grid, mask, &deformation, &blur, &mut random);
            Part { map: space::scaled(map, peak), course: course::standardised(course) }
        })
        .collect();
    let mut random = Random::stream(options.seed, 2);
    parts.extend(artefact::all(grid, mask, options, &deformation, &mut random).into_iter().map(
        |(map, course)| {
            let peak = options.artefact * BASELINE * (0.4 * random.normal()).exp();
            Part { map: space::scaled(map, peak), course: course::standardised(course) }
        },
    ));
    parts
}
