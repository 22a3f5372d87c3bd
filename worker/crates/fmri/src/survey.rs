//! A look at some volumes of a scan beside the regression: how well its tissue fits the maps' mask, and whether the file
//! is a time series at all.

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_volume::{Frame, Header, Observer, Placed, RawVolume, Sampling, place};
use serde::Serialize;

/// Volumes that are looked at, evenly over the scan.
const LOOKS: usize = 16;

/// Voxels of the target's box that are looked at, at most: one of so many on a finer grid.
const MOST_VOXELS: usize = 120_000;

/// A scan whose varying voxels are the mask's to this Dice was masked by it: its overlap says nothing.
const MASKED: f64 = 0.98;

/// Tissue is brighter, or varies more, than what is around it by this factor.
const CONTRAST: f64 = 1.5;

/// Dice below which a scan is doubted. By mean intensity, real scans that were registered to MNI have 0.94 and more, such
/// in scanner space 0.67 to 0.70; temporal variance is patchy and tells less.
const LOW_BY_MEAN: f64 = 0.8;
const LOW_BY_VARIANCE: f64 = 0.5;

/// Median kurtosis in time from which volumes that have no baseline are spatial maps. Resting-state scans have 2.4 to 2.8
/// over sixteen volumes, demeaned or not; maps of independent components 3.9 and more.
const SPARSE: f64 = 3.4;

/// Fewer volumes or voxels than these tell nothing about sparseness.
const LEAST_LOOKS: usize = 8;
const LEAST_VOXELS: usize = 500;

/// How a scan's tissue was told from its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tissue {
    MeanIntensity,
    TemporalVariance,
    /// Not at all: what varies is the maps' own mask.
    Masked,
    /// Not at all: nothing stands out, as in demeaned and normalised scans.
    NothingStandsOut,
}

/// How well a scan's tissue fits the mask of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// Dice coefficient inside of the scan's view: 1 where both are the same voxels.
    pub dice: Option<f64>,
    pub tissue: Tissue,
}

/// Some volumes of one scan, sampled over the box of the target grid.
#[derive(Debug)]
pub struct Survey {
    times: Vec<usize>,
    sampling: Sampling,
    /// Whether the looked-at voxels lie in the mask.
    brain: Vec<bool>,
    looks: Vec<Vec<f64>>,
}

/// Mean and standard deviation of a voxel over the looks.
struct Moments {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Survey {
    /// Plans looks at a scan that is to be read onto `target`, whose mask is `mask` (linear indices, ascending).
    ///
    /// # Errors
    /// `grid_mismatch`, as the regression itself would give it.
    pub fn plan(header: &Header, target: &Frame<'_>, mask: &[u32]) -> Result<Self, JobError> {
        let step = target.grid.len().div_ceil(MOST_VOXELS).max(1);
        let voxels: Vec<u32> = (0..target.grid.len() as u32).step_by(step).collect();
        let Placed { sampling, .. } = place(&Frame::of(header, "the scan"), target, &voxels, true)?;
        let brain = voxels.iter().map(|voxel| mask.binary_search(voxel).is_ok()).collect();
        let (all, looks) = (header.volumes, header.volumes.min(LOOKS));
        let times = (0..looks).map(|i| (2 * i + 1) * all / (2 * looks)).collect();
        Ok(Self { times, sampling, brain, looks: Vec::new() })
    }

    fn moments(&self) -> Moments {
        let n = self.looks.len().max(1) as f64;
        let mean: Vec<f64> =
            (0..self.brain.len()).map(|v| self.looks.iter().map(|look| look[v]).sum::<f64>() / n).collect();
        let variances = (0..self.brain.len())
            .map(|v| self.looks.iter().map(|look| (look[v] - mean[v]).powi(2)).sum::<f64>() / n);
        let deviation = variances.map(f64::sqrt).collect();
        Moments { mean, deviation }
    }

    /// Dice coefficient of what is `inside` and the mask, over the voxels that were seen.
    fn dice(&self, seen: &[usize], inside: impl Fn(usize) -> bool) -> f64 {
        let both = seen.iter().filter(|&&v| inside(v) && self.brain[v]).count();
        let sum = seen.iter().map(|&v| usize::from(inside(v)) + usize::from(self.brain[v])).sum::<usize>();
        2.0 * both as f64 / sum.max(1) as f64
    }

    /// The overlap of tissue and mask, with a warning when it is low.
    pub fn overlap(&self) -> (Overlap, Option<Warning>) {
        let Moments { mean, deviation } = self.moments();
        let mut seen = vec![true; self.brain.len()];
        for &v in &self.sampling.outside {
            seen[v] = false;
        }
        let seen: Vec<usize> =
            (0..seen.len()).filter(|&v| seen[v] && mean[v].is_finite() && deviation[v].is_finite()).collect();
        let by_variance = self.dice(&seen, |v| deviation[v] > 0.0);
        if by_variance >= MASKED && seen.iter().any(|&v| deviation[v] <= 0.0) {
            return (Overlap { dice: None, tissue: Tissue::Masked }, None);
        }
        let (values, tissue, low) = if has_baseline(&seen, &mean, &deviation) {
            (&mean, Tissue::MeanIntensity, LOW_BY_MEAN)
        } else {
            (&deviation, Tissue::TemporalVariance, LOW_BY_VARIANCE)
        };
        let Some(threshold) = threshold(seen.iter().map(|&v| values[v]).collect()) else {
            return (Overlap { dice: None, tissue: Tissue::NothingStandsOut }, None);
        };
        let found = self.dice(&seen, |v| values[v] >= threshold);
        let warning = (found < low).then(|| {
            let by = if tissue == Tissue::MeanIntensity { "mean intensity" } else { "temporal variance" };
            let text = format!("the scan's tissue, told by {by}, and the maps' mask overlap with a Dice of {found:.2}: registered scans have more than {low}");
            Warning::new(WarningCode::LowOverlap, text)
        });
        (Overlap { dice: Some((found * 1e4).round() / 1e4), tissue }, warning)
    }

    /// Refuses spatial maps that pass for a scan: volumes without a baseline, each sparse in other voxels.
    ///
    /// # Errors
    /// `not_four_dimensional`.
    pub fn check_series(&self) -> Result<(), JobError> {
        let Moments { mean, deviation } = self.moments();
        let voxels: Vec<usize> =
            (0..mean.len()).filter(|&v| self.brain[v] && mean[v].is_finite() && deviation[v] > 0.0).collect();
        if self.looks.len() < LEAST_LOOKS || voxels.len() < LEAST_VOXELS {
            return Ok(());
        }
        let baseline = median(voxels.iter().map(|&v| mean[v].abs() / deviation[v]).collect());
        if baseline >= 1.0 {
            return Ok(());
        }
        // A volume that stands out in all voxels, as after a jerk of the head, is no sparse map.
        let mut scores: Vec<Vec<f64>> = self
            .looks
            .iter()
            .map(|look| voxels.iter().map(|&v| (look[v] - mean[v]) / deviation[v]).collect())
            .collect();
        for look in &mut scores {
            let size = (look.iter().map(|z| z.powi(2)).sum::<f64>() / look.len() as f64).sqrt();
            for z in look {
                *z /= size.max(1e-9);
            }
        }
        let sparse = median((0..voxels.len()).map(|v| kurtosis(scores.iter().map(|look| look[v]))).collect());
        if sparse < SPARSE {
            return Ok(());
        }
        let text = format!(
            "the volumes are spatial maps and no time series: they have no baseline, and each is strong in few voxels of its own (median kurtosis {sparse:.1}; scans have 2.4 to 2.8)"
        );
        Err(JobError::new(Stage::Preprocess, ErrorCode::NotFourDimensional, text))
    }
}

impl Observer for Survey {
    /// Looks at volume `t`, if it is one of those that were planned.
    fn see(&mut self, t: usize, volume: RawVolume<'_>) {
        if self.times.get(self.looks.len()) == Some(&t) {
            let mut values = vec![0.0; self.brain.len()];
            volume.sample(&self.sampling, &mut values);
            self.looks.push(values);
        }
    }
}

/// Of values around zero.
fn kurtosis(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    let (second, fourth) = values.fold((0.0, 0.0), |(a, b), x| (a + x * x, b + x.powi(4)));
    n * fourth / (second * second)
}

/// Whether mean intensities are those of an image: nowhere much below zero, and greater than their fluctuation.
fn has_baseline(seen: &[usize], mean: &[f64], deviation: &[f64]) -> bool {
    let mut means: Vec<f64> = seen.iter().map(|&v| mean[v]).collect();
    let mut deviations: Vec<f64> = seen.iter().map(|&v| deviation[v]).collect();
    let (low, high) = (quantile(&mut means, 0.02), quantile(&mut means, 0.95));
    high > 0.0 && low >= -0.05 * high && high > 2.0 * quantile(&mut deviations, 0.95)
}

/// Otsu's threshold (1979) between what is dark and what is bright, over 128 bins of the middle 96 %; `None` when the two
/// classes hardly differ.
fn threshold(mut values: Vec<f64>) -> Option<f64> {
    const BINS: usize = 128;
    let (low, high) = (quantile(&mut values, 0.02), quantile(&mut values, 0.98));
    let width = (high - low) / BINS as f64;
    if width.is_nan() || width <= 0.0 {
        return None;
    }
    let mut bins = [0.0f64; BINS];
    for value in &values {
        bins[(((value - low) / width).max(0.0) as usize).min(BINS - 1)] += 1.0;
    }
    let centres: [f64; BINS] = std::array::from_fn(|i| low + (i as f64 + 0.5) * width);
    let (all, sum) = bins.iter().zip(centres).fold((0.0, 0.0), |(n, s), (x, centre)| (n + x, s + x * centre));
    let (mut below, mut part) = (0.0, 0.0);
    let mut best: Option<(f64, f64, f64, f64)> = None;
    for (i, count) in bins.iter().enumerate().take(BINS - 1) {
        (below, part) = (below + count, part + count * centres[i]);
        let above = all - below;
        if below > 0.0 && above > 0.0 {
            let (dark, bright) = (part / below, (sum - part) / above);
            let between = below * above * (bright - dark).powi(2);
            if best.is_none_or(|(most, ..)| between > most) {
                best = Some((between, low + (i + 1) as f64 * width, dark, bright));
            }
        }
    }
    best.filter(|(_, _, dark, bright)| *bright > CONTRAST * dark.abs()).map(|(_, border, ..)| border)
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let nth = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable_by(nth, f64::total_cmp).1
}

fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}
