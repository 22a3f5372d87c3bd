//! What a table has and what it misses.

use std::path::Path;
use std::time::Duration;

use crate::services::results::documents::Counts;

/// So many examples are shown of what is missing.
const EXAMPLES: usize = 20;

/// The account of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub documents: u64,
    pub rows: u64,
    /// Documents of a data set that were as they were.
    pub kept: u64,
    /// What should be a document and could not be read: how many, and some of them with the reason.
    pub unread: u64,
    pub examples: Vec<String>,
}

impl Told {
    pub fn unread(&mut self, name: &str, why: &str) {
        self.unread += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{name}: {why}"));
        }
    }

    pub fn join(&mut self, other: Self) {
        self.documents += other.documents;
        self.rows += other.rows;
        self.kept += other.kept;
        self.unread += other.unread;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    pub fn is_whole(&self) -> bool {
        self.unread == 0
    }

    /// One line each: what could not be read, and what there is.
    pub fn lines(&self, counts: &Counts, out: Option<&Path>, elapsed: Duration) -> Vec<String> {
        let mut lines = self.examples.clone();
        if self.unread > self.examples.len() as u64 {
            lines.push(format!("... and {} more", self.unread - self.examples.len() as u64));
        }
        let mut parts = vec![format!("{} documents, {} rows", self.documents, self.rows)];
        for (count, what) in [
            (self.kept, "documents more as they were"),
            (self.unread, "could not be read"),
            (counts.filtered, "left out by conditions"),
            (counts.gone, "gone when their turn came"),
            (counts.others, "files that are no documents"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let seconds = elapsed.as_secs_f64();
        let rate = self.documents as f64 / seconds.max(1e-9);
        let to = out.map_or_else(String::new, |out| format!("\ntable: {}", out.display()));
        lines.push(format!("{}, in {seconds:.1} s ({rate:.0} a second){to}", parts.join(", ")));
        lines
    }
}
