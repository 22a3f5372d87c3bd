//! NIfTI volumes: headers, streaming readers over plain or gzip-compressed bytes, and a writer.

mod datatype;
mod header;
mod source;
mod stream;
mod write;

pub use datatype::{Datatype, Endian};
pub use header::{Header, NIFTI1_BYTES, NIFTI2_BYTES, Orientation, SIMULATED, sniff};
pub use source::{BytesSource, FileSource, Limits, Source};
pub use stream::{RawVolume, VolumeStream};
pub use write::{Description, Storage, VolumeWriter};
