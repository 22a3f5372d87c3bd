//! Who is told of what becomes of deliveries and jobs: metrics and the table.

use nightread_domain::{Attributes, Disposition, Lane};

use super::report::JobReport;

/// Told of everything that ends. For progress bars and metrics.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// A job ended, with a report of each model's part, and its delivery is about to be settled so.
    fn job_ended(&self, reports: &[JobReport], disposition: &Disposition);

    /// A message that never became a job was settled so.
    fn message_settled(&self, _disposition: &Disposition) {}

    fn event_ignored(&self, _event_type: &str) {}

    /// A delivery came into hand.
    fn delivery_taken(&self, _message: &Attributes) {}

    /// Its handler is gone, whatever became of it.
    fn delivery_left(&self, _lane: Lane, _announced_at: Option<u64>) {}

    /// No job can end, or all can again.
    fn outage(&self, _open: bool) {}

    /// A container lets its jobs in, or does not.
    fn container(&self, _name: &str, _answers: bool) {}
}
