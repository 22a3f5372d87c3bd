//! Tells an outage from a bad blob, container by container. Pure: the caller brings the events and acts on the answers.
//!
//! A container's breaker opens after a run of failures on different blobs, and closes when what failed last works again.
//! The account is away when its results are, or all of its sources.

use std::collections::BTreeMap;

use nightread_domain::{BlobRef, ErrorCode, JobError};

/// What was asked of storage, so that a probe can ask the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Whether the container answers.
    Container(String),
    Properties(BlobRef),
    /// The bytes of a blob, all or some.
    Read(BlobRef),
    /// So many bytes into a blob.
    Write(BlobRef, usize),
}

impl Call {
    pub fn container(&self) -> &str {
        match self {
            Self::Container(container) => container,
            Self::Properties(blob) | Self::Read(blob) | Self::Write(blob, _) => blob.container(),
        }
    }

    fn blob(&self) -> Option<&BlobRef> {
        match self {
            Self::Container(_) => None,
            Self::Properties(blob) | Self::Read(blob) | Self::Write(blob, _) => Some(blob),
        }
    }

    /// What was asked, without the name of a blob.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Container(_) => "asking the container",
            Self::Properties(_) => "looking at a blob",
            Self::Read(_) => "reading a blob",
            Self::Write(..) => "writing a blob",
        }
    }
}

/// What closed a container.
#[derive(Clone, Debug)]
struct Open {
    call: Call,
    code: ErrorCode,
    why: String,
}

#[derive(Clone, Debug, Default)]
struct Container {
    /// Failures with no answer between, on different blobs.
    in_a_row: u32,
    last: Option<Call>,
    /// Whether anything was answered since the last refusal, or ever when there was none.
    answered: bool,
    open: Option<Open>,
}

/// The breakers of one account.
#[derive(Clone, Debug)]
pub struct Breakers {
    threshold: u32,
    sources: Vec<String>,
    results: String,
    containers: BTreeMap<String, Container>,
    /// Failures in a row, whatever the container.
    in_a_row: u32,
}

impl Breakers {
    /// `threshold`: how many failures in a row mean an outage. Without `sources` nothing ever opens.
    pub fn new(threshold: u32, sources: Vec<String>, results: String) -> Self {
        let names = sources.iter().chain([&results]).cloned();
        let containers = names.map(|name| (name, Container::default())).collect();
        Self { threshold: threshold.max(1), sources, results, containers, in_a_row: 0 }
    }

    /// Storage did what was asked, or could not for a reason of the blob's own (404 proves that it answers).
    pub fn answered(&mut self, container: &str) {
        self.in_a_row = 0;
        let state = self.state(container);
        // While open only a probe closes it: late answers of the time before prove nothing.
        if state.open.is_none() {
            state.in_a_row = 0;
            state.last = None;
            state.answered = true;
        }
    }

    /// A failure outlived its retries. True when this one opened the container.
    pub fn failed(&mut self, call: &Call, error: &JobError) -> bool {
        let known = self.state(call.container());
        // One blob that fails again and again tells nothing of the others.
        let is_another = known.last.as_ref().is_none_or(|last| last.blob() != call.blob());
        known.in_a_row = known.in_a_row.saturating_add(u32::from(is_another));
        known.last = Some(call.clone());
        let (here, is_closed) = (known.in_a_row, known.open.is_none());
        self.in_a_row = self.in_a_row.saturating_add(u32::from(is_another));
        // A disk that takes nothing is no blob's fault, from the first time on.
        let at_once = error.code == ErrorCode::StorageUnwritable;
        is_closed && (at_once || here.max(self.in_a_row) >= self.threshold) && self.open(call, error)
    }

    /// Opens a container at once. False when it was open, or when nothing is to be opened here.
    pub fn open(&mut self, call: &Call, error: &JobError) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let why = format!("{} in {}: {}", call.as_str(), call.container(), error.message);
        let known = self.state(call.container());
        if known.open.is_some() {
            return false;
        }
        known.open = Some(Open { call: call.clone(), code: error.code, why });
        true
    }

    /// Whether a refusal is the blob's own: others of its container were let in since the refusal before. Asked once for
    /// each refusal.
    pub fn is_own_refusal(&mut self, container: &str) -> bool {
        let known = self.state(container);
        std::mem::take(&mut known.answered) && known.open.is_none()
    }

    /// What opened this container, while it is open.
    pub fn why_open(&self, container: &str) -> Option<(ErrorCode, &str)> {
        self.containers.get(container)?.open.as_ref().map(|open| (open.code, open.why.as_str()))
    }

    /// Why no job can end: results cannot be written, or nothing can be read.
    pub fn paused(&self) -> Option<(ErrorCode, &str)> {
        let sources: Option<Vec<_>> = self.sources.iter().map(|name| self.why_open(name)).collect();
        self.why_open(&self.results).or_else(|| sources?.first().copied())
    }

    /// What opened each open container, and why it was not done.
    pub fn open_calls(&self) -> Vec<(Call, ErrorCode)> {
        let open = self.containers.values().filter_map(|known| known.open.as_ref());
        open.map(|open| (open.call.clone(), open.code)).collect()
    }

    /// The containers that are not open.
    pub fn closed(&self) -> Vec<String> {
        let closed = self.containers.iter().filter(|(_, known)| known.open.is_none());
        closed.map(|(name, _)| name.clone()).collect()
    }

    /// A probe of the container passed.
    pub fn probe_passed(&mut self, container: &str) {
        self.in_a_row = 0;
        *self.state(container) = Container::default();
    }

    fn state(&mut self, container: &str) -> &mut Container {
        self.containers.entry(container.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::Stage;
    use proptest::prelude::*;

    use super::*;

    fn breakers(threshold: u32) -> Breakers {
        Breakers::new(threshold, vec!["aaa".to_owned(), "bbb".to_owned()], "results".to_owned())
    }

    fn looking(container: &str, number: usize) -> Call {
        Call::Properties(BlobRef::new(container, format!("{number}.png")).expect("a name"))
    }

    fn refused() -> JobError {
        JobError::new(
            Stage::Fetch,
            ErrorCode::StorageForbidden,
            "storage does not let us: AuthorizationFailure",
        )
    }

    #[test]
    fn one_refused_container_of_two_pauses_nothing() {
        let mut breakers = breakers(3);
        for number in 0..10 {
            breakers.answered("aaa");
            breakers.answered("results");
            assert_eq!(breakers.failed(&looking("bbb", number), &refused()), number == 2);
        }
        assert!(breakers.why_open("bbb").is_some() && breakers.why_open("aaa").is_none());
        assert_eq!(breakers.paused(), None);
        breakers.answered("bbb");
        assert!(breakers.why_open("bbb").is_some(), "a late answer proves nothing");
        let asked_again = [(looking("bbb", 2), ErrorCode::StorageForbidden)];
        assert_eq!(breakers.open_calls(), asked_again, "what is asked again is what was refused");
        breakers.probe_passed("bbb");
        assert_eq!(breakers.why_open("bbb"), None);
    }

    #[test]
    fn results_or_all_sources_away_pause() {
        let mut results = breakers(1);
        let write = Call::Write(BlobRef::new("results", "a.json").expect("a name"), 7);
        assert!(results.failed(&write, &refused()));
        assert!(results.paused().is_some_and(|(_, why)| why.contains("writing a blob in results")));
        let mut sources = breakers(1);
        assert!(sources.failed(&looking("aaa", 1), &refused()));
        assert_eq!(sources.paused(), None);
        assert!(sources.open(&Call::Container("bbb".to_owned()), &refused()));
        assert!(sources.paused().is_some());
        sources.probe_passed("aaa");
        assert_eq!(sources.paused(), None);
    }

    #[test]
    fn failures_in_several_containers_count_together() {
        let mut breakers = breakers(4);
        let calls = ["aaa", "bbb", "results", "aaa"].into_iter().enumerate();
        let opened: Vec<_> =
            calls.map(|(number, name)| breakers.failed(&looking(name, number), &refused())).collect();
        assert_eq!(opened, [false, false, false, true]);
    }

    #[test]
    fn one_blob_alone_opens_nothing_and_its_refusal_is_its_own_only_beside_answers() {
        let mut breakers = breakers(2);
        assert!(!breakers.is_own_refusal("aaa"), "nothing was ever let in there");
        breakers.answered("aaa");
        for _ in 0..10 {
            assert!(!breakers.failed(&looking("aaa", 7), &refused()));
        }
        assert!(breakers.is_own_refusal("aaa"), "others were let in");
        assert!(!breakers.is_own_refusal("aaa"), "and none since");
        breakers.answered("aaa");
        assert!(breakers.is_own_refusal("aaa"));
    }

    #[test]
    fn a_disk_that_takes_nothing_opens_at_once() {
        let mut breakers = breakers(5);
        let full = JobError::new(Stage::Store, ErrorCode::StorageUnwritable, "no space left");
        let write = Call::Write(BlobRef::new("results", "a.json").expect("a name"), 1 << 20);
        assert!(breakers.failed(&write, &full) && !breakers.failed(&write, &full));
        assert_eq!(breakers.open_calls(), [(write, ErrorCode::StorageUnwritable)]);
    }

    #[test]
    fn without_sources_nothing_opens() {
        let mut breakers = Breakers::new(1, Vec::new(), "results".to_owned());
        assert!(!breakers.failed(&looking("local", 1), &refused()));
        assert_eq!(breakers.paused(), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Answered,
        Failed,
        ProbePassed,
    }

    proptest! {
        #[test]
        fn it_is_open_exactly_from_the_nth_failure_in_a_row_to_the_next_probe(
            threshold in 1_u32..6,
            events in prop::collection::vec(prop_oneof![
                Just(Event::Answered), Just(Event::Failed), Just(Event::ProbePassed)
            ], 0..60),
        ) {
            let mut breakers = breakers(threshold);
            let (mut run, mut open) = (0, false);
            for (number, event) in events.into_iter().enumerate() {
                match event {
                    Event::Answered => { breakers.answered("aaa"); if !open { run = 0; } }
                    Event::Failed => {
                        let opened = breakers.failed(&looking("aaa", number), &refused());
                        run += 1;
                        prop_assert_eq!(opened, !open && run >= threshold);
                        open |= run >= threshold;
                    }
                    Event::ProbePassed => { breakers.probe_passed("aaa"); run = 0; open = false; }
                }
                prop_assert_eq!(breakers.why_open("aaa").is_some(), open);
                prop_assert_eq!(breakers.paused(), None, "the other source answers");
            }
        }
    }
}
