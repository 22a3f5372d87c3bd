//! A report on results that people open: HTML without a network, a script from elsewhere, or a server.
//!
//! ```text
//! Gathered::new(max_rows), add(&ResultDocument, Option<link>), finish()      // counts, rows, distributions
//! Other::add(&ResultDocument), Gathered::compare(&Other)                     // decisions that flip
//! scans::Drawing::new(&Study, Files) -> Scan                                 // slices, courses, spectra, matrices of one scan
//! Pages::new()?.index(&Report) -> String, Pages::scan(&Report, &Scan) -> String
//! ```
//!
//! Pure: documents and bytes in, text and bytes out. The same input gives the same bytes. Whatever a document says is hostile:
//! templates escape it, data go to the script as JSON that cannot end its element, links are percent-encoded, and the policy of each page
//! (`Content-Security-Policy`) allows one style sheet and one script, by their digests.

mod charts;
mod gather;
pub mod images;
mod methods;
mod other;
mod overview;
mod pages;
mod radiographs;
pub mod safe;
pub mod scans;
mod volumes;

pub use gather::{Beside, Failure, Finding, Gathered, ModelRun, Radiograph, Study};
pub use other::{Compared, Other, ReadTwice};
pub use pages::{Pages, Report};
