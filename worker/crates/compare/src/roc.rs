//! The area under the ROC curve: the one code of it, whatever numbers images are ranked by.

/// Pairs of a true and a false image, counted tie by tie in ascending order of rank. Counts are weights: those of a bootstrap draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocArea {
    /// Twice the pairs in order, so that ties are whole.
    ordered: u64,
    trues: u64,
    falses: u64,
}

impl RocArea {
    /// Counts the images of the next higher rank, all that have it.
    pub const fn add(&mut self, trues: u64, falses: u64) {
        self.ordered += trues * (2 * self.falses + falses);
        self.trues += trues;
        self.falses += falses;
    }

    pub const fn trues(&self) -> u64 {
        self.trues
    }

    pub const fn falses(&self) -> u64 {
        self.falses
    }

    /// The share of pairs in which the true image has the higher rank; ties count half (Hanley and McNeil 1982). NaN where one class
    /// is missing.
    pub const fn value(&self) -> f64 {
        self.ordered as f64 / (2.0 * self.trues as f64 * self.falses as f64)
    }
}
