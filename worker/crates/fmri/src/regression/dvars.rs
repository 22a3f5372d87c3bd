//! DVARS of the scan itself: how much the image changes from one volume to the next (Power et al. 2012), as it is and standardised
//! (Nichols 2013), as nipype's `ComputeDVARS` has them.
//!
//! With d_t the root mean square over the mask's voxels of the change from volume t - 1:
//! - DVARS is d_t in thousandths of the median intensity;
//! - standardised DVARS is d_t / mean over voxels of sqrt(2 (1 - r)) s: what independent changes of the voxels would give, s being the
//!   robust standard deviation of a voxel (interquartile range / 1.349) and r its autocorrelation at lag one.
//!
//! d_t is over all voxels. Median, s and r need whole series, and are taken over the sample of these that the pass keeps (`series.rs`):
//! the same figures where it has all voxels, within some percent where it has 4096 of many.

use super::nuisance::Plan;
use super::series::Series;

/// The interquartile range of a normal distribution of standard deviation one.
const NORMAL_RANGE: f64 = 1.349;
/// What the median intensity is scaled to.
const INTENSITY: f64 = 1000.0;

/// One value for each volume of a scan; `None` where there is none, as for the first.
pub type Course = Vec<Option<f64>>;

/// How much the image changes from volume to volume: in thousandths of the median intensity, and standardised. `None` where there is
/// no scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dvars {
    pub raw: Option<Course>,
    pub standardised: Option<Course>,
}

/// Of every volume of the file. A volume has no value where it or the one before it was left out; none has where the sample cannot tell
/// the scale, and no raw one where the median is no greater than the changes.
///
/// `steps` are sums over the voxels of squared changes, one for each volume that counts; `varying` is the number of voxels that change.
pub(super) fn dvars(
    steps: &[f64],
    varying: usize,
    series: &Series,
    pivot: &[f64],
    plan: &Plan,
    volumes: usize,
) -> Dvars {
    let expected = series.mean_over_voxels(expected_change);
    if !(varying > 0 && expected > 0.0) {
        return Dvars::default();
    }
    let changes: Vec<f64> = steps.iter().map(|step| (step / varying as f64).sqrt()).collect();
    // A scan without its mean has a median, but no intensity.
    let intensity = Some(series.median(pivot)).filter(|median| *median > expected);
    Dvars {
        raw: intensity.map(|median| course(&changes, INTENSITY / median, plan, volumes)),
        standardised: Some(course(&changes, 1.0 / expected, plan, volumes)),
    }
}

/// The scaled changes of the volumes that count, at their places in the file.
fn course(changes: &[f64], scale: f64, plan: &Plan, volumes: usize) -> Course {
    let mut counted = changes.iter();
    (0..volumes)
        .map(|volume| {
            let change = if plan.leaves_out(volume) { None } else { counted.next() }?;
            let before = volume.checked_sub(1)?;
            (!plan.leaves_out(before)).then_some(scale * change)
        })
        .collect()
}

/// The standard deviation of a voxel's changes, were it normal with an autocorrelation of order one.
fn expected_change(series: &mut [f64]) -> f64 {
    let mean = series.iter().sum::<f64>() / series.len().max(1) as f64;
    for x in series.iter_mut() {
        *x -= mean;
    }
    let power: f64 = series.iter().map(|x| x * x).sum();
    let lagged: f64 = series.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let correlation = if power > 0.0 { lagged / power } else { 0.0 };
    series.sort_unstable_by(f64::total_cmp);
    // NumPy's percentiles by the method `lower`, as nipype takes them.
    let place = |share: f64| (share * series.len().saturating_sub(1) as f64).floor() as usize;
    let [low, high] = [0.25, 0.75].map(|share| series.get(place(share)).copied().unwrap_or_default());
    (2.0 * (1.0 - correlation)).max(0.0).sqrt() * (high - low) / NORMAL_RANGE
}
