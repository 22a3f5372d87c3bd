//! A fixed sample of voxels kept as time series: what tells how many directions in time the data really have.

use faer::Mat;
use nightread_volume::{Datatype, Header, Sampler, Sampling};

/// Fewest and most pairs of neighbours that are kept; between them four for each volume.
const PAIRS: (usize, usize) = (256, 2048);

/// Series whose steps are looked at one by one.
const STEPPED: usize = 64;

/// Fewer different values than this do not show a lattice.
const MIN_STEPS: usize = 8;

/// Pairs of voxels that follow each other in the mask, evenly spread over those that change within the first block.
///
/// Memory: 8 bytes x volumes x pairs, at most 2048 of these.
#[derive(Debug)]
pub(super) struct Series {
    /// Positions in the mask: first and second of every pair, in turn.
    pub positions: Vec<usize>,
    /// Deviations from the pivot, a row a volume. Single precision: as exact as the stored values, or nearly so.
    rows: Vec<f32>,
    pairs: usize,
    volumes: usize,
}

impl Series {
    pub(super) fn new(volumes: usize) -> Self {
        let pairs = (4 * volumes).clamp(PAIRS.0, PAIRS.1);
        Self { positions: Vec::new(), rows: Vec::new(), pairs, volumes: 0 }
    }

    /// Takes in a block of deviations, a row a volume.
    pub(super) fn add(&mut self, block: &[f64], voxels: usize) {
        if self.positions.is_empty() {
            self.choose(block, voxels);
            // Nothing had changed so far.
            self.rows = vec![0.0; self.volumes * self.positions.len()];
        }
        for row in block.chunks_exact(voxels) {
            self.volumes += 1;
            self.rows.extend(self.positions.iter().map(|&v| row[v] as f32));
        }
    }

    fn choose(&mut self, block: &[f64], voxels: usize) {
        let mut changes = vec![false; voxels];
        for row in block.chunks_exact(voxels) {
            for (changes, x) in changes.iter_mut().zip(row) {
                *changes |= *x != 0.0;
            }
        }
        let candidates: Vec<usize> = (0..voxels).filter(|&v| changes[v]).collect();
        let all = candidates.len() / 2;
        let pairs = self.pairs.min(all);
        let places = (0..pairs).map(|n| n * all / pairs);
        self.positions = places.flat_map(|n| [candidates[2 * n], candidates[2 * n + 1]]).collect();
    }

    /// Chosen series as a matrix, volumes x voxels.
    pub(super) fn matrix(&self, chosen: &[usize]) -> Mat<f64> {
        let width = self.positions.len();
        Mat::from_fn(self.volumes, chosen.len(), |t, v| f64::from(self.rows[t * width + chosen[v]]))
    }

    /// The median of all values of the sample; NaN of none. `pivot` is what the values deviate from, over the mask.
    pub(super) fn median(&self, pivot: &[f64]) -> f64 {
        let width = self.positions.len().max(1);
        let rows = self.rows.chunks_exact(width);
        let values = rows.flat_map(|row| row.iter().zip(&self.positions));
        let mut values: Vec<f32> = values.map(|(x, &v)| (f64::from(*x) + pivot[v]) as f32).collect();
        let middle = values.len() / 2;
        if values.is_empty() {
            return f64::NAN;
        }
        let is_even = values.len().is_multiple_of(2);
        let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
        let upper = f64::from(*upper);
        let lower = below.iter().copied().max_by(f32::total_cmp).map(f64::from).filter(|_| is_even);
        f64::midpoint(lower.unwrap_or(upper), upper)
    }

    /// The mean over the sample of what `of` makes of each series, which it may use up; NaN of none.
    pub(super) fn mean_over_voxels(&self, of: impl Fn(&mut [f64]) -> f64) -> f64 {
        let width = self.positions.len();
        let mut sum = 0.0;
        for voxel in 0..width {
            let mut series: Vec<f64> =
                self.rows.iter().skip(voxel).step_by(width).map(|&x| f64::from(x)).collect();
            sum += of(&mut series);
        }
        sum / width as f64
    }

    /// Mean variance that rounding of the stored values leaves in a series (uniform, a twelfth of the squared step).
    ///
    /// The step is the header's slope for integers and the spacing of floating-point numbers at each value, or, where
    /// that is coarser, the step of the lattice that a series' values lie on: integers that were converted to
    /// floating-point keep their steps. Interpolation between voxels averages roundings.
    pub(super) fn rounding(&self, header: &Header, sampling: &Sampling, pivot: &[f64]) -> f64 {
        let width = self.positions.len();
        if width == 0 {
            return 0.0;
        }
        let every = (width / STEPPED).max(1);
        let chosen: Vec<usize> = (0..width).step_by(every).collect();
        chosen
            .iter()
            .map(|&n| {
                let v = self.positions[n];
                let series: Vec<f64> =
                    self.rows.iter().skip(n).step_by(width).map(|&x| f64::from(x)).collect();
                let stored = mean_square_step(&series, pivot[v], header) * averaging(sampling, v);
                let kept = mean_square(series.iter().map(|&x| spacing(x, f32::MANTISSA_DIGITS)));
                (stored + kept).max(lattice_step(series).powi(2)) / 12.0 / chosen.len() as f64
            })
            .sum()
    }
}

/// Mean square of the steps that the file's datatype allows at the values of a series.
fn mean_square_step(series: &[f64], pivot: f64, header: &Header) -> f64 {
    let bits = match header.datatype {
        Datatype::F32 => f32::MANTISSA_DIGITS,
        Datatype::F64 => f64::MANTISSA_DIGITS,
        _ => return header.slope * header.slope,
    };
    mean_square(series.iter().map(|&x| {
        let stored = (x + pivot - header.intercept) / header.slope;
        header.slope * spacing(stored, bits)
    }))
}

/// Distance of the floating-point numbers with that many bits at a value.
fn spacing(x: f64, bits: u32) -> f64 {
    if x == 0.0 { 0.0 } else { (x.abs().log2().floor() + 1.0 - f64::from(bits)).exp2() }
}

fn mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.map(|x| x * x).sum::<f64>() / count
}

/// The step of a series whose values lie on a lattice: the smallest difference, where nearly all others are multiples of
/// it. Zero when they are not, or when all values are equal.
fn lattice_step(mut series: Vec<f64>) -> f64 {
    series.sort_unstable_by(f64::total_cmp);
    let steps: Vec<f64> =
        series.windows(2).map(|pair| pair[1] - pair[0]).filter(|&step| step > 0.0).collect();
    let least = steps.iter().copied().reduce(f64::min).unwrap_or(0.0);
    // Single precision blurs a lattice a little.
    let on = steps.iter().filter(|&&step| (step / least - (step / least).round()).abs() <= 0.05).count();
    if steps.len() >= MIN_STEPS && 10 * on >= 9 * steps.len() { least } else { 0.0 }
}

/// By how much interpolation at a voxel of the mask lessens the variance of independent roundings.
fn averaging(sampling: &Sampling, voxel: usize) -> f64 {
    match &sampling.sampler {
        Sampler::Direct(_) => 1.0,
        Sampler::Trilinear { weights, .. } => weights[voxel].iter().map(|&w| f64::from(w).powi(2)).sum(),
    }
}
