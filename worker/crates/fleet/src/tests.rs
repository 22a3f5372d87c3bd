//! Held against the closed form of M/M/c, against what must always be true, and against the deployed file.

use std::time::Duration;

use nightread_domain::{Lane, PerLane};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn one_slot() -> MachineType {
    let startup = (Duration::ZERO, Duration::ZERO);
    MachineType { slots: 1, permits: 1, weights: PerLane { ingest: 6, bulk: 3, volumes: 1 }, startup }
}

fn fixed(machines: usize, arrivals: Vec<Arrivals>, service: &ServiceTime, length: Duration) -> Scenario {
    Scenario {
        arrivals,
        service: PerLane::from_fn(|_| Some(service.clone())),
        machine: one_slot(),
        scaling: Scaling::Fixed(machines),
        evictions_per_hour: 0.0,
        notice: Duration::from_secs(30),
        drain: Duration::from_mins(8),
        metric_delay: Duration::ZERO,
        time_of_day: Duration::ZERO,
        length,
    }
}

/// Erlang's C formula (1917): the probability that a job of M/M/c waits, and its mean wait in mean service times.
fn erlang_c(servers: usize, utilisation: f64) -> (f64, f64) {
    let offered = servers as f64 * utilisation;
    let (mut term, mut sum) = (1.0, 0.0);
    for k in 0..servers {
        sum += term;
        term *= offered / (k + 1) as f64;
    }
    let waits = term / (1.0 - utilisation);
    let probability = waits / (sum + waits);
    (probability, probability / (servers as f64 * (1.0 - utilisation)))
}

/// Mean and the half width of its 99.9 % confidence interval, from 20 independent runs (Student's t, 19 degrees).
fn interval(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, 3.883 * (variance / count).sqrt())
}

#[test]
fn erlang_c_is_the_known_one() {
    let (probability, wait) = erlang_c(1, 0.8);
    assert!((probability - 0.8).abs() < 1e-12 && (wait - 4.0).abs() < 1e-12, "M/M/1");
    // Two servers: 2 rho^2 / (1 + rho).
    assert!((erlang_c(2, 0.75).0 - 2.0 * 0.5625 / 1.75).abs() < 1e-12);
}

#[test]
fn a_fixed_fleet_of_exponential_service_waits_as_erlang_says() {
    for (servers, utilisation) in
        [(1, 0.5), (1, 0.8), (2, 0.7), (3, 0.9), (5, 0.8), (10, 0.9), (20, 0.6), (40, 0.95)]
    {
        // One second of service; forty thousand jobs a run, of which the first quarter only fill the system.
        let rate = 3600.0 * servers as f64 * utilisation;
        let length = HOUR.mul_f64(40_000.0 / rate);
        let arrivals = Arrivals::Hourly { lane: Lane::Ingest, rates: [rate; 24] };
        let service = ServiceTime::Gamma { mean: 1.0, cv: 1.0 };
        let scenario = fixed(servers, vec![arrivals], &service, length);
        let (mut waited, mut waits) = (Vec::new(), Vec::new());
        for seed in 0..20 {
            let run = simulate(&scenario, seed);
            let settled = run.jobs.iter().filter(|job| job.arrived > length / 4);
            let times: Vec<f64> = settled
                .filter_map(|job| Some(job.begun?.saturating_sub(job.arrived).as_secs_f64()))
                .collect();
            waited.push(times.iter().filter(|wait| **wait > 0.0).count() as f64 / times.len() as f64);
            waits.push(times.iter().sum::<f64>() / times.len() as f64);
        }
        let (probability, wait) = erlang_c(servers, utilisation);
        for (what, values, expected) in [("P(wait)", waited, probability), ("mean wait", waits, wait)] {
            let (mean, half) = interval(&values);
            println!("M/M/{servers} rho {utilisation}: {what} {mean:.4} +- {half:.4}, Erlang {expected:.4}");
            assert!(
                (mean - expected).abs() <= half,
                "M/M/{servers} rho {utilisation}: {what} {mean} +- {half}, {expected}"
            );
            // Narrow enough to tell: one server more or fewer lies outside.
            let (more_probability, more_wait) =
                erlang_c(servers + 1, utilisation * servers as f64 / (servers + 1) as f64);
            let other = if what == "P(wait)" { more_probability } else { more_wait };
            assert!((mean - other).abs() > half, "M/M/{servers} rho {utilisation}: {what} cannot tell");
        }
    }
}

#[test]
fn constant_service_of_a_batch_is_a_staircase() {
    let bulk = Arrivals::Bulk { lane: Lane::Bulk, count: 10, at: Duration::ZERO };
    let service = ServiceTime::Gamma { mean: 3.0, cv: 0.0 };
    for (machines, last) in [(1, 30), (2, 15), (3, 12), (10, 3), (20, 3)] {
        let run = simulate(&fixed(machines, vec![bulk.clone()], &service, HOUR), 0);
        let report = FleetReport::of(&run, 1, 1);
        assert_eq!((report.done, report.last_result_seconds), (10, f64::from(last)), "{machines} machines");
        assert!((run.useful.as_secs_f64() - 30.0).abs() < 1e-9);
    }
}

#[test]
fn an_arriving_image_goes_before_a_relabelling() {
    let arrivals = vec![
        Arrivals::Bulk { lane: Lane::Bulk, count: 20_000, at: Duration::ZERO },
        Arrivals::Hourly { lane: Lane::Ingest, rates: [600.0; 24] },
    ];
    let mut scenario = fixed(2, arrivals, &ServiceTime::Gamma { mean: 1.0, cv: 0.3 }, HOUR);
    scenario.machine = MachineType { slots: 8, permits: 32, ..one_slot() };
    let report = FleetReport::of(&simulate(&scenario, 1), 8, 1);
    let [ingest, bulk] =
        ["ingest", "bulk"].map(|name| report.lanes.iter().find(|lane| lane.lane == name).expect("the lane"));
    assert!(ingest.p95 < 10.0, "{ingest:?}");
    assert!(bulk.p50 > 100.0, "{bulk:?}");
}

/// The rules that are simulated are the rules that are deployed: both templates name the same keys of the same file.
#[test]
fn simulated_rules_are_the_deployed_rules() {
    let constants = Constants::parse(DEPLOYED).expect("sound");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../infra");
    let on_disk = std::fs::read_to_string(root.join("shared/settings.json")).expect("the file");
    assert_eq!(on_disk, DEPLOYED, "the program was built from another file");
    let raw: Value = serde_json::from_str(DEPLOYED).expect("JSON");
    for (set, rules) in [("regular", constants.autoscale.regular), ("spot", constants.autoscale.spot)] {
        for (name, rule) in [("scaleOut", rules.scale_out), ("scaleIn", rules.scale_in)] {
            let raw = &raw["autoscale"][set][name];
            assert_eq!(raw["thresholdSecondsPerWorker"].as_f64(), Some(rule.threshold_seconds_per_worker));
            assert_eq!(raw["windowMinutes"].as_u64(), Some(rule.window_minutes));
            assert_eq!(raw["instances"].as_u64(), Some(rule.instances as u64));
            assert_eq!(raw["cooldownMinutes"].as_u64(), Some(rule.cooldown_minutes));
            assert_eq!(
                raw.as_object().map(serde_json::Map::len),
                Some(4),
                "{set} {name} has a key that is not simulated"
            );
        }
    }
    // What Bicep and Terraform read of a rule is what is simulated, under the same aggregation.
    for template in ["bicep/modules/autoscale.bicep", "terraform/modules/autoscale/main.tf"] {
        let text = std::fs::read_to_string(root.join(template)).expect(template);
        let text: String =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| if c == '"' { '\'' } else { c }).collect();
        for key in [
            "thresholdSecondsPerWorker",
            "windowMinutes",
            "cooldownMinutes",
            "instances",
            "shared/settings.json",
        ] {
            assert!(text.contains(key), "{template} does not read {key}");
        }
        for fact in ["'Average'", "'Max'", "'PT1M'", "'GreaterThan'", "'LessThan'", "'ChangeCount'"] {
            assert!(text.contains(fact), "{template} no longer says {fact}, which is what is simulated");
        }
    }
}

#[test]
fn a_settings_file_that_cannot_be_simulated_is_refused_in_words() {
    for (old, new, said) in [
        ("\"scaleOut\"", "\"scaleUp\"", "scaleOut"),
        ("\"windowMinutes\": 10", "\"windowMinutes\": 4", "window"),
        ("\"day\": 6", "\"day\": 24", "profileStartHours"),
        ("\"publishIntervalSeconds\": 60", "\"publishIntervalSeconds\": 0", "publishIntervalSeconds"),
        ("\"tolerance\": 0.1", "\"tolerance\": 1.1", "tolerance"),
    ] {
        assert!(DEPLOYED.contains(old), "{old}");
        let error = Constants::parse(&DEPLOYED.replace(old, new)).expect_err(old);
        assert!(error.contains(said), "{error}");
    }
}

fn gamma(mean: f64) -> ServiceTime {
    ServiceTime::Gamma { mean, cv: 0.5 }
}

fn deployed(spot: bool, evictions_per_hour: f64, arrivals: Vec<Arrivals>) -> Scenario {
    let constants = Constants::parse(DEPLOYED).expect("sound");
    let shape = constants.shapes["prod"];
    Scenario {
        arrivals,
        service: PerLane { ingest: Some(gamma(0.2)), bulk: Some(gamma(0.2)), volumes: Some(gamma(60.0)) },
        machine: MachineType {
            slots: 8,
            permits: 32,
            weights: PerLane { ingest: 6, bulk: 3, volumes: 1 },
            startup: (Duration::from_mins(5), Duration::from_mins(8)),
        },
        scaling: Scaling::Rules { constants: Box::new(constants), shape, spot },
        evictions_per_hour,
        notice: Duration::from_secs(30),
        drain: Duration::from_mins(8),
        metric_delay: Duration::from_mins(1),
        time_of_day: HOUR * 20,
        length: HOUR * 12,
    }
}

#[test]
fn with_no_worker_one_job_brings_machines() {
    let night = Arrivals::Bulk { lane: Lane::Ingest, count: 1, at: HOUR * 3 };
    let mut scenario = deployed(false, 0.0, vec![night]);
    let Scaling::Rules { shape, .. } = &mut scenario.scaling else { unreachable!() };
    shape.regular.night.minimum = 0;
    let run = simulate(&scenario, 7);
    let before = run.minutes.iter().find(|minute| minute.at == Duration::from_mins(179)).expect("a minute");
    assert_eq!((before.serving, before.starting), ([0, 0], [0, 0]), "the night scales to none");
    let job = run.jobs[0];
    let waited = job.finished.expect("a result").saturating_sub(job.arrived);
    assert!(waited > Duration::from_mins(5) && waited < Duration::from_mins(15), "{waited:?}");
}

#[test]
fn on_kubernetes_a_night_of_work_brings_replicas_and_its_end_sends_them_home() {
    let night = Arrivals::Bulk { lane: Lane::Bulk, count: 200_000, at: Duration::ZERO };
    let mut scenario = deployed(false, 0.0, vec![night]);
    let Scaling::Rules { constants, shape, .. } = scenario.scaling else { unreachable!() };
    scenario.scaling = Scaling::Kubernetes { constants, shape };
    scenario.machine.startup = (Duration::from_secs(20), Duration::from_mins(1));
    let run = simulate(&scenario, 3);
    let report = FleetReport::of(&run, 8, 1);
    // 200,000 jobs of 0.2 s on eight slots are 5,000 s of one worker: nine replicas for 600 s each.
    assert_eq!((report.left, report.peak_regular), (0, 9), "{report:?}");
    let last = run.minutes.last().expect("minutes");
    assert_eq!(last.serving[0] + last.starting[0], 1, "the least of the night");
    assert!(report.last_result_seconds < 1_800.0, "{}", report.last_result_seconds);
    let one_worker =
        FleetReport::of(&simulate(&Scenario { scaling: Scaling::Fixed(1), ..scenario }, 3), 8, 1);
    assert!(one_worker.last_result_seconds > 2.0 * report.last_result_seconds);
}

#[test]
fn an_eviction_loses_what_does_not_end_within_the_notice_and_nothing_else() {
    let scans = Arrivals::Bulk { lane: Lane::Volumes, count: 3_000, at: Duration::ZERO };
    let calm = simulate(&deployed(true, 0.0, vec![scans.clone()]), 5);
    let stormy = simulate(&deployed(true, 0.5, vec![scans]), 5);
    assert_eq!((calm.evictions, calm.lost), (0, Duration::ZERO));
    assert!(stormy.evictions > 0 && stormy.lost > Duration::ZERO);
    let report = FleetReport::of(&stormy, 8, 1);
    assert_eq!((report.left, report.done), (0, 3_000), "every scan is read in the end");
    // Each slot of an evicted machine loses one scan at most, and a machine has what its permits allow.
    assert!(report.redelivered <= report.evictions * 32);
    let work: f64 = stormy.useful.as_secs_f64();
    assert!((work - calm.useful.as_secs_f64()).abs() < 1e-3, "the same work is done in the end");
}

prop_compose! {
    fn any_arrivals()(
        kind in 0..3, lane in prop::sample::select(&Lane::ALL), count in 0..800_usize, hour in 0..6_u32, rate in 0.0..2_000.0_f64,
        times in prop::collection::vec((0..20_000_u64, prop::sample::select(&Lane::ALL)), 0..100),
    ) -> Arrivals {
        match kind {
            0 => Arrivals::Bulk { lane, count, at: HOUR * hour },
            1 => Arrivals::Hourly { lane, rates: std::array::from_fn(|h| if h % 3 == 0 { rate } else { 0.0 }) },
            _ => Arrivals::Trace(times.into_iter().map(|(at, lane)| Arrival {
                at: Duration::from_secs(at), lane, work: (at % 2 == 0).then(|| Duration::from_secs(at % 50)),
            }).collect()),
        }
    }
}

prop_compose! {
    fn any_scenario()(
        arrivals in prop::collection::vec(any_arrivals(), 1..4),
        means in prop::array::uniform3(0.1..90.0_f64), cv in 0.0..2.0_f64,
        slots in 1..9_usize, spare in 0..24_usize, startup in 0..600_u64, scaled in 0..3_u8,
        evictions in 0.0..4.0_f64, notice in 0..60_u64, drain in 0..120_u64, delay in 0..4_u64, start in 0..24_u32,
        out in 60.0..2_000.0_f64, share in 0.01..0.9_f64, steps in prop::array::uniform2(1..6_usize),
        cooldowns in prop::array::uniform2(1..15_u64), maximum in 0..8_usize,
    ) -> Scenario {
        let mut constants = Constants::parse(DEPLOYED).expect("sound");
        for rules in [&mut constants.autoscale.regular, &mut constants.autoscale.spot] {
            rules.scale_out.threshold_seconds_per_worker = out;
            rules.scale_in.threshold_seconds_per_worker = out * share;
            (rules.scale_out.instances, rules.scale_in.instances) = (steps[0], steps[1]);
            (rules.scale_out.cooldown_minutes, rules.scale_in.cooldown_minutes) = (cooldowns[0], cooldowns[1]);
        }
        let mut shape = constants.shapes["prod"];
        shape.spot.night.maximum = maximum;
        Scenario {
            arrivals,
            service: PerLane::from(means).map(|mean| Some(ServiceTime::Gamma { mean, cv })),
            machine: MachineType {
                slots, permits: slots + spare, weights: PerLane { ingest: 6, bulk: 3, volumes: 1 },
                startup: (Duration::from_secs(startup), Duration::from_secs(startup * 2)),
            },
            scaling: match scaled {
                0 => Scaling::Kubernetes { constants: Box::new(constants), shape },
                spot => Scaling::Rules { constants: Box::new(constants), shape, spot: spot == 2 },
            },
            evictions_per_hour: evictions,
            notice: Duration::from_secs(notice),
            drain: Duration::from_secs(drain),
            metric_delay: Duration::from_mins(delay),
            time_of_day: HOUR * start,
            length: HOUR * 8,
        }
    }
}

fn done_before(run: &Run, at: Duration) -> usize {
    run.jobs.iter().filter(|job| job.finished.is_some_and(|done| done < at)).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_lost_doubled_or_overtaken_and_no_bound_is_broken(scenario in any_scenario(), seed: u64) {
        let run = simulate(&scenario, seed);
        // Every job is somewhere, at every minute.
        for minute in &run.minutes {
            let arrived = run.jobs.iter().filter(|job| job.arrived <= minute.at).count();
            // What ends in the very instant may be counted before or after it.
            let (least, most) = (arrived - done_before(&run, minute.at + Duration::from_nanos(1)), arrived - done_before(&run, minute.at));
            let backlog = minute.backlog.iter().map(|(_, count)| count).sum::<usize>();
            prop_assert!((least..=most).contains(&backlog), "{} at {:?}: {} to {}", backlog, minute.at, least, most);
        }
        let (constants, shape, spot, by_night) = match &scenario.scaling {
            Scaling::Rules { constants, shape, spot } => (constants, shape, spot, false),
            Scaling::Kubernetes { constants, shape } => (constants, shape, &false, true),
            Scaling::Fixed(_) => unreachable!(),
        };
        for minute in &run.minutes {
            let is_day = constants.autoscale.profile_start_hours.is_day(scenario.time_of_day + minute.at);
            for (set, capacities) in [(0, shape.regular), (1, shape.spot)] {
                let there = minute.starting[set] + minute.serving[set];
                prop_assert!(there <= capacities.at(is_day && !by_night).maximum, "{:?}", minute);
                prop_assert!(set == 0 || *spot || there == 0, "a Spot machine nobody asked for");
            }
        }
        // First come, first served, in each lane.
        for lane in Lane::ALL {
            let taken: Vec<_> = run.jobs.iter().filter(|job| job.lane == lane).map(|job| job.taken.unwrap_or(Duration::MAX)).collect();
            prop_assert!(taken.is_sorted(), "{:?}", lane);
        }
        for job in &run.jobs {
            prop_assert!(job.taken.is_none_or(|taken| taken >= job.arrived));
            prop_assert!(job.begun.is_none_or(|begun| Some(begun) >= job.taken && job.taken.is_some()));
            prop_assert!(job.finished.is_none_or(|finished| Some(finished) >= job.begun && job.begun.is_some()));
        }
        // Slots work no longer than their machines live.
        let slot_time = run.machine_time.iter().sum::<Duration>() * scenario.machine.slots as u32;
        prop_assert!(run.useful + run.lost <= slot_time, "{:?} {:?} {:?}", run.useful, run.lost, slot_time);
        prop_assert!(scenario.evictions_per_hour > 0.0 || run.evictions == 0);
        // The same scenario and seed give the same run.
        prop_assert_eq!(&run, &simulate(&scenario, seed));
    }
}
