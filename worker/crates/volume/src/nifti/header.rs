//! NIfTI-1 and NIfTI-2 headers, after the field tables of `nifti1.h` and `nifti2.h` (NIfTI Data Format Working Group).

use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};

use super::datatype::{Datatype, Endian};
use super::intent::Intent;
use super::placement::placement;
use super::source::Limits;
use crate::grid::Grid;

/// Size of a NIfTI-1 header; a NIfTI-2 header has [`NIFTI2_BYTES`].
pub const NIFTI1_BYTES: usize = 348;
pub const NIFTI2_BYTES: usize = 540;

/// How the description of a simulated file begins.
pub const SIMULATED: &str = "Simulated by Nightread";

/// Extensions larger than this are refused: nothing in them is read.
const MAX_EXTENSION_BYTES: u64 = 64 << 20;

/// Repetition times that scanners have, in seconds: single slabs at 0.1, sparse designs up to 20.
pub const PLAUSIBLE_TR: std::ops::RangeInclusive<f64> = 0.1..=20.0;

/// Where the affine came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// The header's `srow` rows, with the sform code (1 scanner, 2 aligned, 3 Talairach, 4 MNI152, 5 template).
    Sform(i32),
    /// The header's quaternion, with the qform code.
    Qform(i32),
    /// Neither: voxel sizes only, so the place in the world is not known.
    Unknown,
}

impl Orientation {
    /// The code of the form that the affine was taken from; 0 for none.
    pub const fn code(self) -> i32 {
        match self {
            Self::Sform(code) | Self::Qform(code) => code,
            Self::Unknown => 0,
        }
    }

    /// The space that a code names, in words.
    pub const fn space(self) -> &'static str {
        match self.code() {
            0 => "unknown",
            1 => "scanner",
            2 => "aligned",
            3 => "talairach",
            4 => "mni152",
            5 => "template",
            _ => "other",
        }
    }
}

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

pub(super) fn invalid(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Decode, ErrorCode::VolumeHeaderInvalid, message)
}

/// Byte fields of a header in its byte order.
struct Fields<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut raw = [0; N];
        raw.copy_from_slice(&self.bytes[at..at + N]);
        if self.endian == Endian::Big {
            raw.reverse();
        }
        raw
    }
    fn i16(&self, at: usize) -> i64 {
        i64::from(i16::from_le_bytes(self.array(at)))
    }
    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }
    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.array(at)))
    }
    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.array(at))
    }
}

/// The fields that the two versions keep at different places.
pub(super) struct Raw {
    dim: [i64; 8],
    pub(super) pixdim: [f64; 8],
    datatype: i64,
    bitpix: i64,
    vox_offset: f64,
    slope: f64,
    intercept: f64,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    pub(super) quaternion: [f64; 6],
    pub(super) srow: [[f64; 4]; 3],
    units: i32,
    intent: i32,
    minimum_offset: u64,
    simulated: bool,
}

const PAIR: &str = "the header belongs to a .hdr/.img pair; single files are read";

/// Version and byte order from the first four bytes, `sizeof_hdr`; the header's size in bytes. `None`: not NIfTI.
pub fn sniff(start: [u8; 4]) -> Option<(usize, Endian)> {
    match (i32::from_le_bytes(start), i32::from_be_bytes(start)) {
        (348, _) => Some((NIFTI1_BYTES, Endian::Little)),
        (_, 348) => Some((NIFTI1_BYTES, Endian::Big)),
        (540, _) => Some((NIFTI2_BYTES, Endian::Little)),
        (_, 540) => Some((NIFTI2_BYTES, Endian::Big)),
        _ => None,
    }
}

impl Raw {
    fn nifti1(f: &Fields<'_>) -> Result<Self, JobError> {
        match &f.bytes[344..348] {
            b"n+1\0" => {}
            b"ni1\0" => return Err(invalid(PAIR)),
            _ => return Err(invalid("the header has no NIfTI-1 magic; Analyze files are not read")),
        }
        Ok(Self {
            dim: std::array::from_fn(|i| f.i16(40 + 2 * i)),
            pixdim: std::array::from_fn(|i| f.f32(76 + 4 * i)),
            datatype: f.i16(70),
            bitpix: f.i16(72),
            vox_offset: f.f32(108),
            slope: f.f32(112),
            intercept: f.f32(116),
            qform_code: f.i16(252) as i32,
            sform_code: f.i16(254) as i32,
            quaternion: std::array::from_fn(|i| f.f32(256 + 4 * i)),
            srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f32(280 + 16 * r + 4 * c))),
            units: i32::from(f.bytes[123]),
            intent: f.i16(68) as i32,
            minimum_offset: 352,
            simulated: f.bytes[148..].starts_with(SIMULATED.as_bytes()),
        })
    }

    fn nifti2(f: &Fields<'_>) -> Result<Self, JobError> {
        match &f.bytes[4..12] {
            b"n+2\0\r\n\x1a\n" => {}
            b"ni2\0\r\n\x1a\n" => return Err(invalid(PAIR)),
            _ => return Err(invalid("the header has no NIfTI-2 magic or was changed by a text transfer")),
        }
        Ok(Self {
            dim: std::array::from_fn(|i| f.i64(16 + 8 * i)),
            pixdim: std::array::from_fn(|i| f.f64(104 + 8 * i)),
            datatype: f.i16(12),
            bitpix: f.i16(14),
            vox_offset: f.i64(168) as f64,
            slope: f.f64(176),
            intercept: f.f64(184),
            qform_code: f.i32(344),
            sform_code: f.i32(348),
            quaternion: std::array::from_fn(|i| f.f64(352 + 8 * i)),
            srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f64(400 + 32 * r + 8 * c))),
            units: f.i32(500),
            intent: f.i32(504),
            minimum_offset: 544,
            simulated: f.bytes[240..].starts_with(SIMULATED.as_bytes()),
        })
    }
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
    let axis = |n: usize| -> Result<usize, JobError> {
        if n as i64 > rank {
            return Ok(1);
        }
        usize::try_from(dim[n])
            .ok()
            .filter(|&x| x > 0)
            .ok_or_else(|| invalid(format!("axis {n} has length {}", dim[n])))
    };
    let dims = [axis(1)?, axis(2)?, axis(3)?];
    for n in 5..8 {
        if axis(n)? != 1 {
            return Err(JobError::new(
                Stage::Decode,
                ErrorCode::NotFourDimensional,
                format!("the file has {rank} axes; scans have three of space and one of time"),
            ));
        }
    }
    Ok((dims, axis(4)?, rank >= 4))
}

/// Refuses sizes before anything of that size is allocated; the number of voxels of one volume.
fn within_limits(
    dims: [usize; 3],
    volumes: usize,
    datatype: Datatype,
    limits: &Limits,
) -> Result<u64, JobError> {
    let product = |list: &[usize]| list.iter().try_fold(1u64, |n, &x| n.checked_mul(x as u64));
    let too_many = |what: &str, limit: u64| {
        let [x, y, z] = dims;
        JobError::new(
            Stage::Decode,
            ErrorCode::TooManyVoxels,
            format!("{x}x{y}x{z} voxels and {volumes} volumes are over the limit of {limit} voxels {what}"),
        )
    };
    let scan = format!("a scan ({})", limits.names.voxels);
    let volume = product(&dims)
        .filter(|&n| n <= limits.max_volume_voxels)
        .ok_or_else(|| too_many("a volume", limits.max_volume_voxels))?;
    let all = volume
        .checked_mul(volumes as u64)
        .filter(|&n| n <= limits.max_voxels)
        .ok_or_else(|| too_many(&scan, limits.max_voxels))?;
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

/// Repetition time in seconds by the header's temporal unit; without a unit, seconds. Warns of one that no scanner has
/// and of a fourth axis in other units than time.
fn repetition_time(raw: &Raw, warnings: &mut Vec<Warning>) -> Option<f64> {
    let step = raw.pixdim[4];
    let mut doubt = |text: String| warnings.push(Warning::new(WarningCode::ImplausibleTr, text));
    let (seconds, unit) = match raw.units & 0x38 {
        16 => (step / 1e3, "milliseconds"),
        24 => (step / 1e6, "microseconds"),
        0 => (step, "of no unit, taken for seconds"),
        8 => (step, "seconds"),
        other => {
            doubt(format!("the header's fourth axis is in other units than time (code {other})"));
            return None;
        }
    };
    if seconds == 0.0 {
        return None; // Left out by the writer.
    }
    if !PLAUSIBLE_TR.contains(&seconds) {
        doubt(format!(
            "the header says a repetition time of {step} {unit}: {} to {} s are usual",
            PLAUSIBLE_TR.start(),
            PLAUSIBLE_TR.end()
        ));
    }
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}
