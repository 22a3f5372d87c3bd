//! Real workers beside simulated ones: jobs whose service time a slow download makes, through a real broker.

use std::time::{Duration, Instant};

use nightread_domain::{Lane, PerLane};
use nightread_fleet::{Arrival, Arrivals, MachineType, Run, Scaling, Scenario, simulate};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::arriving::Results;
use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::images::grey;

use crate::rabbit::Rabbit;

/// One job: when it is announced, and how long its download is held.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub at: Duration,
    pub delay: Duration,
}

/// What was seen of each job, from the first announcement on.
#[derive(Clone, Debug)]
pub struct Observed {
    pub arrived: Vec<Duration>,
    pub finished: Vec<Duration>,
}

/// The two figures that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// From the first arrival to the last result, seconds.
    pub makespan: f64,
    /// Mean time from arrival to result, seconds.
    pub in_system: f64,
}

/// `count` jobs, their delays uniform between half and one and a half of `mean`; all at once, or as a Poisson process
/// that keeps so many workers busy for four fifths of the time.
pub fn plan(count: usize, mean: Duration, poisson_for: Option<usize>, seed: u64) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = Duration::ZERO;
    let mut job = || {
        let delay = mean.mul_f64(random.random_range(0.5..1.5));
        let planned = Planned { at, delay };
        if let Some(workers) = poisson_for {
            at += mean.mul_f64(-(1.0 - random.random::<f64>()).ln() / (0.8 * workers as f64));
        }
        planned
    };
    (0..count).map(|_| job()).collect()
}

/// Runs the plan with real workers, each of one job at a time.
pub async fn observe(bench: &Bench, workers: usize, plan: &[Planned]) -> Observed {
    let name = |number: usize| format!("{number}.png");
    for (number, planned) in plan.iter().enumerate() {
        bench.upload(&name(number), grey((number % 256) as u8, 64, number)).await;
        bench.proxy.delay(&name(number), planned.delay);
    }
    let mut results = Results::listen(&bench.options.url).await;
    let settings = bench.settings().with("NIGHTREAD_LIMITS_JOBS", "1");
    let started: Vec<_> = (0..workers).map(|_| bench.start_with(&settings)).collect();
    for worker in &started {
        worker.ready().await;
    }
    let start = Instant::now();
    let announce = async {
        let mut arrived = Vec::new();
        for (number, planned) in plan.iter().enumerate() {
            tokio::time::sleep_until((start + planned.at).into()).await;
            bench.announce(Lane::Ingest, &name(number)).await;
            arrived.push(start.elapsed());
        }
        arrived
    };
    let collect = async {
        let mut finished = vec![Duration::ZERO; plan.len()];
        for _ in plan {
            let source = results.next().await;
            let number = source.rsplit('/').next().and_then(|name| name.strip_suffix(".png"));
            let number: usize = number.and_then(|number| number.parse().ok()).expect("one of ours");
            assert_eq!(finished[number], Duration::ZERO, "{source} has two results");
            finished[number] = start.elapsed();
        }
        finished
    };
    let (arrived, finished) = tokio::join!(announce, collect);
    Observed { arrived, finished }
}

/// The same jobs in simulated time: they arrive when the real ones did, and take their delay and `overhead`.
pub fn predicted(observed: &Observed, plan: &[Planned], overhead: Duration, workers: usize) -> Figures {
    let arrivals = observed.arrived.iter().zip(plan);
    let arrivals = arrivals.map(|(at, planned)| Arrival {
        at: *at,
        lane: Lane::Ingest,
        work: Some(planned.delay + overhead),
    });
    let scenario = Scenario {
        arrivals: vec![Arrivals::Trace(arrivals.collect())],
        service: PerLane::default(),
        machine: MachineType {
            slots: 1,
            permits: 1,
            weights: PerLane { ingest: 6, bulk: 3, volumes: 1 },
            startup: (Duration::ZERO, Duration::ZERO),
        },
        scaling: Scaling::Fixed(workers),
        evictions_per_hour: 0.0,
        notice: Duration::ZERO,
        drain: Duration::ZERO,
        metric_delay: Duration::ZERO,
        time_of_day: Duration::ZERO,
        length: Duration::from_hours(24),
    };
    let Run { jobs, .. } = simulate(&scenario, 0);
    let finished = jobs.iter().map(|job| job.finished.expect("a day is enough")).collect();
    Observed { arrived: jobs.iter().map(|job| job.arrived).collect(), finished }.figures()
}

impl Observed {
    pub fn figures(&self) -> Figures {
        let first = self.arrived.iter().min().copied().unwrap_or_default();
        let last = self.finished.iter().max().copied().unwrap_or_default();
        let times = self
            .arrived
            .iter()
            .zip(&self.finished)
            .map(|(arrived, finished)| finished.saturating_sub(*arrived));
        let count = self.arrived.len().max(1) as f64;
        Figures {
            makespan: last.saturating_sub(first).as_secs_f64(),
            in_system: times.sum::<Duration>().as_secs_f64() / count,
        }
    }

    /// What a job took beside its delay, where one worker was never idle.
    pub fn overhead(&self, plan: &[Planned]) -> Duration {
        let delays: Duration = plan.iter().map(|planned| planned.delay).sum();
        let makespan = Duration::from_secs_f64(self.figures().makespan);
        makespan.saturating_sub(delays) / plan.len().max(1) as u32
    }
}

/// Batches and Poisson arrivals on 1, 2 and 3 workers; service times are those that one worker showed.
pub async fn compare(jobs: usize, mean: Duration) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let mut overhead = None;
    println!(
        "{jobs} jobs, downloads held for {:.2} to {:.2} s",
        mean.as_secs_f64() / 2.0,
        mean.as_secs_f64() * 1.5
    );
    for workers in 1..=3 {
        for (what, poisson) in [("all at once", None), ("Poisson, 80 % busy", Some(workers))] {
            let plan = plan(jobs, mean, poisson, workers as u64);
            let bench = Bench::over("simulate", &rabbit, &azurite).await;
            let observed = observe(&bench, workers, &plan).await;
            let overhead = *overhead.get_or_insert_with(|| observed.overhead(&plan));
            let (real, simulated) = (observed.figures(), predicted(&observed, &plan, overhead, workers));
            let off = |real: f64, simulated: f64| 1e2 * (simulated / real - 1.0);
            println!(
                "{workers} workers, {what}: makespan {:.1} s, simulated {:.1} s ({:+.1} %); \
                 mean time to result {:.2} s, simulated {:.2} s ({:+.1} %)",
                real.makespan,
                simulated.makespan,
                off(real.makespan, simulated.makespan),
                real.in_system,
                simulated.in_system,
                off(real.in_system, simulated.in_system)
            );
        }
    }
    println!("each job took {} ms beside its download's delay", overhead.unwrap_or_default().as_millis());
}
