//! Two sets of result documents against each other, and against labels: what `nightread results compare` reckons. Pure: documents
//! come one by one, and of each only what is compared is kept: 64 bytes a document, its study's name, 12 bytes a finding, 64 a
//! component and 32 a segment; some 350 bytes a document with 18 labels, as the example `memory` measures it.
//!
//! ```text
//! documents ─▶ Cohorts (two sides) ─▶ joined by study ─▶ Comparison ─▶ Page: text, Markdown, HTML
//!                                     Truth ─▶ bootstrap ─▶ Judgement ─┘
//! ```
//!
//! A is what stands, B is what is to take its place: differences are B - A. What is undefined is `None`, never 0.

mod bootstrap;
mod cohorts;
mod comparison;
mod components;
mod differences;
mod findings;
mod flips;
mod html;
mod joined;
mod judgement;
mod kappa;
mod limits;
mod markdown;
mod measures;
mod page;
mod pages;
mod reliability_chart;
mod roc;
mod segments;
mod tables;
mod truth;

pub use self::bootstrap::{Bootstrap, Interval};
pub use self::cohorts::{Cohorts, CompareError, JoinKey, ModelCount, ModelIdentity, Which};
pub use self::comparison::{CompareOptions, Comparison, SCHEMA, SideFacts};
pub use self::components::{ComponentComparison, Components, LabelChange};
pub use self::differences::{Differences, quantile};
pub use self::findings::LabelComparison;
pub use self::flips::{Decision, Flip};
pub use self::html::html;
pub use self::joined::{Reason, Unpaired, UnpairedStudy};
pub use self::judgement::{Judged, JudgedLabel, Judgement, Rate, Reliability, ReliabilityBin};
pub use self::limits::{Limit, LimitCheck, RolloutLimits};
pub use self::markdown::markdown;
pub use self::page::{Block, Page, Table};
pub use self::pages::page;
pub use self::roc::RocArea;
pub use self::segments::{PresenceFlip, SegmentComparison, Segments};
pub use self::truth::{Truth, TruthColumns};
