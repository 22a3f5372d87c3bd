//! The first pass over the files: which images belong together, and which are left out.

use std::cmp::Ordering;

use nightread_dicom::File;
use nightread_domain::warning::Warning;

use crate::error::{CtCode, CtError};
use crate::files::Files;
use crate::limits::CtLimits;
use crate::slice::{Content, Slice, content, options};
use crate::sniff::{Kind, is_dicomdir, sniff};
use crate::volume::Skipped;

/// Cosines that differ by more are another orientation.
const SAME_COSINE: f64 = 1e-3;
/// Pixel spacings that differ by a greater share are another size.
const SAME_SPACING: f64 = 1e-3;
/// Of all slices, those of the volume are at least this share.
const LEAST_SHARE: f64 = 0.9;
/// Frames of all files.
const MOST_FRAMES: u32 = 1 << 16;

/// The images of one volume, in an order that does not depend on that of the files, and what is none.
#[derive(Debug)]
pub struct Survey {
    pub slices: Vec<Slice>,
    pub skipped: Vec<Skipped>,
    pub warnings: Vec<Warning>,
    /// Bytes of the largest file.
    pub largest: u64,
}

/// Reads all headers.
///
/// # Errors
/// `no_dicom`, `wrong_modality`, `mixed_series`, `no_hounsfield`, `no_position`, `too_large`, `unreadable`, and those of
/// archives.
pub fn survey(files: &Files<'_>, limits: &CtLimits) -> Result<Survey, CtError> {
    let mut found = Found::default();
    files.each(&|_| true, &mut |id, bytes| {
        found.largest = found.largest.max(bytes.len() as u64);
        let mut skip =
            |why| found.skipped.push(Skipped { part: id.part, member: id.member, frame: None, why });
        match sniff(&bytes) {
            Kind::Dicom if is_dicomdir(&bytes) => skip("dicomdir"),
            Kind::Dicom => {
                let file = File::open(&bytes, &options(limits.max_file_bytes, None), &mut found.warnings)
                    .map_err(|error| CtError::of_file(&id.name(files.parts), error))?;
                let frames = file.header().frames.unwrap_or(1);
                if u64::from(frames) + found.slices.len() as u64 > u64::from(MOST_FRAMES) {
                    let text =
                        format!("with {} the study has more than {MOST_FRAMES} frames", id.name(files.parts));
                    return Err(CtError::new(CtCode::TooLarge, text));
                }
                found.dicom += 1;
                match content(id, &file) {
                    Content::Slices(slices) => found.slices.extend(slices),
                    Content::Not(why) => skip(why),
                    Content::Other(modality) => {
                        found.other.get_or_insert(modality);
                        skip("other_modality");
                    }
                }
            }
            Kind::Zip | Kind::Tar | Kind::TarGz => skip("archive_inside"),
            Kind::Nifti | Kind::Unknown => skip("not_dicom"),
        }
        Ok(())
    })?;
    found.choose()
}

#[derive(Debug, Default)]
struct Found {
    slices: Vec<Slice>,
    skipped: Vec<Skipped>,
    warnings: Vec<Warning>,
    largest: u64,
    dicom: usize,
    other: Option<String>,
}

impl Found {
    fn choose(self) -> Result<Survey, CtError> {
        let Self { mut slices, mut skipped, warnings, largest, dicom, other } = self;
        if slices.is_empty() {
            return Err(match (other, dicom) {
                (Some(modality), _) => {
                    CtError::new(CtCode::WrongModality, format!("the images are {modality}; CT is read"))
                }
                (None, 0) => CtError::new(CtCode::NoDicom, "there is no DICOM file in the study"),
                (None, _) => CtError::new(
                    CtCode::WrongModality,
                    "no file of the study is a slice: there are localizers, captures or files without pixels",
                ),
            });
        }
        slices.sort_by(order);
        let all = slices.len();
        let mut groups: Vec<Vec<Slice>> = Vec::new();
        for slice in slices {
            // A few groups, so that each is asked; a study of nothing but strangers ends at the share below.
            match groups.iter().position(|group| belongs(&group[0], &slice)) {
                Some(n) => groups[n].push(slice),
                None if groups.len() > 1000 => return Err(mixed(1, all, groups.len())),
                None => groups.push(vec![slice]),
            }
        }
        let count = groups.len();
        let largest_group = (0..count).rev().max_by_key(|&n| groups[n].len()).unwrap_or(0);
        let chosen = groups.swap_remove(largest_group);
        if (chosen.len() as f64) < LEAST_SHARE * all as f64 {
            return Err(mixed(chosen.len(), all, count));
        }
        for slice in groups.iter().flatten() {
            let same_file = chosen.iter().any(|other| other.file == slice.file);
            skipped.push(Skipped {
                part: slice.file.part,
                member: slice.file.member,
                frame: same_file.then_some(slice.frame),
                why: "other_size_or_orientation",
            });
        }
        skipped.sort_by_key(|skip| (skip.part, skip.member, skip.frame));
        judge_units(&chosen)?;
        judge_placement(&chosen)?;
        Ok(Survey { slices: chosen, skipped, warnings, largest })
    }
}

fn mixed(largest: usize, all: usize, groups: usize) -> CtError {
    let text = format!(
        "the {all} slices are of {groups} series, sizes or orientations, and the largest has {largest}; nine in ten must be one"
    );
    CtError::new(CtCode::MixedSeries, text)
}

/// A total order of all that may tell slices apart, but for the places of their files.
fn order(a: &Slice, b: &Slice) -> Ordering {
    let numbers = |slice: &Slice| {
        let orientation = slice.orientation.unwrap_or_default();
        let position = slice.position.unwrap_or_default();
        let rescale = [slice.slope.unwrap_or_default(), slice.intercept.unwrap_or_default()];
        let spacing = slice.spacing.unwrap_or_default();
        orientation.into_iter().chain(spacing).chain(position).chain(rescale).collect::<Vec<_>>()
    };
    let texts = |slice: &Slice| {
        let of = &slice.of;
        (of.series_uid.clone(), of.frame_of_reference.clone(), of.rows, of.columns)
    };
    let rest = |slice: &Slice| {
        (
            slice.acquisition,
            slice.of.instance_number,
            slice.of.instance_uid.clone(),
            slice.time.clone(),
            slice.frame,
        )
    };
    texts(a)
        .cmp(&texts(b))
        .then_with(|| {
            let (a, b) = (numbers(a), numbers(b));
            a.iter()
                .zip(&b)
                .map(|(a, b)| a.total_cmp(b))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
        .then_with(|| rest(a).cmp(&rest(b)))
        .then_with(|| a.file.cmp(&b.file))
}

fn belongs(first: &Slice, slice: &Slice) -> bool {
    let (a, b) = (&first.of, &slice.of);
    let same_cosines = match (first.orientation, slice.orientation) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_COSINE),
        (a, b) => a.is_none() && b.is_none(),
    };
    let same_spacing = match (first.spacing, slice.spacing) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_SPACING * a.abs()),
        (a, b) => a.is_none() && b.is_none(),
    };
    same_cosines
        && same_spacing
        && (a.rows, a.columns) == (b.rows, b.columns)
        && a.series_uid == b.series_uid
        && a.frame_of_reference == b.frame_of_reference
}

/// Whether the numbers are Hounsfield units, of all slices.
fn judge_units(slices: &[Slice]) -> Result<(), CtError> {
    let refuse = |text: &str| Err(CtError::new(CtCode::NoHounsfield, text));
    for slice in slices {
        let (Some(slope), Some(_)) = (slice.slope, slice.intercept) else {
            return refuse(
                "a slice has no RescaleSlope and RescaleIntercept: its numbers are no Hounsfield units",
            );
        };
        if slope == 0.0 {
            return refuse("a slice has a RescaleSlope of 0");
        }
        if let Some(units) = slice.rescale_type.as_deref().map(str::trim).filter(|units| *units != "HU") {
            return refuse(&format!(
                "the numbers are in units {units} (RescaleType); Hounsfield units (HU) are read"
            ));
        }
        if slice.of.has_modality_lut {
            return refuse("a slice has a table (ModalityLUTSequence) in place of slope and intercept");
        }
        if let Some(kind) = slice.of.photometric.as_deref().filter(|kind| *kind != "MONOCHROME2") {
            return refuse(&format!("the images are {kind}; MONOCHROME2 is read"));
        }
    }
    Ok(())
}

/// Whether every slice says where it lies, and plausibly.
fn judge_placement(slices: &[Slice]) -> Result<(), CtError> {
    let refuse = |text: &str| Err(CtError::new(CtCode::NoPosition, text));
    for slice in slices {
        let (Some(cosines), Some(_)) = (slice.orientation, slice.position) else {
            return refuse("a slice has no ImagePositionPatient or no ImageOrientationPatient");
        };
        let [a, b, c, d, e, f] = cosines;
        let (row, column) = (a.hypot(b).hypot(c), d.hypot(e).hypot(f));
        let dot = a * d + b * e + c * f;
        if (row - 1.0).abs() > 1e-2 || (column - 1.0).abs() > 1e-2 || dot.abs() > 1e-2 {
            return refuse(
                "the cosines of a slice (ImageOrientationPatient) are not two directions at right angles",
            );
        }
        if !slice.spacing.is_some_and(|spacing| spacing.iter().all(|mm| (0.01..=100.0).contains(mm))) {
            return refuse("a slice has no PixelSpacing between 0.01 and 100 mm");
        }
    }
    Ok(())
}
