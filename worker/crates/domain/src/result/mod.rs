//! Result documents: the form that is written, and those that are read.

mod document;
mod flat;
mod parse;
mod segment;
mod v1;

pub use crate::media::StudyKind;

pub use self::document::*;
pub use self::parse::Parsed;
pub use self::segment::{Code, Laterality, Segment};
