//! From what was typed to a scenario; all problems are reported together.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nightread_domain::PerLane;

use super::bench::{self, Measured};
use crate::adapters::amqp::RabbitOptions;
use crate::cli::simulate::{BenchFile, ScalerName, SimulateArgs};
use crate::settings::Problems;
use nightread_fleet::{
    Arrivals, Constants, DEPLOYED, MachineType, Scaling, Scenario, ServiceTime, parse_trace,
};

const DAY: Duration = Duration::from_hours(24);
const DEFAULT_SLOTS: usize = 8;
/// More jobs than memory is for.
const MOST_JOBS: f64 = 50e6;

/// The scenario, unless a problem was found.
pub(super) fn scenario(args: &SimulateArgs, problems: &mut Problems) -> Option<Scenario> {
    let measured = measured(args, problems);
    let arrivals = arrivals(args, problems);
    let service = service(args, &measured, &arrivals, problems);
    let slots = args.slots.or(measured.slots).unwrap_or(DEFAULT_SLOTS);
    let permits = args.permits.unwrap_or(slots.saturating_mul(4));
    if slots == 0 || slots > 1024 || permits < slots {
        problems.add("--slots: 1 to 1024 are expected, and --permits no fewer");
    }
    if !(args.hours > 0.0 && args.hours <= 24.0 * 366.0) {
        problems.add("--hours: more than 0 and at most a year are expected");
    }
    if !(0.0..=3600.0).contains(&args.evictions) {
        problems.add("--evictions: a rate an hour from 0 on is expected");
    }
    let constants = constants(args, problems)?;
    let Some(shape) = constants.shapes.get(&args.shape).copied() else {
        let known: Vec<_> = constants.shapes.keys().map(String::as_str).collect();
        problems.add(format!("--shape: {} is not among {}", args.shape, known.join(", ")));
        return None;
    };
    let drain = Duration::from_secs(constants.drain.deadline_seconds);
    let constants = Box::new(constants);
    let scaling = match (args.workers, args.scaler) {
        (Some(count), _) => Scaling::Fixed(count),
        (None, ScalerName::Kubernetes) => Scaling::Kubernetes { constants, shape },
        (None, ScalerName::ScaleSets) => Scaling::Rules { constants, shape, spot: args.spot },
    };
    problems.is_empty().then(|| Scenario {
        arrivals,
        service,
        machine: MachineType {
            slots,
            permits,
            weights: RabbitOptions::new("").weights,
            startup: args.startup,
        },
        scaling,
        evictions_per_hour: args.evictions,
        notice: Duration::from_secs(args.notice),
        drain,
        metric_delay: Duration::from_secs(args.metric_delay),
        time_of_day: args.start,
        length: Duration::from_secs_f64(args.hours * 3600.0),
    })
}

fn arrivals(args: &SimulateArgs, problems: &mut Problems) -> Vec<Arrivals> {
    let bulk = args.bulk.iter().map(|bulk| {
        let at = bulk.time_of_day.map_or(Duration::ZERO, |time| {
            time.checked_sub(args.start).unwrap_or_else(|| (time + DAY).saturating_sub(args.start))
        });
        Arrivals::Bulk { lane: bulk.lane, count: bulk.count, at }
    });
    let rates = args.rate.iter().map(|rate| Arrivals::Hourly { lane: rate.lane, rates: rate.rates });
    let mut arrivals: Vec<_> = bulk.chain(rates).collect();
    if let Some(path) = &args.trace
        && let Some(text) = read(path, problems)
    {
        match parse_trace(&text, args.start) {
            Ok(events) => arrivals.push(Arrivals::Trace(events)),
            Err(problem) => problems.add(format!("{}: {problem}", path.display())),
        }
    }
    if arrivals.is_empty() && problems.is_empty() {
        problems.add("nothing arrives: give --bulk, --rate or --trace");
    }
    let expected: f64 = arrivals.iter().map(|source| expected(source, args.hours)).sum();
    if expected > MOST_JOBS {
        problems.add(format!(
            "{expected:.0} jobs are too many to simulate one by one; {MOST_JOBS:.0} are the most"
        ));
    }
    arrivals
}

fn expected(source: &Arrivals, hours: f64) -> f64 {
    match source {
        Arrivals::Bulk { count, .. } => *count as f64,
        Arrivals::Hourly { rates, .. } => rates.iter().sum::<f64>() * hours / 24.0,
        Arrivals::Trace(events) => events.len() as f64,
    }
}

fn service(
    args: &SimulateArgs,
    measured: &Measured,
    arrivals: &[Arrivals],
    problems: &mut Problems,
) -> PerLane<Option<ServiceTime>> {
    PerLane::from_fn(|lane| {
        let typed = args.service.iter().rev().find(|service| service.lane == lane);
        let time = typed.map(|service| &service.time).or(measured.service[lane].as_ref()).cloned();
        if time.is_none() && arrivals.iter().any(|source| source.draws_work_of(lane)) {
            let lane = lane.as_str();
            problems.add(format!(
                "jobs of the lane {lane} arrive and nobody knows how long they take: give --service {lane}=SECONDS or --bench"
            ));
        }
        time
    })
}

/// All files together; the last that knows a lane holds.
fn measured(args: &SimulateArgs, problems: &mut Problems) -> Measured {
    let mut all = Measured::default();
    for BenchFile { lanes, path } in &args.bench {
        let Some(text) = read(path, problems) else { continue };
        match bench::parse(&text, lanes) {
            Ok(measured) => {
                all.slots = measured.slots.or(all.slots);
                let PerLane { ingest, bulk, volumes } = measured.service;
                let known = all.service;
                all.service = PerLane {
                    ingest: ingest.or(known.ingest),
                    bulk: bulk.or(known.bulk),
                    volumes: volumes.or(known.volumes),
                };
            }
            Err(problem) => problems.add(format!("{}: {problem}", path.display())),
        }
    }
    all
}

fn constants(args: &SimulateArgs, problems: &mut Problems) -> Option<Constants> {
    let text = match &args.settings {
        Some(path) => read(path, problems)?,
        None => DEPLOYED.to_owned(),
    };
    match Constants::parse(&text) {
        Ok(constants) => Some(constants),
        Err(problem) => {
            let name =
                args.settings.as_ref().map_or("settings.json".to_owned(), |path| path.display().to_string());
            problems.add(format!("{name}: {problem}"));
            None
        }
    }
}

fn read(path: &Path, problems: &mut Problems) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            problems.add(format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}
