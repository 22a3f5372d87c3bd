use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
struct Item {
    number: usize,
    key: u8,
    bytes: usize,
    arrived: Instant,
    cancelled: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Push { key: u8, bytes: usize, cancelled: bool },
    Take,
    Wait(u64),
}

fn steps(cancelled: f64) -> impl Strategy<Value = Vec<Step>> {
    let push = (0_u8..4, 0_usize..120, prop::bool::weighted(cancelled))
        .prop_map(|(key, bytes, cancelled)| Step::Push { key, bytes, cancelled });
    let step = prop_oneof![4 => push, 2 => Just(Step::Take), 1 => (0_u64..8).prop_map(Step::Wait)];
    prop::collection::vec(step, 1..150)
}

fn limits(linger: impl Strategy<Value = u64>) -> impl Strategy<Value = Limits> {
    (1_usize..6, 1_usize..300, linger).prop_map(|(items, bytes, linger)| Limits {
        items,
        bytes,
        linger: Duration::from_millis(linger),
    })
}

/// The batch that must come, by the plainest means: of all live items in order of arrival, the first that may go names the
/// key, and as many of its followers go with it as the limits allow.
fn expected(live: &[Item], limits: Limits, now: Instant) -> Option<Vec<usize>> {
    live.iter().find_map(|item| {
        let (full, numbers) = batch_of(live, limits, item.key);
        let ripe = numbers[0] == item.number && (full || now - item.arrived >= limits.linger);
        ripe.then_some(numbers)
    })
}

/// Whether the batch of a key is full, and its numbers.
fn batch_of(live: &[Item], limits: Limits, key: u8) -> (bool, Vec<usize>) {
    let (mut numbers, mut bytes, mut full) = (Vec::new(), 0, false);
    for item in live.iter().filter(|item| item.key == key) {
        if numbers.len() == limits.items || (!numbers.is_empty() && bytes + item.bytes > limits.bytes) {
            full = true;
            break;
        }
        bytes += item.bytes;
        numbers.push(item.number);
    }
    (full || numbers.len() == limits.items || bytes >= limits.bytes, numbers)
}

/// Takes a batch from the batcher, the `last` ones without lingering, and compares it with the plain list; whether there
/// was one.
fn take(
    batcher: &mut Batcher<u8, Item>,
    live: &mut Vec<Item>,
    limits: Limits,
    now: Instant,
    last: bool,
) -> Result<bool, TestCaseError> {
    let lingering = Limits { linger: if last { Duration::ZERO } else { limits.linger }, ..limits };
    let wanted = expected(live, lingering, now);
    let batch =
        if last { batcher.take_now(|item| item.cancelled) } else { batcher.take(now, |item| item.cancelled) };
    if let Some(batch) = &batch {
        for (item, arrived) in &batch.items {
            prop_assert_eq!((item.key, item.arrived), (batch.key, *arrived));
        }
    }
    let found = batch.map(|batch| batch.items.iter().map(|(item, _)| item.number).collect::<Vec<_>>());
    prop_assert_eq!(&found, &wanted);
    live.retain(|item| !found.as_ref().is_some_and(|found| found.contains(&item.number)));
    if found.is_none() && !last {
        // The next deadline is the first moment at which time alone brings a batch.
        let first = live.iter().map(|item| item.arrived + limits.linger).min();
        prop_assert_eq!(batcher.next_deadline(), first);
    }
    Ok(found.is_some())
}

/// Plays the steps on the batcher and on the plain list, and compares every batch.
fn play(steps: Vec<Step>, limits: Limits) -> Result<(), TestCaseError> {
    let mut batcher = Batcher::new(limits);
    let mut live: Vec<Item> = Vec::new();
    let (mut pushed, mut cancelled) = (0, 0);
    let mut now = Instant::now();
    for step in steps {
        match step {
            Step::Push { key, bytes, cancelled: gone } => {
                let item = Item { number: pushed, key, bytes, arrived: now, cancelled: gone };
                batcher.push(key, item, bytes, now);
                pushed += 1;
                if gone { cancelled += 1 } else { live.push(item) }
            }
            Step::Take => {
                take(&mut batcher, &mut live, limits, now, false)?;
            }
            Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
        }
        prop_assert!(batcher.len() >= live.len() && batcher.cancelled() <= cancelled);
    }
    while take(&mut batcher, &mut live, limits, now, true)? {}
    prop_assert!(live.is_empty() && batcher.is_empty(), "nothing is lost");
    prop_assert_eq!((batcher.cancelled(), batcher.next_deadline()), (cancelled, None));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn batches_come_oldest_first_within_their_limits(steps in steps(0.2), limits in limits(Just(0))) {
        play(steps, limits)?;
    }

    #[test]
    fn a_linger_ends_when_the_batch_is_full_or_the_head_is_old(steps in steps(0.0), limits in limits(1_u64..10)) {
        play(steps, limits)?;
    }

    #[test]
    fn every_key_is_served_within_one_round(counts in prop::collection::vec(1_usize..30, 2..6)) {
        // Everything waits already: a key with one item must not wait for another key's long queue to end.
        let now = Instant::now();
        let mut batcher = Batcher::new(Limits { items: 1, bytes: usize::MAX, linger: Duration::ZERO });
        let most = counts.iter().copied().max().unwrap_or(0);
        for round in 0..most {
            for (key, _) in counts.iter().enumerate().filter(|(_, count)| round < **count) {
                batcher.push(key, (key, round), 1, now);
            }
        }
        let served: Vec<_> = std::iter::from_fn(|| batcher.take(now, |_| false)).map(|b| b.items[0].0).collect();
        prop_assert!(served.is_sorted_by_key(|(_, round)| *round));
        prop_assert_eq!(served.len(), counts.iter().sum::<usize>());
    }

    #[test]
    fn draining_gives_everything_in_order(keys in prop::collection::vec(0_u8..4, 0..60)) {
        let now = Instant::now();
        let mut batcher = Batcher::new(Limits { items: 4, bytes: 100, linger: Duration::ZERO });
        for (number, key) in keys.iter().enumerate() {
            batcher.push(*key, number, 1, now);
        }
        prop_assert_eq!(batcher.drain(), (0..keys.len()).collect::<Vec<_>>());
        prop_assert!(batcher.is_empty() && batcher.take_now(|_| false).is_none());
    }
}

#[test]
fn a_limit_of_no_items_still_serves() {
    let now = Instant::now();
    let mut batcher = Batcher::new(Limits { items: 0, bytes: 0, linger: Duration::ZERO });
    batcher.push('a', 1, 1000, now);
    batcher.push('a', 2, 1000, now);
    assert_eq!(batcher.take(now, |_| false), Some(Batch { key: 'a', items: vec![(1, now)] }));
}

#[test]
fn cancelled_items_do_not_make_a_lingering_batch_go_early_forever() {
    let now = Instant::now();
    let limits = Limits { items: 2, bytes: usize::MAX, linger: Duration::from_secs(1) };
    let mut batcher = Batcher::new(limits);
    batcher.push('a', false, 1, now);
    batcher.push('a', true, 1, now);
    // The second was cancelled: alone, the first waits for its deadline.
    assert_eq!(batcher.take(now, |cancelled| *cancelled), None);
    assert_eq!(batcher.next_deadline(), Some(now + limits.linger));
    assert!(batcher.take(now + limits.linger, |cancelled| *cancelled).is_some());
    assert_eq!(batcher.cancelled(), 1);
}
