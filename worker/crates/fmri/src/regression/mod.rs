//! Dual regression with FSL's conventions, streamed over the scan.
//!
//! With D the scan (T x V, in the mask) and S the group maps (K x V), both written from the published equations:
//! - stage 1: maps and volumes demeaned over voxels; time courses TC = D S' (S S')⁻¹, T x K;
//! - stage 2: time courses and voxels demeaned over time, time courses divided by their standard deviation (N - 1)
//!   when `des_norm`; B = (X'X)⁻¹ X'D, K x V;
//! - residual variance s² = RSS / (T - K), t = B / sqrt([(X'X)⁻¹]_kk s²), z = Φ⁻¹(F_t(t; T - K)).

mod accumulate;
mod maps;
mod rank;
mod solve;

use std::sync::{Arc, Mutex, PoisonError};

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use serde::Serialize;

pub use maps::GroupMaps;

use crate::components::{ComponentMaps, Peak};
use crate::grid::{GridRelation, Sampling};
use crate::place::{Frame, place};
use crate::survey::{Overlap, Survey};
use crate::volume::{Header, Limits, MaskRule, Source, VolumeStream};
use accumulate::{Pass, pass};

/// How a dual regression is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Divide the time courses by their standard deviation before stage 2, so that a map's amplitude carries the
    /// strength of its network (FSL's `--des_norm`).
    pub des_norm: bool,
    /// Interpolate a scan whose grid differs from the maps'. Without it such a scan is refused; a scan that only
    /// stores the same voxels in another order is always accepted.
    pub resample: bool,
    /// Largest share of the maps' mask that may lie outside of the scan's field of view.
    pub max_outside: f64,
    /// Largest share of the mask's voxels that may hold NaN or infinity.
    pub max_non_finite: f64,
    /// Whether z is computed at every voxel or only at the peaks.
    pub z_maps: bool,
    /// With two or more, reading runs beside the arithmetic, and the last step is shared among all of them.
    pub threads: usize,
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            des_norm: true,
            resample: false,
            max_outside: 0.25,
            max_non_finite: 0.05,
            z_maps: false,
            threads: 2,
            limits: Limits::default(),
        }
    }
}

/// Why a component has no map of its own in a scan.
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
}

/// What was done to a scan, for the result document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    pub volumes: usize,
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
    /// Degrees of freedom of t: volumes less components.
    pub dof: usize,
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
    /// Stage-2 regression maps, with z at every voxel when that was asked for.
    pub maps: ComponentMaps,
    /// Flag of every component that was left out.
    pub flags: Vec<Option<Flag>>,
    /// Peak of |z| of every component that was not.
    pub peaks: Vec<Option<Peak>>,
    pub facts: Facts,
    pub warnings: Vec<Warning>,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

/// Regresses a 4-D scan on group maps. Memory: 16 V (K + 1) bytes beside the maps, whatever the number of volumes.
///
/// # Errors
/// Those of reading a volume; `not_four_dimensional` for a 3-D file; `too_few_volumes` when T <= K + 1;
/// `grid_mismatch`; `mask_empty` when too few voxels vary; `non_finite_voxels` above the allowed share;
/// `no_usable_components` when every component had to be left out.
pub fn dual_regression(
    source: &dyn Source,
    maps: &GroupMaps,
    options: &Options,
) -> Result<DualRegression, JobError> {
    let mut stream = VolumeStream::open(source, &options.limits)?;
    let header = stream.header().clone();
    let mut warnings = Vec::new();
    check_length(&header, maps.count())?;
    let sampling = plan(&header, maps, options, &mut warnings)?;
    let survey = Survey::plan(&header, &frame(maps), maps.mask())?;
    let survey = Arc::new(Mutex::new(survey));
    stream.show_to(&survey);

    let mut excluded = vec![false; maps.mask().len()];
    for &v in &sampling.outside {
        excluded[v] = true;
    }
    let (mut non_finite, mut outcome) = (0, pass(stream, maps, &sampling, &excluded, options.threads)?);
    if let Pass::NonFinite(list) = outcome {
        non_finite = list.len();
        if non_finite as f64 > options.max_non_finite * excluded.len() as f64 {
            return Err(refuse(
                ErrorCode::NonFiniteVoxels,
                format!("{non_finite} of {} voxels in the mask hold NaN or infinity", excluded.len()),
            ));
        }
        for v in list {
            excluded[v] = true;
        }
        let again = VolumeStream::open(source, &options.limits)?;
        if *again.header() != header {
            return Err(refuse(ErrorCode::BlobChanged, "the scan changed while it was read a second time"));
        }
        outcome = pass(again, maps, &sampling, &excluded, options.threads)?;
    }
    let Pass::Done(sums) = outcome else {
        return Err(refuse(ErrorCode::BlobChanged, "the scan changed while it was read a second time"));
    };
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

    let solution = solve::solve(*sums, maps, &excluded, options)?;
    let used = excluded.len() - solution.removed;
    let facts = Facts {
        volumes: header.volumes,
        tr_seconds: header.tr_seconds,
        voxels_mask: excluded.len(),
        voxels_used: used,
        voxels_constant: solution.removed - sampling.outside.len() - non_finite,
        voxels_non_finite: non_finite,
        voxels_outside: sampling.outside.len(),
        dof: solution.dof,
        des_norm: options.des_norm,
        grid: match sampling.relation {
            GridRelation::Same => "same",
            GridRelation::Reordered => "reordered",
            GridRelation::Different => "resampled",
        },
        mask: maps.mask_rule(),
        overlap,
    };
    let left_out = solution.flags.iter().flatten().count();
    if left_out > 0 {
        warnings.push(Warning::new(
            WarningCode::ComponentsLeftOut,
            format!("{left_out} components could not be solved for"),
        ));
    }
    Ok(DualRegression {
        time_courses: solution.time_courses,
        maps: ComponentMaps {
            grid: *maps.grid(),
            orientation: maps.orientation(),
            mask: Arc::clone(maps.mask()),
            betas: solution.betas,
            z: solution.z,
        },
        flags: solution.flags,
        peaks: solution.peaks,
        facts,
        warnings,
    })
}

fn check_length(header: &Header, components: usize) -> Result<(), JobError> {
    if !header.four_dimensional {
        return Err(refuse(
            ErrorCode::NotFourDimensional,
            "the file holds one volume without a time axis; a resting-state scan has four dimensions",
        ));
    }
    if header.volumes <= components + 1 {
        return Err(refuse(
            ErrorCode::TooFewVolumes,
            format!(
                "{} volumes are too few for {components} components: at least {} are needed",
                header.volumes,
                components + 2
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
    if outside as f64 > options.max_outside * all as f64 {
        return Err(refuse(
            ErrorCode::GridMismatch,
            format!(
                "{outside} of the {all} voxels in the maps' mask lie outside of the scan's {}",
                header.grid.words()
            ),
        ));
    }
    if outside > 0 {
        warnings.push(Warning::new(
            WarningCode::PartialCoverage,
            format!("{outside} of {all} voxels lie outside of the scan"),
        ));
    }
    Ok(sampling)
}
