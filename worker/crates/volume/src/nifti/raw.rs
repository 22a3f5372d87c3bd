//! The fields of a header as they stand in the file.

use nightread_domain::{ErrorCode, JobError, Stage};

use super::datatype::Endian;

/// How the description of a simulated file begins.
pub const SIMULATED: &str = "Simulated by Nightread";

/// Size of a NIfTI-1 header; a NIfTI-2 header has [`NIFTI2_BYTES`].
pub const NIFTI1_BYTES: usize = 348;
pub const NIFTI2_BYTES: usize = 540;

pub(super) fn invalid(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Decode, ErrorCode::VolumeHeaderInvalid, message)
}

/// Byte fields of a header in its byte order.
pub(super) struct Fields<'a> {
    pub bytes: &'a [u8],
    pub endian: Endian,
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
    pub dim: [i64; 8],
    pub(super) pixdim: [f64; 8],
    pub datatype: i64,
    pub bitpix: i64,
    pub vox_offset: f64,
    pub slope: f64,
    pub intercept: f64,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    pub(super) quaternion: [f64; 6],
    pub(super) srow: [[f64; 4]; 3],
    pub units: i32,
    pub intent: i32,
    pub minimum_offset: u64,
    pub simulated: bool,
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
    pub fn nifti1(f: &Fields<'_>) -> Result<Self, JobError> {
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

    pub fn nifti2(f: &Fields<'_>) -> Result<Self, JobError> {
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
