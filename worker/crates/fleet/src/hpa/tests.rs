//! Held against what Kubernetes' own tests of its controller expect, written down as numbers in `vectors.json`.

use serde::Deserialize;

use super::super::rules::DEPLOYED;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Events lie before it.
const NOW: Duration = Duration::from_hours(10);

#[derive(Deserialize)]
struct Vectors {
    usage: Vec<Used>,
    stabilisation: Vec<Stabilisation>,
    rate: Vec<Rate>,
}

#[derive(Deserialize)]
struct Used {
    count: usize,
    usage: f64,
    target: f64,
    expected: usize,
}

#[derive(Deserialize)]
struct Stabilisation {
    name: String,
    /// Recommended, and so many seconds ago.
    recommended: Vec<(usize, u64)>,
    count: usize,
    wanted: usize,
    up_seconds: u64,
    down_seconds: u64,
    expected: usize,
}

#[derive(Deserialize)]
struct Rate {
    name: String,
    /// Changes that are spread evenly over the last two minutes.
    #[serde(default)]
    added: Vec<usize>,
    #[serde(default)]
    removed: Vec<usize>,
    least: usize,
    most: usize,
    /// Pods and their period in seconds, percent and theirs; 0 is none. Without it Kubernetes' defaults hold.
    up: Option<[u64; 4]>,
    down: Option<[u64; 4]>,
    count: usize,
    wanted: usize,
    expected: usize,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).expect("the vectors are JSON")
}

fn limits([pods, pods_period, percent, percent_period]: [u64; 4]) -> Direction {
    let pods = (pods > 0)
        .then(|| Limit { change: Change::Pods(pods as usize), period: SECOND * pods_period as u32 });
    let percent = (percent > 0)
        .then(|| Limit { change: Change::Percent(percent as f64), period: SECOND * percent_period as u32 });
    Direction { stabilisation: Duration::ZERO, limits: pods.into_iter().chain(percent).collect() }
}

fn policy(up: Direction, down: Direction) -> Policy {
    Policy { target: 1.0, tolerance: 0.1, up, down, cooldown: Duration::ZERO }
}

/// In the middle of equal parts of the last two minutes.
fn spread(changes: &[usize]) -> Vec<(Duration, usize)> {
    let part = 120.0 / changes.len().max(1) as f64;
    let ago = |index: usize| 120.0 - part * (index as f64 + 0.5);
    changes
        .iter()
        .enumerate()
        .map(|(index, change)| (NOW.saturating_sub(SECOND.mul_f64(ago(index))), *change))
        .collect()
}

#[test]
fn replicas_of_a_sum_are_those_of_kubernetes() {
    let all = vectors().usage;
    assert_eq!(all.len(), 3);
    for Used { count, usage, target, expected } in all {
        let mut policy = policy(limits([0; 4]), limits([0; 4]));
        policy.target = target;
        assert_eq!(policy.wanted(usage, count), expected, "{usage} for {target} each");
    }
}

#[test]
fn recommendations_are_stabilised_as_by_kubernetes() {
    let all = vectors().stabilisation;
    assert_eq!(all.len(), 11);
    for vector in all {
        let direction =
            |seconds: u64| Direction { stabilisation: SECOND * seconds as u32, limits: Vec::new() };
        let mut hpa = Hpa::new(policy(direction(vector.up_seconds), direction(vector.down_seconds)));
        hpa.recommendations = vector
            .recommended
            .iter()
            .map(|(count, ago)| (NOW.saturating_sub(SECOND * *ago as u32), *count))
            .collect();
        assert_eq!(hpa.stabilised(NOW, vector.count, vector.wanted), vector.expected, "{}", vector.name);
    }
}

#[test]
fn changes_are_limited_as_by_kubernetes() {
    let all = vectors().rate;
    assert_eq!(all.len(), 42);
    for vector in all {
        let up = limits(vector.up.unwrap_or([4, 15, 100, 15]));
        let down = limits(vector.down.unwrap_or([0, 0, 100, 15]));
        let mut hpa = Hpa::new(policy(up, down));
        (hpa.added, hpa.removed) = (spread(&vector.added), spread(&vector.removed));
        let decided = hpa.limited(NOW, (vector.least, vector.most), vector.count, vector.wanted);
        assert_eq!(decided, vector.expected, "{}", vector.name);
    }
}

/// The counts at each look, 15 seconds apart, under a constant sum.
fn counts(usage: f64, start: usize, bounds: (usize, usize), looks: u32) -> Vec<usize> {
    let constants = Constants::parse(DEPLOYED).expect("sound");
    let (mut hpa, mut count) = (Hpa::new(Policy::of(&constants)), start);
    (1..=looks)
        .map(|look| {
            count = hpa.decide(SECOND * 15 * look, bounds, count, Some(usage));
            count
        })
        .collect()
}

#[test]
fn the_deployed_policy_goes_out_by_four_a_minute_and_in_by_four_in_five_minutes() {
    let out = counts(20.0 * 600.0, 1, (1, 20), 24);
    assert_eq!([out[0], out[3], out[4], out[8]], [5, 5, 9, 13]);
    assert_eq!(*out.last().expect("some"), 20);
    // Ten minutes later at the earliest: until then a higher one was recommended.
    let constants = Constants::parse(DEPLOYED).expect("sound");
    let mut hpa = Hpa::new(Policy::of(&constants));
    let mut count = hpa.decide(Duration::ZERO, (1, 20), 12, Some(12.0 * 600.0));
    let mut seen = Vec::new();
    for look in 1..=80 {
        count = hpa.decide(SECOND * 15 * look, (1, 20), count, Some(0.0));
        seen.push(count);
    }
    assert_eq!((seen[38], seen[39], seen[58], seen[59], seen[79]), (12, 8, 8, 4, 1));
}

#[test]
fn none_is_left_after_a_while_without_work_and_the_first_message_brings_one() {
    let idle = counts(0.0, 1, (0, 20), 41);
    assert_eq!((idle[38], idle[39]), (1, 0), "600 s");
    assert_eq!(counts(1.0, 0, (0, 20), 1), [1]);
    assert_eq!(counts(0.0, 0, (0, 20), 1), [0]);
    assert_eq!(counts(0.0, 0, (1, 20), 1), [1], "by day");
    assert_eq!(counts(1e9, 30, (1, 20), 1), [20]);
}
