//! The backlog for people.

use super::estimate::{Backlog, Known};
use crate::console::table::table;

impl Backlog {
    /// For people.
    pub fn as_table(&self) -> String {
        let mut rows =
            table(["queue", "ready", "in flight", "seconds each", "known", "estimated", "seconds of work"]);
        for queue in &self.queues {
            rows.add_row([
                queue.queue.clone(),
                queue.ready.to_string(),
                queue.unacknowledged.to_string(),
                format!("{:.3}", queue.seconds_each),
                queue.known.as_str().to_owned(),
                queue.estimated.to_string(),
                format!("{:.1}", queue.seconds),
            ]);
        }
        let mut lines = vec![
            rows.to_string(),
            format!("workers                      {}", self.workers),
            format!("seconds of work per worker   {:.1}", self.seconds_per_worker),
            format!("oldest job                   {} s", self.oldest_job_age_seconds),
            format!("waiting for another try      {}", self.delayed),
            format!("dead letters                 {}", self.dead_letters),
        ];
        if let Some(messages) = self.storage_queue {
            lines.push(format!("before the broker            {messages}"));
        }
        if self.queues.iter().any(|queue| queue.known == Known::Settings && queue.ready > 0) {
            lines.push("No worker has told yet what a message costs: [backlog] *_ms are used.".to_owned());
        }
        lines.join("\n")
    }
}
