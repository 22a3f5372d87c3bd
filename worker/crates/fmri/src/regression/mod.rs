//! Dual regression with FSL's conventions, streamed over the scan.
//!
//! With D the scan (T x V, in the mask) and S the group maps (K x V), both written from the published equations:
//! - stage 1: maps and volumes demeaned over voxels; time courses TC = D S' (S S')⁻¹, T x K;
//! - stage 2: time courses and voxels demeaned over time, time courses divided by their standard deviation (N - 1)
//!   when `des_norm`; B = (X'X)⁻¹ X'D, K x V;
//! - residual variance s² = RSS / dof, t = B / sqrt([(X'X)⁻¹]_kk s²), z = Φ⁻¹(F_t(t; dof)), dof = T - K for data of
//!   full rank (see `dof.rs` for others).
//!
//! Confounds are regressed out of every voxel before both stages, over the volumes that count.

mod accumulate;
mod coverage;
mod dof;
mod dvars;
mod maps;
mod nuisance;
mod rank;
mod series;
mod solve;

use std::sync::{Arc, Mutex, PoisonError};

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_volume::{Frame, GridRelation, Header, Limits, Sampling, ScanSource, VolumeStream, place};
use serde::Serialize;

pub use dof::DofRule;
pub use dvars::{Course, Dvars};
pub use maps::GroupMaps;
pub use nuisance::Nuisance;

use crate::components::{ComponentMaps, Peak};
use crate::mask::MaskRule;
use crate::survey::{Overlap, Survey};
use crate::zscore::two_sided;
use accumulate::{Pass, Sums, pass};
use coverage::LeftOut;
use nuisance::Plan;

/// How a dual regression is run.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Divide the time courses by their standard deviation before stage 2, so that a map's amplitude carries the
    /// strength of its network (FSL's `--des_norm`).
    pub des_norm: bool,
    /// Interpolate a scan whose grid differs from the maps'. Without it such a scan is refused; a scan that only
    /// stores the same voxels in another order is always accepted.
    pub resample: bool,
    /// Share of the brain mask's voxels outside of the scan, constant or not finite, from which on a scan is refused;
    /// and of a component's squared weights, from which on its z is withheld.
    pub max_left_out: f64,
    /// The same share, from which on there is a warning.
    pub warn_left_out: f64,
    /// Fewest degrees of freedom that z is given for; one is the least there can be.
    pub min_dof: usize,
    /// Whether z is computed at every voxel or only at the peaks.
    pub z_maps: bool,
    /// Whether t is kept at every voxel too.
    pub t_maps: bool,
    /// With two or more, reading runs beside the arithmetic, and the last step is shared among all of them.
    pub threads: usize,
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            des_norm: true,
            resample: false,
            max_left_out: 0.25,
            warn_left_out: 0.05,
            min_dof: 1,
            z_maps: false,
            t_maps: false,
            threads: 2,
            limits: Limits::default(),
        }
    }
}

/// Why a component has no map of its own in a scan, or why its statistics are withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The group map has no variance on the voxels that the scan has.
    EmptyMap,
    /// The group map is a combination of maps before it.
    CollinearMap,
    /// The component's time course does not vary.
    ConstantTimeCourse,
    /// The component's time course is a combination of those before it.
    CollinearTimeCourse,
    /// Too much of the group map lies where the scan has no signal: the coefficients stand, z is withheld.
    LowCoverage,
}

impl Flag {
    /// Whether the component was left out of the regression.
    pub fn is_left_out(self) -> bool {
        self != Self::LowCoverage
    }
}

/// What was done to a scan, for the result document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Volumes of the file.
    pub volumes: usize,
    /// Volumes that took part.
    pub volumes_used: usize,
    pub tr_seconds: Option<f64>,
    /// Voxels of the maps' mask.
    pub voxels_mask: usize,
    /// Voxels that took part.
    pub voxels_used: usize,
    /// Voxels that never change; their maps are zero.
    pub voxels_constant: usize,
    pub voxels_non_finite: usize,
    /// Voxels outside of the scan's field of view.
    pub voxels_outside: usize,
    /// Rank of the confounds that were regressed out.
    pub confounds_rank: usize,
    /// Rank of the demeaned data in time beside the confounds; absent where there are too few voxels to tell.
    pub rank: Option<usize>,
    /// Degrees of freedom of t.
    pub dof: usize,
    /// How they were found.
    pub dof_rule: DofRule,
    /// |z| that the strongest of as many voxels without any signal exceeds in one scan of twenty.
    pub chance_z: f64,
    pub des_norm: bool,
    /// How the scan's grid lay to the maps': `same`, `reordered` or `resampled`.
    pub grid: &'static str,
    /// How the maps' mask came about.
    pub mask: MaskRule,
    /// How well the scan's tissue fits the maps' mask.
    pub overlap: Overlap,
}

/// The outcome of a dual regression.
#[derive(Debug)]
pub struct DualRegression {
    /// Stage-1 time courses, T rows of K values; zero for components that stage 1 left out.
    pub time_courses: Vec<f64>,
    /// Stage-2 regression maps, with t and z at every voxel when that was asked for.
    pub maps: ComponentMaps,
    /// Flag of every component that was left out.
    pub flags: Vec<Option<Flag>>,
    /// Peak of |z| of every component that was not; of the coefficients where there is no z.
    pub peaks: Vec<Option<Peak>>,
    /// Correlation of every component's map with its group map.
    pub correlations: Vec<Option<f64>>,
    /// How much the image changes from volume to volume.
    pub dvars: Dvars,
    pub facts: Facts,
    pub warnings: Vec<Warning>,
}

/// Chance that the strongest voxel of a map without signal exceeds `chance_z`.
const CHANCE: f64 = 0.05;

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

/// Regresses a 4-D scan on group maps. Memory: 8 V (2 K + 3) bytes beside the maps and 16 bytes a volume for each of at
/// most 1024 pairs of voxels, whatever the number of volumes.
///
/// # Errors
/// Those of reading a volume; `not_four_dimensional` for a 3-D file; `too_few_volumes` when T <= K + 1;
/// `grid_mismatch`; `mask_empty` when too few voxels vary; `low_coverage` above the allowed share of a brain mask;
/// `no_usable_components` when every component had to be left out.
pub fn dual_regression(
    source: &dyn ScanSource,
    maps: &GroupMaps,
    options: &Options,
) -> Result<DualRegression, JobError> {
    dual_regression_beside(source, maps, &Nuisance::default(), options)
}

/// The same with volumes left out and confounds regressed out, in the same pass. Memory grows by 8 V bytes for each
/// confound.
///
/// # Errors
/// Those of [`dual_regression`], with T the volumes that count less the confounds' rank; `confounds_invalid`.
pub fn dual_regression_beside(
    source: &dyn ScanSource,
    maps: &GroupMaps,
    nuisance: &Nuisance,
    options: &Options,
) -> Result<DualRegression, JobError> {
    let mut stream = VolumeStream::open(source, &options.limits)?;
    let header = stream.header().clone();
    let mut warnings = Vec::new();
    let apart = Plan::new(nuisance, header.volumes)?;
    check_length(&header, maps.count(), &apart)?;
    let sampling = plan(&header, maps, options, &mut warnings)?;
    let survey = Survey::plan(&header, &frame(maps), maps.mask())?;
    let survey = Arc::new(Mutex::new(survey));
    stream.show_to(survey.clone());
    let (sums, excluded, non_finite) = read(source, stream, maps, &sampling, &apart, options)?;
    let survey = survey.lock().unwrap_or_else(PoisonError::into_inner);
    survey.check_series()?;
    let (overlap, low) = survey.overlap();
    warnings.extend(low);
    if non_finite > 0 {
        warnings.push(Warning::new(
            WarningCode::NonFiniteVoxels,
            format!("{non_finite} voxels held NaN or infinity and were left out"),
        ));
    }
    if sums.trailing > 0 {
        warnings.push(Warning::new(
            WarningCode::TrailingBytes,
            format!("{} bytes after the last volume were ignored", sums.trailing),
        ));
    }

    let outside = sampling.outside.len();
    let left_out = LeftOut { outside, constant: 0, non_finite, all: excluded.len() };
    let rounding = sums.series.rounding(&header, &sampling, &sums.pivot);
    let varying = sums.squares.iter().filter(|&&square| square > 0.0).count();
    let dvars = dvars::dvars(&sums.steps, varying, &sums.series, &sums.pivot, &apart, header.volumes);
    let solution = solve::solve(sums, maps, &excluded, left_out, rounding, options)?;
    let used = excluded.len() - solution.removed;
    let facts = Facts {
        volumes: header.volumes,
        volumes_used: apart.volumes(header.volumes),
        tr_seconds: header.tr_seconds,
        voxels_mask: excluded.len(),
        voxels_used: used,
        voxels_constant: solution.removed - outside - non_finite,
        voxels_non_finite: non_finite,
        voxels_outside: outside,
        confounds_rank: apart.rank(),
        rank: solution.degrees.rank,
        dof: solution.degrees.dof,
        dof_rule: solution.degrees.rule,
        chance_z: two_sided(CHANCE / used as f64),
        des_norm: options.des_norm,
        grid: match sampling.relation {
            GridRelation::Same => "same",
            GridRelation::Reordered => "reordered",
            GridRelation::Different => "resampled",
        },
        mask: maps.mask_rule(),
        overlap,
    };
    warnings.extend(solution.warnings);
    warn(&facts, &solution.flags, options, &mut warnings);
    Ok(DualRegression {
        time_courses: solution.time_courses,
        maps: ComponentMaps {
            grid: *maps.grid(),
            orientation: maps.orientation(),
            mask: Arc::clone(maps.mask()),
            betas: solution.betas,
            t: solution.t,
            z: solution.z,
        },
        flags: solution.flags,
        peaks: solution.peaks,
        correlations: solution.correlations,
        dvars,
        facts,
        warnings,
    })
}

/// Passes over the scan, and once more without the voxels that turned out not to be finite: the sums, which voxels were
/// left out of them, and how many of these were not finite.
fn read(
    source: &dyn ScanSource,
    stream: VolumeStream<'_>,
    maps: &GroupMaps,
    sampling: &Sampling,
    apart: &Plan,
    options: &Options,
) -> Result<(Sums, Vec<bool>, usize), JobError> {
    let header = stream.header().clone();
    let mut excluded = vec![false; maps.mask().len()];
    for &v in &sampling.outside {
        excluded[v] = true;
    }
    let list = match pass(stream, maps, sampling, &excluded, apart, options.threads)? {
        Pass::Done(sums) => return Ok((*sums, excluded, 0)),
        Pass::NonFinite(list) => list,
    };
    let left_out =
        LeftOut { outside: sampling.outside.len(), constant: 0, non_finite: list.len(), all: excluded.len() };
    left_out.judge(maps.has_brain_mask(), options.warn_left_out, options.max_left_out)?;
    for &v in &list {
        excluded[v] = true;
    }
    let again = VolumeStream::open(source, &options.limits)?;
    if *again.header() != header {
        return Err(changed());
    }
    match pass(again, maps, sampling, &excluded, apart, options.threads)? {
        Pass::Done(sums) => Ok((*sums, excluded, list.len())),
        Pass::NonFinite(_) => Err(changed()),
    }
}

fn changed() -> JobError {
    refuse(ErrorCode::BlobChanged, "the scan changed while it was read a second time")
}

/// What the outcome has to be read with.
fn warn(facts: &Facts, flags: &[Option<Flag>], options: &Options, warnings: &mut Vec<Warning>) {
    let [left_out, not_covered] = [true, false]
        .map(|left_out| flags.iter().flatten().filter(|flag| flag.is_left_out() == left_out).count());
    if left_out > 0 {
        let text = format!("{left_out} components could not be solved for");
        warnings.push(Warning::new(WarningCode::ComponentsLeftOut, text));
    }
    if not_covered > 0 {
        let text = format!(
            "{not_covered} components have {:.0} % or more of their squared weights where the scan has no signal: their z and \
             label are withheld",
            100.0 * options.max_left_out
        );
        warnings.push(Warning::new(WarningCode::ComponentsNotCovered, text));
    }
    let Facts { volumes_used, confounds_rank, dof, .. } = *facts;
    let whole = (volumes_used - 1).saturating_sub(confounds_rank);
    if let (Some(rank), true) = (facts.rank, facts.dof_rule != DofRule::FullRank) {
        let text = format!(
            "the volumes hold {rank} independent directions in time, not {whole} (they were filtered, interpolated or \
             repeated): t has {dof} degrees of freedom"
        );
        warnings.push(Warning::new(WarningCode::ReducedRank, text));
    }
    if dof < options.min_dof.max(1) {
        let text = format!("{dof} degrees of freedom are too few: there is no z");
        warnings.push(Warning::new(WarningCode::FewDegreesOfFreedom, text));
    }
}

fn check_length(header: &Header, components: usize, apart: &Plan) -> Result<(), JobError> {
    if !header.four_dimensional {
        return Err(refuse(
            ErrorCode::NotFourDimensional,
            "the file holds one volume without a time axis; a resting-state scan has four dimensions",
        ));
    }
    let (used, confounds) = (apart.volumes(header.volumes), apart.rank());
    if used <= components + confounds + 1 {
        let left = if used == header.volumes { "" } else { " that are left" };
        let beside = if confounds == 0 { String::new() } else { format!(" beside {confounds} confounds") };
        return Err(refuse(
            ErrorCode::TooFewVolumes,
            format!(
                "{used} volumes{left} are too few for {components} components{beside}: at least {} are needed",
                components + confounds + 2
            ),
        ));
    }
    Ok(())
}

fn frame(maps: &GroupMaps) -> Frame<'_> {
    Frame { grid: maps.grid(), orientation: maps.orientation(), called: "the group maps" }
}

/// How the scan is sampled at the maps' voxels, or why it cannot be.
fn plan(
    header: &Header,
    maps: &GroupMaps,
    options: &Options,
    warnings: &mut Vec<Warning>,
) -> Result<Sampling, JobError> {
    let placed = place(&Frame::of(header, "the scan"), &frame(maps), maps.mask(), options.resample)?;
    warnings.extend(placed.warnings);
    let sampling = placed.sampling;
    let (outside, all) = (sampling.outside.len(), maps.mask().len());
    if outside == all {
        return Err(refuse(
            ErrorCode::GridMismatch,
            format!("all {all} voxels of the maps lie outside of the scan's {}", header.grid.words()),
        ));
    }
    let left_out = LeftOut { outside, constant: 0, non_finite: 0, all };
    left_out.judge(maps.has_brain_mask(), options.warn_left_out, options.max_left_out)?;
    Ok(sampling)
}
