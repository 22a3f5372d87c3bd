//! NIfTI volumes: headers, streaming readers over plain or gzip-compressed bytes, and a writer.

mod datatype;
mod foreign;
mod gunzip;
mod header;
mod intent;
mod orientation;
mod placement;
mod raw;
mod source;
mod stream;
mod write;

pub use datatype::{Datatype, Endian};
pub use foreign::foreign;
pub use header::{Header, PLAUSIBLE_TR};
pub use intent::Intent;
pub use orientation::Orientation;
pub use raw::{NIFTI1_BYTES, NIFTI2_BYTES, SIMULATED, sniff};
pub use source::{BytesSource, FileSource, LimitNames, Limits, ScanSource};
pub use stream::{Observer, RawVolume, VolumeStream};
pub use write::{Description, Storage, VolumeWriter};
