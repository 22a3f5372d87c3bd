//! NIfTI-1 and NIfTI-2 headers, after the field tables of `nifti1.h` and `nifti2.h` (NIfTI Data Format Working Group).

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};

use super::datatype::{Datatype, Endian};
use super::intent::Intent;
use super::orientation::Orientation;
use super::placement::placement;
use super::raw::{Fields, NIFTI1_BYTES, Raw, invalid, sniff};
use super::source::Limits;
use crate::grid::Grid;

/// Extensions larger than this are refused: nothing in them is read.
const MAX_EXTENSION_BYTES: u64 = 64 << 20;

/// Repetition times that scanners have, in seconds: single slabs at 0.1, sparse designs up to 20.
pub const PLAUSIBLE_TR: std::ops::RangeInclusive<f64> = 0.1..=20.0;

/// What a volume's header says, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub endian: Endian,
    pub datatype: Datatype,
    /// Grid of one volume.
    pub grid: Grid,
    /// Whether the header names a time axis.
    pub four_dimensional: bool,
    /// Number of volumes: 1 for a 3-D file.
    pub volumes: usize,
    /// Stored value times slope plus intercept is the voxel's value.
    pub slope: f64,
    pub intercept: f64,
    pub orientation: Orientation,
    /// Codes of the header's two forms as they stand there, qform first.
    pub codes: [i32; 2],
    /// What the voxels are.
    pub intent: Intent,
    /// Repetition time in seconds, when the header says one.
    pub tr_seconds: Option<f64>,
    /// Byte offset of the first voxel.
    pub data_offset: u64,
    /// Whether the description says that this project simulated the file.
    pub simulated: bool,
    /// Doubts about the header itself.
    pub warnings: Vec<Warning>,
}

impl Header {
    /// Reads a header from its 348 (NIfTI-1) or 540 (NIfTI-2) bytes and checks it against the limits.
    ///
    /// # Errors
    /// `volume_header_invalid`, `unsupported_datatype`, `not_four_dimensional` (5 to 7 axes in use),
    /// `too_many_voxels`, `inflates_too_large`.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, JobError> {
        let start =
            bytes.first_chunk::<4>().ok_or_else(|| invalid("the file is shorter than a NIfTI header"))?;
        let (size, endian) =
            sniff(*start).ok_or_else(|| invalid("the file does not begin with a NIfTI header"))?;
        if bytes.len() < size {
            return Err(invalid("the file is shorter than a NIfTI header"));
        }
        let fields = Fields { bytes, endian };
        let raw = if size == NIFTI1_BYTES { Raw::nifti1(&fields)? } else { Raw::nifti2(&fields)? };

        refuse_grayordinates(raw.intent)?;
        let (dims, volumes, four_dimensional) = shape(&raw.dim)?;
        let datatype = Datatype::from_code(raw.datatype as i16)?;
        let mut warnings = Vec::new();
        // What a voxel takes follows from its type; the second statement of it is only as good as its writer.
        if raw.bitpix != 8 * datatype.bytes() as i64 {
            let text = format!("the header says {} bits a voxel; {}", raw.bitpix, datatype.words());
            warnings.push(Warning::new(WarningCode::BitpixIgnored, text));
        }
        let voxels = within_limits(dims, volumes, datatype, limits)?;
        let offset = raw.vox_offset;
        let least = raw.minimum_offset;
        if !(offset.is_finite() && offset >= least as f64 && offset <= (least + MAX_EXTENSION_BYTES) as f64) {
            return Err(invalid(format!("the data cannot begin at byte {offset}")));
        }
        debug_assert!(voxels > 0);
        // A slope of zero means "no scaling"; writers also leave NaN there.
        let scaled = raw.slope.is_finite() && raw.slope != 0.0;
        if scaled && !raw.intercept.is_finite() {
            return Err(invalid("the scaling intercept is not a number"));
        }
        let (affine, orientation) = placement(&raw, dims, &mut warnings)?;
        let tr_seconds = if four_dimensional { repetition_time(&raw, &mut warnings) } else { None };
        Ok(Self {
            endian,
            datatype,
            grid: Grid { dims, affine },
            four_dimensional,
            volumes,
            slope: if scaled { raw.slope } else { 1.0 },
            intercept: if scaled { raw.intercept } else { 0.0 },
            orientation,
            codes: [raw.qform_code, raw.sform_code],
            intent: Intent(raw.intent),
            tr_seconds,
            data_offset: offset as u64,
            simulated: raw.simulated,
            warnings,
        })
    }

    /// Bytes of one volume as stored.
    pub fn volume_bytes(&self) -> usize {
        self.grid.len() * self.datatype.bytes()
    }
}

/// Spatial dimensions, number of volumes, and whether there is a time axis.
fn shape(dim: &[i64; 8]) -> Result<([usize; 3], usize, bool), JobError> {
    let rank = dim[0];
    if !(1..=7).contains(&rank) {
        return Err(invalid(format!("{rank} axes are not between 1 and 7")));
    }
    let dims = [axis_length(dim, 1)?, axis_length(dim, 2)?, axis_length(dim, 3)?];
    for n in 5..8 {
        if axis_length(dim, n)? != 1 {
            return Err(JobError::new(
                Stage::Decode,
                ErrorCode::NotFourDimensional,
                format!("the file has {rank} axes; scans have three of space and one of time"),
            ));
        }
    }
    Ok((dims, axis_length(dim, 4)?, rank >= 4))
}

/// Of axis `n`, from 1 on; 1 for those that the header does not have.
fn axis_length(dim: &[i64; 8], n: usize) -> Result<usize, JobError> {
    if n as i64 > dim[0] {
        return Ok(1);
    }
    usize::try_from(dim[n])
        .ok()
        .filter(|&x| x > 0)
        .ok_or_else(|| invalid(format!("axis {n} has length {}", dim[n])))
}

/// Refuses sizes before anything of that size is allocated; the number of voxels of one volume.
fn within_limits(
    dims: [usize; 3],
    volumes: usize,
    datatype: Datatype,
    limits: &Limits,
) -> Result<u64, JobError> {
    let [x, y, z] = dims;
    let size = format!("{x}x{y}x{z} voxels and {volumes} volumes");
    let volume = dims
        .iter()
        .try_fold(1u64, |n, &x| n.checked_mul(x as u64))
        .filter(|&n| n <= limits.max_volume_voxels)
        .ok_or_else(|| too_many_voxels(&size, limits.max_volume_voxels, "a volume"))?;
    let scan = format!("a scan ({})", limits.names.voxels);
    let all = volume
        .checked_mul(volumes as u64)
        .filter(|&n| n <= limits.max_voxels)
        .ok_or_else(|| too_many_voxels(&size, limits.max_voxels, &scan))?;
    match all.checked_mul(datatype.bytes() as u64) {
        Some(bytes) if bytes <= limits.max_inflated_bytes => Ok(volume),
        _ => Err(JobError::new(
            Stage::Decode,
            ErrorCode::InflatesTooLarge,
            format!(
                "the scan's voxels take more than the limit of {} bytes ({})",
                limits.max_inflated_bytes, limits.names.inflated_bytes
            ),
        )),
    }
}

/// CIFTI keeps its matrix in a NIfTI-2 file of six and more axes (intents 3000 to 3099).
fn refuse_grayordinates(intent: i32) -> Result<(), JobError> {
    if !(3000..3100).contains(&intent) {
        return Ok(());
    }
    let text = "the file is CIFTI, a matrix of grayordinates, which is not read; \
                take the volume with `wb_command -cifti-separate in.nii COLUMN -volume-all out.nii.gz`";
    Err(JobError::new(Stage::Decode, ErrorCode::UnsupportedMedia, text))
}

fn too_many_voxels(size: &str, limit: u64, what: &str) -> JobError {
    let message = format!("{size} are over the limit of {limit} voxels {what}");
    JobError::new(Stage::Decode, ErrorCode::TooManyVoxels, message)
}

/// Repetition time in seconds by the header's temporal unit; without a unit, seconds. Warns of one that no scanner has
/// and of a fourth axis in other units than time.
fn repetition_time(raw: &Raw, warnings: &mut Vec<Warning>) -> Option<f64> {
    let step = raw.pixdim[4];
    let (seconds, unit) = match raw.units & 0x38 {
        16 => (step / 1e3, "milliseconds"),
        24 => (step / 1e6, "microseconds"),
        0 => (step, "of no unit, taken for seconds"),
        8 => (step, "seconds"),
        other => {
            let text = format!("the header's fourth axis is in other units than time (code {other})");
            warnings.push(Warning::new(WarningCode::ImplausibleTr, text));
            return None;
        }
    };
    if seconds == 0.0 {
        return None; // Left out by the writer.
    }
    if !PLAUSIBLE_TR.contains(&seconds) {
        let text = format!(
            "the header says a repetition time of {step} {unit}: {} to {} s are usual",
            PLAUSIBLE_TR.start(),
            PLAUSIBLE_TR.end()
        );
        warnings.push(Warning::new(WarningCode::ImplausibleTr, text));
    }
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}
