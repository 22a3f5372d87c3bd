//! The page of one scan: its maps on the template, courses, spectra, and how its networks go together.

mod brain;
mod courses;
mod page;
mod paint;

pub use self::brain::{Brain, Placement, Plane, TEMPLATE_NOTICE, View, glass, slice};
pub use self::courses::{Courses, share_below, spectrum};
pub use self::page::{Drawing, Files, Matrices, Scan};
pub use self::paint::{Image, Range};
