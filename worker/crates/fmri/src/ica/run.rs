//! One run of a cohort: read at the mask's voxels and normalised.

use faer::Mat;
use nightread_domain::{ErrorCode, JobError, Warning};
use nightread_volume::{Frame, Header, Placed, ScanSource, VolumeStream, place};

use super::migp::{Tiles, widths};
use super::{Options, refuse};

/// A run, normalised, and what it leaves of the mask.
pub(super) struct Run {
    /// T x voxels, in tiles.
    pub tiles: Tiles,
    /// Voxels of the mask that do not vary in this run or lie outside of its view.
    pub lost: usize,
    pub warnings: Vec<Warning>,
}

/// A run's header, of a file that can be a run at all.
pub(super) fn header_of(source: &dyn ScanSource, options: &Options) -> Result<Header, JobError> {
    let header = VolumeStream::open(source, &options.limits)?.header().clone();
    header.intent.check_time_series()?;
    if !header.four_dimensional || header.volumes < 2 {
        return Err(refuse(
            ErrorCode::NotFourDimensional,
            "a run needs a time axis with at least two volumes",
        ));
    }
    Ok(header)
}

/// Reads a run on the grid of `first`. Voxels without variance become zero and are marked.
pub(super) fn read_run(
    source: &dyn ScanSource,
    first: &Frame<'_>,
    mask: &[u32],
    options: &Options,
    varies: &mut [bool],
) -> Result<Run, JobError> {
    let mut stream = VolumeStream::open(source, &options.limits)?;
    let header = stream.header().clone();
    let Placed { sampling, mut warnings } =
        place(&Frame::of(&header, "the scan"), first, mask, options.resample)?;
    warnings.extend(header.warnings.iter().cloned());
    let mut outside = vec![false; mask.len()];
    for &v in &sampling.outside {
        outside[v] = true;
    }
    let mut tiles: Tiles = widths(mask.len()).map(|width| Mat::zeros(header.volumes, width)).collect();
    let mut volume = vec![0.0; mask.len()];
    // Against the first volume, so that single precision holds the fluctuations and not the baseline.
    let mut pivot = Vec::new();
    let mut t = 0;
    while let Some(raw) = stream.next_volume()? {
        raw.sample(&sampling, &mut volume);
        if t == 0 {
            pivot.clone_from(&volume);
        }
        let mut from = 0;
        for tile in &mut tiles {
            for (cell, v) in tile.row_mut(t).iter_mut().zip(from..) {
                *cell = (volume[v] - pivot[v]) as f32;
            }
            from += tile.ncols();
        }
        t += 1;
    }
    stream.finish()?;
    let (mut v, mut lost) = (0, 0);
    for tile in &mut tiles {
        for column in 0..tile.ncols() {
            let good = standardise(tile.col_as_slice_mut(column)) && !outside[v];
            varies[v] &= good;
            lost += usize::from(!good);
            v += 1;
        }
    }
    Ok(Run { tiles, lost, warnings })
}

/// Takes mean and line out of a time series and divides it by its standard deviation. A series that is not finite,
/// or varies less about its line than single precision can tell, becomes zero: `false`.
fn standardise(series: &mut [f32]) -> bool {
    let n = series.len() as f64;
    let mean = series.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let slope = series.iter().enumerate().map(|(t, &x)| centred(t, n) * f64::from(x)).sum::<f64>() * 12.0
        / (n * (n * n - 1.0));
    let square: f64 =
        series.iter().enumerate().map(|(t, &x)| (f64::from(x) - mean - slope * centred(t, n)).powi(2)).sum();
    let deviation = (square / (n - 1.0)).sqrt();
    let greatest = series.iter().fold(0f32, |best, x| best.max(x.abs()));
    let good = deviation.is_finite() && deviation > 1e-6 * f64::from(greatest);
    for (t, x) in series.iter_mut().enumerate() {
        let rest = f64::from(*x) - mean - slope * centred(t, n);
        *x = if good { (rest / deviation) as f32 } else { 0.0 };
    }
    good
}

/// Volume `t` of `n` in time, with the middle at zero.
fn centred(t: usize, n: f64) -> f64 {
    t as f64 - (n - 1.0) / 2.0
}
