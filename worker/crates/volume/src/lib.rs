//! Volumes in space: NIfTI files, grids of voxels, and one grid sampled on another.
//!
//! ```text
//! VolumeStream::open(&dyn ScanSource, &Limits) -> Result<VolumeStream, JobError>   // plain or gzip-compressed; the header
//! stream.next_volume() -> Result<Option<RawVolume>, JobError>                  // one volume in memory at a time
//! place(&Frame, &Frame, &[u32], resample) -> Result<Placed, JobError>          // how one is sampled at voxels of the other
//! VolumeWriter::new(writer, Description, compression) -> io::Result<VolumeWriter>
//! ```
//!
//! Pure computation on bytes; no network, no async runtime. What the voxels mean is the caller's.

mod affine;
mod grid;
mod nifti;
mod place;
mod sampling;

pub use affine::Affine;
pub use grid::{Grid, GridRelation};
pub use nifti::{
    BytesSource, Datatype, Description, Endian, FileSource, Header, Intent, LimitNames, Limits, NIFTI1_BYTES,
    NIFTI2_BYTES, Observer, Orientation, PLAUSIBLE_TR, RawVolume, SIMULATED, ScanSource, Storage,
    VolumeStream, VolumeWriter, foreign, sniff,
};
pub use place::{Frame, Placed, place};
pub use sampling::{Sampler, Sampling};
