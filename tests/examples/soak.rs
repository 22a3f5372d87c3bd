//! Long runs whose account or figures are printed: `soak chaos|lies|outage|fairness|overhead|throughput|backpressure|announce|relabel|relay|simulate
//! [numbers]`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::Duration;

use nightread_tests::chaos::{self, Plan};
use nightread_tests::{announcing, lies, measure, queues, simulated};

const USAGE: &str = "usage: soak chaos [blobs kills seed] | lies [blobs seconds] | outage [announcements seconds] | \
                     fairness [bulk arrivals] | overhead [jobs] | throughput [pictures rounds] | backpressure [announcements jobs] | \
                     announce [published counted] | relabel [blobs kills] | relay [events kills] | simulate [jobs milliseconds]";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let number =
        |index: usize, default: usize| words.get(index).and_then(|word| word.parse().ok()).unwrap_or(default);
    match words.first().map_or("chaos", String::as_str) {
        "chaos" => return storm(number(1, 1000), number(2, 20), number(3, 1)).await,
        "lies" => return lying(number(1, 2_000), number(2, 60)).await,
        "outage" => measure::outage(number(1, 1000), Duration::from_secs(number(2, 600) as u64)).await,
        "fairness" => measure::fairness(number(1, 50_000), number(2, 60)).await,
        "overhead" => measure::overhead(number(1, 5_000)).await,
        "throughput" => measure::throughput(number(1, 300), number(2, 3)).await,
        "backpressure" => measure::backpressure(number(1, 10_000), number(2, 300)).await,
        "announce" => announcing::throughput(number(1, 1_000_000), number(2, 10_000_000)).await,
        "relay" => queues::storm(number(1, 2_000), number(2, 20)).await,
        "relabel" => announcing::relabel(number(1, 5_000), number(2, 3)).await,
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
    match lies::run("soak", plan).await {
        Some(account) => {
            println!("{account}");
            if account.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => ExitCode::FAILURE,
    }
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
    match chaos::run("soak", plan).await {
        Some(account) => {
            println!("{account}");
            if account.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => ExitCode::FAILURE,
    }
}
