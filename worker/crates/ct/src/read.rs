//! From the parts of a study to its volume.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nightread_dicom::IsolatedCodec;
use nightread_domain::warning::Warning;
use serde_json::json;

use crate::decode::{Decoding, once_each};
use crate::duplicates::settle;
use crate::error::{CtCode, CtError, CtWarning, CtWarningCode};
use crate::facts;
use crate::files::{Files, Study};
use crate::hounsfield::{Changed, rescale};
use crate::limits::CtLimits;
use crate::nifti;
use crate::slice::Slice;
use crate::stack::{Grid, Stack, sort, stack};
use crate::survey::{Survey, survey};
use crate::volume::{CtVolume, Estimate, PartBytes, Place, Skipped, SliceFacts};

/// Reads the parts of one study: one NIfTI file, one multi-frame DICOM file, one archive of DICOM files, or DICOM files.
/// Their bytes say which; their order changes nothing but the numbers of parts.
///
/// Memory beside the parts: the volume, another one where steps are made even, and for each thread one file and one slice.
///
/// # Errors
/// See [`CtCode`].
pub fn from_parts(
    parts: &[PartBytes],
    limits: &CtLimits,
    codec: &dyn IsolatedCodec,
) -> Result<CtVolume, CtError> {
    match Study::open(parts, limits)? {
        Study::Nifti(part) => nifti::read(part, limits),
        Study::Files(files) => from_files(&files, limits, codec),
    }
}

/// What [`from_parts`] will take, by its headers. Of an archive all members are inflated for it, one after the other. Pixels are
/// decoded only of slices that lie at one place: they decide which of them are taken, and so where the volume lies.
///
/// # Errors
/// As [`from_parts`], but for what other pixels say.
pub fn estimate(
    parts: &[PartBytes],
    limits: &CtLimits,
    codec: &dyn IsolatedCodec,
) -> Result<Estimate, CtError> {
    let files = match Study::open(parts, limits)? {
        Study::Nifti(part) => return nifti::estimate(part, limits),
        Study::Files(files) => files,
    };
    let stacked = stacked(&Decoding { files: &files, limits, codec })?;
    let area = area(&stacked.slices[0]);
    let voxels = area * stacked.stack.len() as u64;
    let acquired = match stacked.stack.grid {
        Grid::AsAcquired => 0,
        // Even layers are made beside the slices that they are made of, also where they are as many.
        Grid::Even(_) => 2 * area * stacked.slices.len() as u64,
    };
    // A slice on its way: its file, read and inflated, words of the codec, values.
    let each = 2 * stacked.largest + 8 * area;
    let bytes = 2 * voxels + acquired + each * (limits.threads.max(1) as u64 + 1);
    Ok(Estimate { voxels, bytes, place: Place { shape: stacked.shape(), affine: stacked.affine() } })
}

fn area(slice: &Slice) -> u64 {
    u64::from(slice.of.rows) * u64::from(slice.of.columns)
}

fn within_limits(area: u64, slices: usize, limits: &CtLimits) -> Result<(), CtError> {
    let voxels = area * slices as u64;
    if voxels > limits.max_voxels {
        let text = format!("the volume has {voxels} voxels; {} are read (volume_voxels)", limits.max_voxels);
        return Err(CtError::new(CtCode::TooLarge, text));
    }
    Ok(())
}

/// The slices of the one volume of a study, and where they lie.
#[derive(Debug)]
pub struct Stacked {
    pub slices: Vec<Slice>,
    pub stack: Stack,
    skipped: Vec<Skipped>,
    warnings: Vec<CtWarning>,
    file_warnings: Vec<Warning>,
    /// Bytes of the largest file.
    largest: u64,
}

impl Stacked {
    /// Voxels along i, j and k.
    pub fn shape(&self) -> [usize; 3] {
        let of = &self.slices[0].of;
        [usize::from(of.columns), usize::from(of.rows), self.stack.len()]
    }

    /// As that of [`CtVolume`].
    pub fn affine(&self) -> [[f64; 4]; 3] {
        affine(&self.slices[0], self.stack.step)
    }
}

/// Reads headers, and pixels only of slices that lie at one place.
///
/// # Errors
/// As [`from_parts`], but for what other pixels say.
pub fn stacked(decoding: &Decoding<'_>) -> Result<Stacked, CtError> {
    let Decoding { files, limits, .. } = decoding;
    let Survey { mut slices, mut skipped, warnings: mut file_warnings, largest } = survey(files, limits)?;
    sort(&mut slices);
    within_limits(area(&slices[0]), slices.len(), limits)?;
    let settled = settle(slices, decoding)?;
    let slices = settled.slices;
    let mut warnings = settled.warnings;
    if !skipped.is_empty() {
        let text = format!("{} files or images of the study are no part of the volume", skipped.len());
        warnings.push(CtWarning::new(CtWarningCode::FilesSkipped, text));
    }
    skipped.extend(settled.skipped);
    file_warnings.extend(settled.file_warnings);
    let stack = stack(&slices, limits)?;
    within_limits(area(&slices[0]), stack.len(), limits)?;
    Ok(Stacked { slices, stack, skipped, warnings, file_warnings, largest })
}

fn from_files(files: &Files<'_>, limits: &CtLimits, codec: &dyn IsolatedCodec) -> Result<CtVolume, CtError> {
    let decoding = Decoding { files, limits, codec };
    let stacked = stacked(&decoding)?;
    let (shape, affine) = (stacked.shape(), stacked.affine());
    let [columns, rows, _] = shape;
    let Stacked { slices, stack, skipped, mut warnings, mut file_warnings, .. } = stacked;
    let (acquired, changed, found) = decode(&slices, rows * columns, &decoding)?;
    file_warnings.extend(found);
    once_each(&mut file_warnings);
    let values = match &stack.grid {
        Grid::AsAcquired => acquired,
        Grid::Even(made) => even(&acquired, rows * columns, made),
    };
    warnings.extend(stack.warnings.iter().cloned());
    warnings.extend(facts::of_values(&values, changed));
    warnings.extend(facts::of_columns(affine));
    let mut told = tell(&slices, &stack);
    facts::tell(&mut told, shape, affine, &values, changed);
    let slices = slices.iter().zip(&stack.places).map(|(slice, &place)| slice_facts(slice, place)).collect();
    Ok(CtVolume { shape, values, affine, facts: told, warnings, file_warnings, skipped, slices })
}

/// Units of all slices, one behind the other, and what was repaired in files.
fn decode(
    slices: &[Slice],
    area: usize,
    decoding: &Decoding<'_>,
) -> Result<(Vec<i16>, Changed, Vec<Warning>), CtError> {
    let mut values = vec![0; area * slices.len()];
    let changed = Mutex::new(Changed::default());
    let places: Vec<Mutex<&mut [i16]>> = values.chunks_exact_mut(area).map(Mutex::new).collect();
    let warnings = decoding.run(slices, &|index, stored| {
        let mut out = places[index].lock().unwrap_or_else(PoisonError::into_inner);
        let one = rescale(&slices[index], stored, &mut out);
        let mut all = changed.lock().unwrap_or_else(PoisonError::into_inner);
        *all = all.and(one);
    })?;
    let changed = changed.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(places);
    Ok((values, changed, warnings))
}

/// Slices between slices, linear along the normal, rounded to the nearest unit, halves away from zero.
fn even(acquired: &[i16], area: usize, made: &[(usize, f64)]) -> Vec<i16> {
    let mut values = Vec::with_capacity(area * made.len());
    for &(below, share) in made {
        let (a, b) = acquired[below * area..(below + 2) * area].split_at(area);
        let between =
            |(&a, &b): (&i16, &i16)| (f64::from(a) * (1.0 - share) + f64::from(b) * share).round() as i16;
        values.extend(a.iter().zip(b).map(between));
    }
    values
}

/// Columns: a step along a row, one down a column, one to the next slice; then the first voxel. DICOM's x and y run to the
/// left and to the back, NIfTI's to the right and to the front.
fn affine(first: &Slice, step: [f64; 3]) -> [[f64; 4]; 3] {
    let cosines = first.orientation.unwrap_or_default();
    let [between_rows, between_columns] = first.spacing.unwrap_or_default();
    let origin = first.position.unwrap_or_default();
    let signs = [-1.0, -1.0, 1.0];
    std::array::from_fn(|axis| {
        [cosines[axis] * between_columns, cosines[axis + 3] * between_rows, step[axis], origin[axis]]
            .map(|value| value * signs[axis])
    })
}

fn slice_facts(slice: &Slice, place: f64) -> SliceFacts {
    SliceFacts {
        position_mm: place,
        origin_lps_mm: slice.position.unwrap_or_default(),
        instance_uid: slice.of.instance_uid.clone(),
        part: slice.file.part,
        member: slice.file.member,
        frame: slice.frame,
    }
}

fn tell(slices: &[Slice], stack: &Stack) -> BTreeMap<String, serde_json::Value> {
    let first = &slices[0];
    let extent = stack.places[stack.places.len() - 1] - stack.places[0];
    let mut facts = BTreeMap::new();
    let mut insert = |name: &str, value| facts.insert(name.to_owned(), value);
    insert("modality", json!("CT"));
    insert("slices", json!(slices.len()));
    insert("slice_step_mm", json!(extent / (stack.len() - 1) as f64));
    insert("transfer_syntax", json!(first.of.transfer_syntax));
    if let Some(thickness) = first.thickness {
        insert("slice_thickness_mm", json!(thickness));
    }
    if let Some(part) = &first.of.body_part {
        insert("body_part", json!(part));
    }
    facts
}
