//! One policy of place for scans, masks and maps: where a file lies to the grid that it is
//! needed on, and what is said when its header leaves that open.

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};

use crate::grid::{Grid, GridRelation};
use crate::nifti::{Header, Orientation};
use crate::sampling::Sampling;

/// A grid, how its header places it, and what it is called in messages ("the scan").
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub grid: &'a Grid,
    pub orientation: Orientation,
    pub called: &'a str,
}

impl<'a> Frame<'a> {
    pub fn of(header: &'a Header, called: &'a str) -> Self {
        Self { grid: &header.grid, orientation: header.orientation, called }
    }

    fn is_placed(&self) -> bool {
        self.orientation != Orientation::Unknown
    }
}

/// A sampling plan with the doubts about it.
#[derive(Clone, Debug)]
pub struct Placed {
    pub sampling: Sampling,
    pub warnings: Vec<Warning>,
}

/// Voxel edges that differ by less than this share are equal.
const SAME_SIZE: f64 = 0.01;

/// How `source` is sampled at the voxels `wanted` of `target`.
///
/// Where either has neither qform nor sform code, nothing says where its voxels lie or which side is left: voxels are then
/// taken one for one, with a warning, when size and voxel sizes are equal; otherwise the file is refused, with or without
/// `resample`. Where both have a place, the same voxel centres are always accepted, in whatever order they are stored, and
/// others only with `resample`; one that its header puts in another space than a template's is then resampled with a warning.
///
/// # Errors
/// `grid_mismatch`, in words that name what differs.
pub fn place(
    source: &Frame<'_>,
    target: &Frame<'_>,
    wanted: &[u32],
    resample: bool,
) -> Result<Placed, JobError> {
    if !(source.is_placed() && target.is_placed()) {
        return one_for_one(source, target, wanted);
    }
    let sampling = Sampling::plan(source.grid, target.grid, wanted)?;
    let mut warnings = Vec::new();
    if sampling.relation == GridRelation::Different {
        if !resample {
            let message = format!("{}, and resampling is off", difference(source, target));
            return Err(refuse(message));
        }
        let code = source.orientation.code();
        if (1..4).contains(&code) {
            let text = format!(
                "the header puts {} in {} space (code {code}), not in a template's; it was resampled as it lies, and unless it was registered its voxels are not those of {}",
                source.called,
                source.orientation.space(),
                target.called
            );
            warnings.push(Warning::new(WarningCode::NotTemplateSpace, text));
        }
    }
    Ok(Placed { sampling, warnings })
}

fn refuse(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::GridMismatch, message)
}

fn one_for_one(source: &Frame<'_>, target: &Frame<'_>, wanted: &[u32]) -> Result<Placed, JobError> {
    let without = match (source.is_placed(), target.is_placed()) {
        (false, true) => format!("{} has", source.called),
        (true, false) => format!("{} has", target.called),
        _ => format!("{} and {} have", source.called, target.called),
    };
    let nowhere = format!("{without} neither qform nor sform code, so that no place in space is known");
    if !same_shape(source.grid, target.grid) {
        return Err(refuse(format!(
            "{nowhere}, and {} of {} differ from {} of {}",
            source.grid.words(),
            source.called,
            target.grid.words(),
            target.called
        )));
    }
    let sides = [target, source].into_iter().find(|frame| frame.is_placed()).map_or_else(
        || "which side is left is not known".to_owned(),
        |placed| {
            let axes = placed.grid.affine.axis_codes();
            let (axis, way) = axes
                .chars()
                .enumerate()
                .find(|(_, code)| matches!(code, 'L' | 'R'))
                .unwrap_or((0, 'R'));
            let (from, to) = if way == 'R' { ("left", "right") } else { ("right", "left") };
            let nth = ["first", "second", "third"][axis];
            format!(
                "its {nth} axis was taken to run from {from} to {to}; if it does not, left and right are exchanged"
            )
        },
    );
    let text = format!("{nowhere}; {} was laid on {} voxel for voxel: {sides}", source.called, target.called);
    let sampling = Sampling::plan(target.grid, target.grid, wanted)?;
    Ok(Placed { sampling, warnings: vec![Warning::new(WarningCode::NoOrientation, text)] })
}

/// Equal numbers of voxels, of equal edges.
fn same_shape(a: &Grid, b: &Grid) -> bool {
    let sizes = a.affine.voxel_mm().into_iter().zip(b.affine.voxel_mm());
    a.dims == b.dims && sizes.into_iter().all(|(a, b)| (a - b).abs() <= SAME_SIZE * b)
}

fn point([x, y, z]: [f64; 3]) -> String {
    format!("({x:.1}, {y:.1}, {z:.1}) mm")
}

/// What differs between two grids: number and size of voxels, direction of the axes, or only the place.
fn difference(source: &Frame<'_>, target: &Frame<'_>) -> String {
    let (from, onto) = (source.grid, target.grid);
    let (axes, wanted) = (from.affine.axis_codes(), onto.affine.axis_codes());
    if !same_shape(from, onto) {
        return format!(
            "{} of {} (axes {axes}, centre at {}) lie otherwise than {} of {} (axes {wanted}, centre at {})",
            from.words(),
            source.called,
            point(from.centre()),
            onto.words(),
            target.called,
            point(onto.centre())
        );
    }
    let same = format!("{} has the {} of {}", source.called, from.words(), target.called);
    let offset: [f64; 3] = std::array::from_fn(|i| from.centre()[i] - onto.centre()[i]);
    if axes != wanted {
        let moved = if offset.iter().any(|x| x.abs() > 0.05) {
            format!(" and its centre lies {} off", point(offset))
        } else {
            String::new()
        };
        return format!("{same}, but its axes run {axes} instead of {wanted}{moved}");
    }
    let (origin, expected) = (from.affine.apply([0.0; 3]), onto.affine.apply([0.0; 3]));
    let turned = from.affine.0.iter().flatten().zip(onto.affine.0.iter().flatten()).enumerate();
    let turned = turned.filter(|(i, _)| i % 4 < 3).any(|(_, (a, b))| (a - b).abs() > 0.01);
    let turned = if turned { " and its axes are turned a little against them" } else { "" };
    format!(
        "{same} and their axes {axes}, but its origin is at {} instead of {}, {} off{turned}",
        point(origin),
        point(expected),
        point(std::array::from_fn(|i| origin[i] - expected[i]))
    )
}

#[cfg(test)]
mod tests;
