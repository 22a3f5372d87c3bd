//! The language of Nightread, free of I/O: jobs, results, errors, and the ports that adapters implement.

pub mod announcement;
pub mod blob;
pub mod body;
pub mod delivery;
pub mod error;
pub mod job;
pub mod lanes;
pub mod media;
pub mod message;
pub mod ports;
pub mod result;
pub mod retry;
pub mod routing;
pub mod set;
pub mod storing;
pub mod study;
pub mod task;
pub mod warning;

pub use blob::{BlobKind, BlobProperties, BlobRef, ETag};
pub use body::Body;
pub use error::{ErrorClass, ErrorCode, JobError, Stage};
pub use job::Job;
pub use lanes::{Lane, PerLane};
pub use media::Media;
pub use message::{Attributes, Message};
pub use ports::{BlobStore, Delivery, Disposition, Intake, Notice, Settlement, WriteCondition, WriteOutcome};
pub use result::{ResultDocument, Status};
pub use study::{FetchedStudy, Study};
pub use task::Task;
pub use warning::{Warning, WarningCode};
