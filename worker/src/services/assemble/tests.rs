//! The same files make the same sets, whatever came in between: other orders, repeats, other replicas, and deaths at any instant.

use std::collections::BTreeMap;
use std::time::Duration;

use nightread_domain::set::SetDocument;
use nightread_domain::{BlobRef, ETag};
use proptest::prelude::*;

use super::state::{Moment, Put, SeriesState, Step};
use crate::readings::instance::SeriesMember;

const QUIET: Duration = Duration::from_millis(100);
const LEASE: Moment = 250;
const REPLICAS: usize = 3;

fn key(instance_uid: &str, expected: Option<u32>) -> SeriesMember {
    SeriesMember {
        series_uid: "1.2".to_owned(),
        instance_uid: Some(instance_uid.to_owned()),
        modality: Some("CT".to_owned()),
        expected,
    }
}

fn empty() -> SeriesState {
    SeriesState::new(&BlobRef::parse("incoming/ct/1.2").expect("a name"), "1.2")
}

fn etag(version: u32) -> ETag {
    ETag(format!("0x{version}"))
}

/// Puts files of version 1 one after the other, at these moments.
fn with(state: &mut SeriesState, files: &[(&str, Moment)], expected: Option<u32>) {
    for (name, at) in files {
        state.put(name, &etag(1), &key(name, expected), *at);
    }
}

#[test]
fn a_series_waits_for_quiet_and_a_late_file_makes_another_version() {
    let mut state = empty();
    assert_eq!(state.step(0, QUIET).expect("sound"), Step::Settled, "nothing came");
    with(&mut state, &[("a", 1_000), ("b", 1_050)], None);
    assert_eq!(state.step(1_100, QUIET).expect("sound"), Step::Wait(1_150));
    let Step::Announce(first) = state.step(1_150, QUIET).expect("sound") else { panic!("due") };
    state.begin(&first, 1_400);
    assert_eq!(state.step(1_200, QUIET).expect("sound"), Step::Wait(1_400), "another has begun it");
    state.record(&first);
    assert_eq!(state.step(9_999, QUIET).expect("sound"), Step::Settled);
    assert_eq!(state.put("a", &etag(1), &key("a", None), 9_999), Put::Known);
    assert_eq!(state.step(9_999, QUIET).expect("sound"), Step::Settled, "a repeat changes nothing");
    with(&mut state, &[("c", 20_000)], None);
    let Step::Announce(second) = state.step(20_100, QUIET).expect("sound") else { panic!("due") };
    assert_ne!(first, second);
}

#[test]
fn a_series_that_is_complete_by_its_own_headers_waits_for_nothing() {
    let mut state = empty();
    with(&mut state, &[("a", 1_000), ("b", 1_001)], Some(3));
    // The same instance under another name does not make it complete.
    state.put("copy of b", &etag(1), &key("b", Some(3)), 1_002);
    assert!(matches!(state.step(1_003, QUIET).expect("sound"), Step::Wait(_)));
    with(&mut state, &[("c", 1_004)], Some(3));
    let Step::Announce(version) = state.step(1_004, QUIET).expect("sound") else { panic!("complete") };
    state.begin(&version, 1_300);
    state.record(&version);
    // Sent again as a whole, it is one new version and not three.
    for (name, at) in [("a", 2_000), ("b", 2_050), ("c", 2_099)] {
        state.put(name, &etag(2), &key(name, Some(3)), at);
        assert!(matches!(state.step(at, QUIET).expect("sound"), Step::Wait(_)), "{name}");
    }
    assert!(matches!(state.step(2_199, QUIET).expect("sound"), Step::Announce(_)));
}

#[test]
fn more_than_a_series_may_have_is_never_announced_as_a_whole() {
    let mut state = empty();
    for number in 0..4_096 {
        let name = format!("{number}");
        assert_eq!(state.put(&name, &etag(1), &key(&name, None), 1), Put::Added);
    }
    assert_eq!(state.put("one more", &etag(1), &key("x", None), 1), Put::TooMany);
    assert_eq!(state.put("7", &etag(2), &key("7", None), 1), Put::Added, "a new version of one is no more");
    assert_eq!(state.step(9_999, QUIET).expect("sound"), Step::Settled);
}

#[test]
fn an_older_version_is_not_recorded_over_a_newer_one() {
    let mut state = empty();
    with(&mut state, &[("a", 1)], None);
    let first = state.version().expect("sound");
    state.begin(&first, 100);
    with(&mut state, &[("b", 2)], None);
    let second = state.version().expect("sound");
    state.begin(&second, 200);
    state.record(&second);
    state.record(&first);
    assert_eq!(state.announced.map(|announced| announced.version), Some(second));
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let mut state = empty();
    with(&mut state, &[("ü/a", 1_000)], Some(2));
    state.begin("v", 7);
    let kept = serde_json::to_vec(&state).expect("it serialises");
    assert_eq!(serde_json::from_slice::<SeriesState>(&kept).expect("it parses"), state);
}

/// What the store and the broker have.
#[derive(Default)]
struct World {
    clock: Moment,
    /// With the number of its change.
    state: Option<(SeriesState, u32)>,
    set: Option<(SetDocument, u32)>,
    /// By version: how often it was published, and how often its publisher died before it had recorded that.
    published: BTreeMap<String, (u32, u32)>,
}

/// How far a replica is with an announcement; what it has read before is all that it knows.
#[derive(Clone, Default)]
enum At {
    #[default]
    Nothing,
    SetSeen(Option<u32>),
    Begun(String, Box<SetDocument>, Option<u32>),
    Written(String),
    Published(String),
}

impl World {
    /// `false` when another has changed the state meanwhile.
    fn keep(&mut self, state: SeriesState, seen: Option<u32>) -> bool {
        let current = self.state.as_ref().map(|(_, number)| *number);
        if current == seen {
            self.state = Some((state, current.unwrap_or(0) + 1));
        }
        current == seen
    }

    fn file(&mut self, name: &str, expected: Option<u32>) {
        let (mut state, seen) =
            self.state.clone().map_or((empty(), None), |(state, number)| (state, Some(number)));
        state.put(name, &etag(1), &key(name, expected), self.clock);
        assert!(self.keep(state, seen), "nothing came between");
    }

    /// One step of a replica that announces, as `Closer` goes them.
    fn go_on(&mut self, at: At) -> At {
        match at {
            At::Nothing => At::SetSeen(self.set.as_ref().map(|(_, number)| *number)),
            At::SetSeen(set) => {
                let Some((mut state, number)) = self.state.clone() else { return At::Nothing };
                let Step::Announce(version) = state.step(self.clock, QUIET).expect("sound") else {
                    return At::Nothing;
                };
                state.begin(&version, self.clock + LEASE);
                let document = Box::new(state.set());
                if self.keep(state, Some(number)) { At::Begun(version, document, set) } else { At::Nothing }
            }
            At::Begun(version, document, seen) => {
                if self.set.as_ref().map(|(_, number)| *number) == seen {
                    self.set = Some((*document, seen.unwrap_or(0) + 1));
                    return At::Written(version);
                }
                let (mut state, number) = self.state.clone().expect("begun");
                state.give_up(&version);
                assert!(self.keep(state, Some(number)));
                At::Nothing
            }
            At::Written(version) => {
                self.published.entry(version.clone()).or_default().0 += 1;
                At::Published(version)
            }
            At::Published(version) => {
                let (mut state, number) = self.state.clone().expect("begun");
                state.record(&version);
                assert!(self.keep(state, Some(number)));
                At::Nothing
            }
        }
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A file is announced, for the first time or again.
    File(u8),
    GoOn(usize),
    /// SIGKILL, and a new one in its place.
    Kill(usize),
    Pass(Moment),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6_u8).prop_map(Event::File),
        8 => (0..REPLICAS).prop_map(Event::GoOn),
        1 => (0..REPLICAS).prop_map(Event::Kill),
        3 => (1..150_u64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_and_any_deaths_end_in_the_same_set_announced(
        events in events(), expected in prop_oneof![Just(None), (1..8_u32).prop_map(Some)],
    ) {
        let mut world = World::default();
        let mut replicas: [At; REPLICAS] = std::array::from_fn(|_| At::Nothing);
        let all = (0..6).map(Event::File);
        for event in events.into_iter().chain(all) {
            match event {
                Event::File(number) => world.file(&format!("{number}.dcm"), expected),
                Event::GoOn(replica) => {
                    replicas[replica] = world.go_on(std::mem::take(&mut replicas[replica]));
                }
                Event::Kill(replica) => {
                    if let At::Published(version) = std::mem::take(&mut replicas[replica]) {
                        world.published.get_mut(&version).expect("published").1 += 1;
                    }
                }
                // No replica is slower than its time: the real ones give up before.
                Event::Pass(time) if replicas.iter().all(|at| matches!(at, At::Nothing | At::SetSeen(_))) => {
                    world.clock += time;
                }
                Event::Pass(_) => {}
            }
        }
        // Those that live go on, and time passes.
        for _ in 0..40 {
            for replica in &mut replicas {
                for _ in 0..5 {
                    *replica = world.go_on(std::mem::take(replica));
                }
                while !matches!(replica, At::Nothing) {
                    *replica = world.go_on(std::mem::take(replica));
                }
            }
            world.clock += 50;
        }
        let (state, _) = world.state.expect("files came");
        let mut whole = empty();
        for number in 0..6 {
            let name = format!("{number}.dcm");
            whole.put(&name, &etag(1), &key(&name, expected), 1);
        }
        let version = whole.version().expect("sound");
        prop_assert_eq!(&state.version().expect("sound"), &version);
        prop_assert_eq!(state.announced.as_ref().map(|announced| &announced.version), Some(&version));
        prop_assert_eq!(&world.set.expect("written").0, &whole.set());
        prop_assert!(world.published.contains_key(&version));
        for (version, (times, died)) in world.published {
            prop_assert!(times >= 1 && times <= 1 + died, "{version}: {times} times, {died} deaths before the record");
        }
    }
}
