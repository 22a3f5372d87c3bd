//! Long runs whose account or figures are printed: `soak chaos|cluster|mixed|lies|stopped|clock|oom|descriptors|memory|disk|outage|fairness|beside|overhead|throughput|backpressure|announce|relabel|relay|deliver|simulate
//! [numbers]`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::Duration;

use nightread_tests::account::Account;
use nightread_tests::cgroup::Room;
use nightread_tests::chaos::{self, Plan};
use nightread_tests::cluster_storm::{self, Weather};
use nightread_tests::little::Want;
use nightread_tests::{
    announcing, beside, delivering, lies, little, little_room, measure, mixed, queues, simulated,
};

const USAGE: &str = "usage: soak chaos [blobs kills seed] | cluster [blobs kills seconds] | stopped [blobs seconds] | clock [blobs seconds] | \
                     oom [blobs kills] | descriptors [blobs] | memory [announcements mebibytes] | \
                     disk [announcements times seconds] | lies [blobs seconds] | outage [announcements seconds] | \
                     fairness [bulk arrivals] | beside [arrivals slices mm cts] | overhead [jobs] | throughput [images rounds] | backpressure [announcements jobs] | \
                     announce [published counted] | relabel [blobs kills] | relay [events kills] | deliver [results] | simulate [jobs milliseconds] | mixed EARLIER_BINARY [blobs times kills]";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let number =
        |index: usize, default: usize| words.get(index).and_then(|word| word.parse().ok()).unwrap_or(default);
    match words.first().map_or("chaos", String::as_str) {
        "chaos" => return storm(number(1, 1000), number(2, 20), number(3, 1)).await,
        "cluster" => return clustered(number(1, 5_000), number(2, 50), number(3, 120)).await,
        "stopped" => {
            let stop = Duration::from_secs(number(2, 600) as u64);
            return told(little::stopped("soak", number(1, 500), stop, 20).await.as_ref().map(sound));
        }
        "clock" => {
            let off = Duration::from_secs(number(2, 60) as u64);
            return told(little::clock("soak", number(1, 500), off).await.as_ref().map(sound));
        }
        "oom" => {
            return told(
                little::out_of_memory("soak", number(1, 500), number(2, 10), Want::Killed)
                    .await
                    .as_ref()
                    .map(sound),
            );
        }
        "descriptors" => {
            return told(little::descriptors("soak", number(1, 1_000)).await.as_ref().map(sound));
        }
        "memory" => {
            let bytes = (number(2, 256) as u64) << 20;
            let account = little_room::memory("soak", number(1, 600), Room::new(bytes, bytes)).await;
            return told(account.map(|account| (account.to_string(), account.problems.is_empty())));
        }
        "disk" => {
            let full = Duration::from_secs(number(3, 60) as u64);
            let account = little_room::full_disk("soak", number(1, 1_000), number(2, 5), full).await;
            return told(account.map(|account| (account.to_string(), account.problems.is_empty())));
        }
        "lies" => return lying(number(1, 2_000), number(2, 60)).await,
        "deliver" => delivering::rate(number(1, 1_000)).await,
        "outage" => measure::outage(number(1, 1000), Duration::from_secs(number(2, 600) as u64)).await,
        "fairness" => measure::fairness(number(1, 50_000), number(2, 60)).await,
        "beside" => beside::beside(number(1, 60), number(2, 300), number(3, 3) as f64, number(4, 2)).await,
        "overhead" => measure::overhead(number(1, 5_000)).await,
        "throughput" => measure::throughput(number(1, 300), number(2, 3)).await,
        "backpressure" => measure::backpressure(number(1, 10_000), number(2, 300)).await,
        "announce" => announcing::throughput(number(1, 1_000_000), number(2, 10_000_000)).await,
        "relay" => queues::storm(number(1, 2_000), number(2, 20)).await,
        "relabel" => announcing::relabel(number(1, 5_000), number(2, 3)).await,
        "mixed" => {
            let Some(earlier) = words.get(1) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            let mixture = mixed::run("soak", earlier, number(2, 200), number(3, 5), number(4, 20)).await;
            return told(mixture.map(|mixture| (mixture.to_string(), mixture.problems.is_empty())));
        }
        "simulate" => {
            simulated::compare(number(1, 150), Duration::from_millis(number(2, 1000) as u64)).await;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

async fn lying(blobs: usize, seconds: usize) -> ExitCode {
    let plan = lies::Plan {
        blobs,
        share: 0.3,
        busy_for_a_day: 0.01,
        refusal: Duration::from_secs(seconds as u64),
        patience: Duration::from_hours(1),
    };
    let account = lies::run("soak", plan).await;
    told(account.map(|account| (account.to_string(), account.problems.is_empty())))
}

/// Every kind of weather once, with `seconds` for what lasts.
async fn clustered(blobs: usize, kills: usize, seconds: usize) -> ExitCode {
    let time = Duration::from_secs(seconds as u64);
    let plan = cluster_storm::Plan {
        seed: 1,
        blobs,
        workers: 3,
        kills,
        longest_life: Duration::from_secs(20),
        heartbeat: 20,
        weather: vec![
            Weather::LeaderKilled(time / 6),
            Weather::Isolated(time),
            Weather::CutOff(time),
            Weather::TwoLost(time / 2),
            Weather::RollingRestart,
            Weather::MemoryAlarm(time / 4),
            Weather::DiskAlarm(time / 4),
        ],
        patience: Duration::from_hours(1),
    };
    told(cluster_storm::run("soak", plan).await.as_ref().map(sound))
}

fn sound(account: &Account) -> (String, bool) {
    (account.to_string(), account.problems.is_empty())
}

/// Prints an account; failure where it is unsound, or there is none.
fn told(account: Option<(String, bool)>) -> ExitCode {
    let Some((text, is_sound)) = account else { return ExitCode::FAILURE };
    println!("{text}");
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn storm(blobs: usize, kills: usize, seed: usize) -> ExitCode {
    let plan = Plan {
        seed: seed as u64,
        blobs,
        workers: 2,
        kills,
        broker_restarts: 2,
        faults: 0.1,
        longest_life: Duration::from_secs(8),
        patience: Duration::from_hours(1),
    };
    told(chaos::run("soak", plan).await.as_ref().map(sound))
}
