//! Whether an archive is to be sent anything. Pure: the caller brings what happened, and acts on the answers.
//!
//! Opens after a run of failures on different results, and at once while nothing has proved that sending works: at the start, and
//! after a probe. A question that an archive answers (C-ECHO, QIDO-RS) does not prove that it stores.

use std::time::Duration;

use nightread_domain::{BlobRef, ErrorCode, JobError};

use crate::pipeline::breaker::{Breakers, Call};

/// The longest wait between two probes.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(super) struct Reach {
    name: String,
    breakers: Breakers,
    /// Whether anything was answered since it opened last, or since the start.
    proved: bool,
    /// Times that it opened with nothing answered between.
    in_vain: u32,
    why: Option<JobError>,
}

/// Whether a failure tells of the archive, and not of what was sent.
pub(super) const fn tells_of_archive(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DeliveryUnavailable
            | ErrorCode::DeliveryTimeout
            | ErrorCode::DeliveryNoRoom
            | ErrorCode::DeliveryForbidden
    )
}

impl Reach {
    /// `threshold`: how many failures in a row, on different results, close an archive that worked before.
    pub fn new(name: &str, threshold: u32) -> Self {
        let breakers = Breakers::new(threshold, vec![name.to_owned()], name.to_owned());
        Self { name: name.to_owned(), breakers, proved: false, in_vain: 0, why: None }
    }

    /// Why nothing is sent, while nothing is.
    pub fn why_closed(&self) -> Option<&JobError> {
        self.why.as_ref()
    }

    /// The archive judged an object, well or not.
    pub fn answered(&mut self) {
        // Late answers of the time before prove nothing.
        if self.why.is_none() {
            self.breakers.answered(&self.name);
            self.proved = true;
            self.in_vain = 0;
        }
    }

    /// A sending failed in a way that [tells of the archive](tells_of_archive). Whether the archive is to blame: then no attempt
    /// counts, and nothing is sent until a probe passes.
    pub fn failed(&mut self, result: &BlobRef, error: &JobError) -> bool {
        if self.why.is_some() {
            return true;
        }
        let call = BlobRef::new(self.name.as_str(), result.name())
            .map_or_else(|_| Call::Container(self.name.clone()), Call::Read);
        let opened =
            if self.proved { self.breakers.failed(&call, error) } else { self.breakers.open(&call, error) };
        if opened {
            self.why = Some(error.clone());
            self.in_vain = if self.proved { 0 } else { self.in_vain.saturating_add(1) };
            self.proved = false;
        }
        opened
    }

    /// It answered a question. What is sent next shows whether it stores.
    pub fn probe_passed(&mut self) {
        self.breakers.probe_passed(&self.name);
        self.why = None;
    }

    /// Until the next probe: longer where one passed after the other in vain.
    pub fn wait(&self, usual: Duration) -> Duration {
        usual.saturating_mul(1 << self.in_vain.saturating_sub(1).min(8)).clamp(usual, LONGEST_WAIT.max(usual))
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::Stage;

    use super::*;

    fn away() -> JobError {
        JobError::new(Stage::Deliver, ErrorCode::DeliveryUnavailable, "it does not answer")
    }

    fn result(number: usize) -> BlobRef {
        BlobRef::new("results", format!("{number}.json")).expect("a name")
    }

    #[test]
    fn an_archive_that_was_never_seen_to_store_closes_at_the_first_failure() {
        let mut reach = Reach::new("pacs", 5);
        assert!(reach.failed(&result(1), &away()), "no attempt counts");
        assert_eq!(reach.why_closed().map(|why| why.code), Some(ErrorCode::DeliveryUnavailable));
        // It answers questions, and breaks every association: an attempt is never counted, and probes become rare.
        let usual = Duration::from_secs(5);
        let mut waits = Vec::new();
        for number in 2..9 {
            waits.push(reach.wait(usual).as_secs());
            reach.probe_passed();
            assert!(reach.why_closed().is_none() && reach.failed(&result(number), &away()));
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
        reach.probe_passed();
        reach.answered();
        assert_eq!(reach.wait(usual), usual);
    }

    #[test]
    fn one_result_alone_closes_nothing_and_several_in_a_row_do() {
        let mut reach = Reach::new("pacs", 3);
        reach.answered();
        for _ in 0..10 {
            assert!(!reach.failed(&result(1), &away()), "its own failure: an attempt counts");
        }
        reach.answered();
        let blamed: Vec<_> = (1..=4).map(|number| reach.failed(&result(number), &away())).collect();
        assert_eq!(blamed, [false, false, true, true]);
        reach.answered();
        assert!(reach.why_closed().is_some(), "a late answer proves nothing");
    }

    #[test]
    fn what_the_archive_says_of_an_object_tells_nothing_of_the_archive() {
        for code in ErrorCode::ALL.iter().filter(|code| code.as_str().starts_with("delivery_")) {
            let own = matches!(
                code,
                ErrorCode::DeliveryRefused | ErrorCode::DeliveryUnsupported | ErrorCode::DeliveryUnconfirmed
            );
            assert_eq!(tells_of_archive(*code), !own, "{code}");
        }
    }
}
