//! What the pipeline needs from the outside world. Adapters implement these and classify their own errors.

pub mod blobs;
pub mod guarded;
pub mod intake;
pub mod listing;
pub mod sink;

pub use blobs::{BlobStore, WriteCondition, WriteOutcome};
pub use guarded::{Guard, Guarded, StoreCall};
pub use intake::{Delivery, Disposition, Intake, Settlement};
pub use listing::{Listed, ListedPage, Listing};
pub use sink::{Audience, Notice, Sink, Standing};
