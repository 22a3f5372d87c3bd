//! Where the slices of a volume lie, and whether they are one behind the other at even steps.
//!
//! A slice lies at d = p . n (p: ImagePositionPatient, n: the normal, the cross product of the cosines along a row and down
//! a column). SliceLocation, SliceThickness and InstanceNumber say nothing of it.

use crate::error::{CtCode, CtError, CtWarning, CtWarningCode};
use crate::limits::CtLimits;
use crate::slice::Slice;

/// Slices closer than this are at one place, in millimetres.
pub const ONE_PLACE_MM: f64 = 0.01;
/// Steps differ where they do by more than this share, or by more than so many millimetres.
const EVEN_SHARE: f64 = 0.01;
const EVEN_MM: f64 = 0.1;
/// Slices this near to their line lie on it, however small the pixels.
const LEAST_ASIDE_MM: f64 = 0.1;
/// How near a gap is to whole steps, as a share of one, to be taken for missing slices.
const WHOLE_STEPS: f64 = 0.05;
/// Steps up to this many medians are read.
const MOST_STEPS: f64 = 2.0;

/// Where slices lie, in order of their places.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Along the normal, rising, in millimetres; one for each slice.
    pub places: Vec<f64>,
    /// From one voxel to the next along k, in DICOM's system.
    pub step: [f64; 3],
    /// What the voxels along k are made of.
    pub grid: Grid,
    pub warnings: Vec<CtWarning>,
}

/// Voxels along k.
#[derive(Clone, Debug, PartialEq)]
pub enum Grid {
    /// The slices as they are.
    AsAcquired,
    /// Of two slices each, the lower one's index and the upper one's share.
    Even(Vec<(usize, f64)>),
}

impl Stack {
    pub fn len(&self) -> usize {
        match &self.grid {
            Grid::AsAcquired => self.places.len(),
            Grid::Even(made) => made.len(),
        }
    }
}

/// The normal of the slices' common orientation, of length 1.
pub fn normal(slice: &Slice) -> [f64; 3] {
    let [a, b, c, d, e, f] = slice.orientation.unwrap_or_default();
    let cross = [b * f - c * e, c * d - a * f, a * e - b * d];
    let length = dot(cross, cross).sqrt();
    cross.map(|x| x / length)
}

pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn less(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// The place of a slice along the normal, in millimetres.
pub fn place(slice: &Slice, normal: [f64; 3]) -> f64 {
    dot(slice.position.unwrap_or_default(), normal)
}

/// Sorts slices by their places.
pub fn sort(slices: &mut [Slice]) {
    if let Some(first) = slices.first() {
        let normal = normal(first);
        slices.sort_by(|a, b| place(a, normal).total_cmp(&place(b, normal)));
    }
}

/// Judges sorted slices, of which no two are at one place.
///
/// # Errors
/// `too_few_slices`, `part_of_series`, `missing_slices`, `uneven_slices`, `shifted_slices`.
pub fn stack(slices: &[Slice], limits: &CtLimits) -> Result<Stack, CtError> {
    let count = slices.len();
    let (Some(first), Some(last)) = (slices.first(), slices.last()) else {
        return Err(CtError::new(CtCode::TooFewSlices, "there are no slices"));
    };
    if count == 1 && limits.min_slices > 1 {
        return Err(CtError::new(CtCode::PartOfSeries, "one slice is no volume: send the whole series"));
    }
    if count < limits.min_slices.max(2) {
        let text = format!("the series has {count} slices; {} are the least", limits.min_slices.max(2));
        return Err(CtError::new(CtCode::TooFewSlices, text));
    }
    let normal = normal(first);
    let places: Vec<f64> = slices.iter().map(|slice| place(slice, normal)).collect();
    let steps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let median = median(&steps);
    let mut warnings = Vec::new();
    let extent = places[count - 1] - places[0];
    let whole = less(last.position.unwrap_or_default(), first.position.unwrap_or_default());
    judge_line(slices, &places, whole)?;

    let made_up = judge_gaps(slices, &steps, median, limits, &mut warnings)?;
    let even = extent / (count - 1) as f64;
    let tolerance = EVEN_MM.min(EVEN_SHARE * even).max(ONE_PLACE_MM);
    let is_even =
        |(n, &place): (usize, &f64)| (place - places[0] - n as f64 * even).abs() <= EVEN_MM.max(tolerance);
    let uneven =
        steps.iter().any(|step| (step - even).abs() > tolerance) || !places.iter().enumerate().all(is_even);
    let (grid, voxels) = if uneven {
        let made = even_grid(&places, median);
        if made_up == 0 {
            warnings
                .push(CtWarning::new(CtWarningCode::UnevenSlices, uneven_words(&steps, made.len(), extent)));
        }
        let voxels = made.len();
        (Grid::Even(made), voxels)
    } else {
        (Grid::AsAcquired, count)
    };
    let step = whole.map(|x| x / (voxels - 1) as f64);
    if made_up == 0 {
        warnings.extend(number_holes(slices));
    }
    Ok(Stack { places, step, grid, warnings })
}

fn median(steps: &[f64]) -> f64 {
    let mut sorted = steps.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Slices lie on one line, up to half a pixel.
fn judge_line(slices: &[Slice], places: &[f64], whole: [f64; 3]) -> Result<(), CtError> {
    let origin = slices[0].position.unwrap_or_default();
    let extent = places[places.len() - 1] - places[0];
    let pixel = slices[0].spacing.unwrap_or_default().into_iter().fold(f64::INFINITY, f64::min);
    for (slice, place) in slices.iter().zip(places) {
        let share = (place - places[0]) / extent;
        let off = less(less(slice.position.unwrap_or_default(), origin), whole.map(|x| x * share));
        let off = dot(off, off).sqrt();
        if off > (pixel / 2.0).max(LEAST_ASIDE_MM) {
            let text = format!("a slice lies {off:.1} mm beside the line that the others lie on");
            return Err(CtError::new(CtCode::ShiftedSlices, text));
        }
    }
    Ok(())
}

/// Gaps of whole steps between slices that are even otherwise are missing slices; how many are to be made up.
fn judge_gaps(
    slices: &[Slice],
    steps: &[f64],
    median: f64,
    limits: &CtLimits,
    warnings: &mut Vec<CtWarning>,
) -> Result<usize, CtError> {
    let wide = |n: usize| steps.get(n).is_some_and(|step| *step > 1.5 * median);
    let mut missing = 0;
    for (n, &step) in steps.iter().enumerate().filter(|&(n, _)| wide(n)) {
        let count = (step / median).round();
        let is_whole = (step - count * median).abs() <= WHOLE_STEPS * median;
        // A protocol with wider steps has several of them together, and counts on.
        let is_alone = !(wide(n + 1) || n > 0 && wide(n - 1));
        if !is_whole || !is_alone && !is_hole(&slices[n], &slices[n + 1]) {
            continue;
        }
        missing += count as usize - 1;
        if !limits.interpolate_missing || count > MOST_STEPS {
            let place = format!("a gap of {step:.2} mm between slices that are {median:.2} mm apart");
            let text = format!(
                "the series has {place}: {} missing there; send it whole",
                slices_of(count as usize - 1)
            );
            return Err(CtError::new(CtCode::MissingSlices, text));
        }
    }
    if missing > 0 {
        let text = format!("{} missing and made from the neighbours", slices_of(missing));
        warnings.push(CtWarning::new(CtWarningCode::SlicesInterpolated, text));
    }
    let widest = steps.iter().copied().fold(0.0, f64::max);
    if widest > (MOST_STEPS + WHOLE_STEPS) * median {
        let text = format!(
            "slices are {widest:.2} mm apart where most are {median:.2}; up to twice as much is read"
        );
        return Err(CtError::new(CtCode::UnevenSlices, text));
    }
    Ok(missing)
}

fn slices_of(count: usize) -> String {
    if count == 1 { "1 slice is".to_owned() } else { format!("{count} slices are") }
}

/// Whether numbers between those of two neighbours are missing.
fn is_hole(a: &Slice, b: &Slice) -> bool {
    match (a.of.instance_number, b.of.instance_number) {
        (Some(a), Some(b)) => a.abs_diff(b) > 1,
        _ => false,
    }
}

/// The fewest even steps that are not longer than the median one, each voxel between two slices.
fn even_grid(places: &[f64], median: f64) -> Vec<(usize, f64)> {
    let (start, extent) = (places[0], places[places.len() - 1] - places[0]);
    // Rounding of positions is not to cost a slice.
    let steps = ((extent / median - 1e-3).ceil() as usize).max(places.len().min(2) - 1);
    let mut below = 0;
    (0..=steps)
        .map(|n| {
            let at = start + extent * n as f64 / steps as f64;
            while below + 2 < places.len() && places[below + 1] <= at {
                below += 1;
            }
            let share = (at - places[below]) / (places[below + 1] - places[below]);
            (below, share.clamp(0.0, 1.0))
        })
        .collect()
}

fn uneven_words(steps: &[f64], made: usize, extent: f64) -> String {
    let (least, most) =
        steps.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &step| (least.min(step), most.max(step)));
    let even = extent / (made - 1) as f64;
    format!(
        "steps between slices are {least:.2} to {most:.2} mm; {made} slices at {even:.3} mm were made of them, linearly"
    )
}

/// Numbers that no slice has, between those that slices have.
fn number_holes(slices: &[Slice]) -> Option<CtWarning> {
    let mut numbers: Vec<i64> = slices.iter().map(|slice| slice.of.instance_number).collect::<Option<_>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    let holes = last.checked_sub(first)?.checked_add(1)?.checked_sub(numbers.len() as i64)?;
    // Numbers of several frames of one file, or of several slices, are no count.
    if numbers.len() < slices.len() || holes == 0 {
        return None;
    }
    let text =
        format!("{holes} of the numbers {first} to {last} are no slice's; slices at an end may be missing");
    Some(CtWarning::new(CtWarningCode::InstanceNumberHoles, text))
}
