//! CT series as volumes of Hounsfield units.
//!
//! ```text
//! series_of(&[u8]) -> Result<SeriesKey, CtError>                                       // which series a file belongs to
//! estimate(&[PartBytes], &CtLimits, &dyn IsolatedCodec) -> Result<Estimate, CtError>   // what the volume will take
//! from_parts(&[PartBytes], &CtLimits, &dyn IsolatedCodec) -> Result<CtVolume, CtError>
//! layout(&[PartBytes], &CtLimits, &dyn IsolatedCodec) -> Result<Option<Layout>, CtError>   // its slices by name, without their pixels
//! ```
//!
//! A study is one NIfTI file, one multi-frame DICOM file, one zip or tar archive of DICOM files, or many of them. What the
//! parts are, their bytes say. Files are passed over twice: headers tell which images are slices of one volume and where each
//! lies, then pixels are decoded straight into the volume. An archive is never in memory inflated as a whole.
//!
//! Every case of geometry is accepted, accepted with a warning, or refused, by a code: see [`CtCode`] and [`CtWarningCode`].
//!
//! Pure CPU: no async runtime, no network, no files.

mod decode;
mod duplicates;
mod error;
mod facts;
mod files;
mod hounsfield;
mod layout;
mod limits;
mod nifti;
mod read;
mod series;
mod slice;
mod sniff;
mod stack;
mod survey;
mod tar;
mod volume;
mod zip;

pub use error::{CtCode, CtError, CtWarning, CtWarningCode};
pub use layout::{Layer, Layout, SliceName, layout};
pub use limits::CtLimits;
pub use read::{estimate, from_parts};
pub use series::{SeriesGroup, SeriesKey, series_of};
pub use volume::{CtVolume, Estimate, LEAST_HU, PartBytes, Place, Skipped, SliceFacts};
