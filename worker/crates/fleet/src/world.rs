//! The events, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use nightread_domain::{Lane, PerLane};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::autoscale::{Autoscaler, Metric};
use super::hpa::{Hpa, Policy};
use super::machine::{Machine, State};
use super::queue::LaneQueue;
use super::rules::{Capacities, StartHours};
use super::service::{exponential, seconds};
use super::{Arrival, Minute, Record, Run, ScaleSet, Scaling, Scenario};

const MINUTE: Duration = Duration::from_mins(1);
const SETS: [ScaleSet; 2] = [ScaleSet::Regular, ScaleSet::Spot];

/// What happens next; machines and jobs by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Finished {
        machine: usize,
        job: usize,
        delivery: u32,
    },
    Ready(usize),
    Evicted(usize),
    Deadline(usize),
    Publish,
    /// A horizontal pod autoscaler looks.
    Look,
}

/// The autoscale setting of one set.
#[derive(Debug)]
struct Setting {
    set: ScaleSet,
    scaler: Scaler,
    capacities: Capacities,
}

#[derive(Debug)]
enum Scaler {
    Azure(Autoscaler),
    Kubernetes(Hpa),
}

#[derive(Debug)]
struct World<'a> {
    scenario: &'a Scenario,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sequence: u64,
    work: Vec<Duration>,
    /// Mean work of a job of each lane, in seconds of one slot.
    means: PerLane<f64>,
    queues: PerLane<LaneQueue>,
    machines: Vec<Machine>,
    /// Numbers of the machines that are not gone, oldest first.
    live: Vec<usize>,
    /// Whose turn it is to be asked first.
    turn: usize,
    oldest: usize,
    metric: Metric,
    /// The work that waits, in seconds of one worker.
    work_waiting: Metric,
    settings: Vec<Setting>,
    startups: StdRng,
    evictions: StdRng,
    run: Run,
}

/// Plays a scenario. Arrivals, service times, start-up times and evictions each have a random stream of their own, so
/// that scenarios which differ in their rules meet the same jobs.
pub fn simulate(scenario: &Scenario, seed: u64) -> Run {
    let mut arrivals = stream(seed, 0);
    let mut events: Vec<Arrival> = scenario
        .arrivals
        .iter()
        .flat_map(|source| source.draw(scenario.time_of_day, scenario.length, &mut arrivals))
        .filter(|arrival| arrival.work.is_some() || scenario.service[arrival.lane].is_some())
        .collect();
    events.sort_by_key(|arrival| arrival.at);
    let mut services = stream(seed, 1);
    let mut work: Vec<Duration> = Vec::with_capacity(events.len());
    for arrival in &events {
        let lane = scenario.service[arrival.lane].as_ref();
        let drawn = arrival.work.or_else(|| lane.map(|time| time.draw(&mut services)));
        work.push(drawn.unwrap_or_default());
    }
    let jobs = events.iter().map(|arrival| Record {
        lane: arrival.lane,
        arrived: arrival.at,
        taken: None,
        begun: None,
        finished: None,
        returned: 0,
    });
    let means = PerLane::from_fn(|lane| mean_seconds(scenario, lane, &events, &work));
    let mut world = World {
        scenario,
        now: Duration::ZERO,
        events: BinaryHeap::new(),
        sequence: 0,
        work,
        means,
        queues: PerLane::default(),
        machines: Vec::new(),
        live: Vec::new(),
        turn: 0,
        oldest: 0,
        metric: Metric::default(),
        work_waiting: Metric::default(),
        settings: settings(&scenario.scaling),
        startups: stream(seed, 2),
        evictions: stream(seed, 3),
        run: Run {
            length: scenario.length,
            jobs: jobs.collect(),
            minutes: Vec::new(),
            machine_time: [Duration::ZERO; 2],
            useful: Duration::ZERO,
            lost: Duration::ZERO,
            evictions: 0,
            scale_outs: 0,
            scale_ins: 0,
        },
    };
    world.play();
    world.run
}

/// The random numbers for one of the purposes of a run.
fn stream(seed: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(8).wrapping_add(number))
}

/// The lane's mean, or that of its jobs whose work is known.
fn mean_seconds(scenario: &Scenario, lane: Lane, arrivals: &[Arrival], work: &[Duration]) -> f64 {
    if let Some(time) = &scenario.service[lane] {
        return time.mean();
    }
    let own = arrivals.iter().zip(work).filter(|(arrival, _)| arrival.lane == lane).map(|(_, work)| *work);
    own.clone().sum::<Duration>().as_secs_f64() / own.count().max(1) as f64
}

fn settings(scaling: &Scaling) -> Vec<Setting> {
    let (scaler, shape) = match scaling {
        Scaling::Fixed(_) => return Vec::new(),
        Scaling::Rules { constants, shape, .. } => {
            (Scaler::Azure(Autoscaler::new(constants.autoscale.regular)), shape)
        }
        Scaling::Kubernetes { constants, shape } => {
            (Scaler::Kubernetes(Hpa::new(Policy::of(constants))), shape)
        }
    };
    let mut settings = vec![Setting { set: ScaleSet::Regular, scaler, capacities: shape.regular }];
    if let Scaling::Rules { constants, shape, spot: true } = scaling {
        let scaler = Scaler::Azure(Autoscaler::new(constants.autoscale.spot));
        settings.push(Setting { set: ScaleSet::Spot, scaler, capacities: shape.spot });
    }
    settings
}

impl World<'_> {
    fn play(&mut self) {
        self.begin();
        let mut next_job = 0;
        loop {
            let event = self.events.peek().map_or(Duration::MAX, |Reverse((at, ..))| *at);
            let arrival = self.run.jobs.get(next_job).map_or(Duration::MAX, |job| job.arrived);
            let next = event.min(arrival);
            if next >= self.scenario.length {
                break;
            }
            self.now = next;
            if arrival <= event {
                while let Some(job) = self.run.jobs.get(next_job).filter(|job| job.arrived == next) {
                    self.queues[job.lane].arrive(next_job);
                    next_job += 1;
                }
            } else if let Some(Reverse((_, _, event))) = self.events.pop() {
                self.happen(event);
            }
            self.hand_out();
        }
        self.now = self.scenario.length;
        for number in self.live.clone() {
            self.end(number);
        }
    }

    fn begin(&mut self) {
        let initial = match &self.scenario.scaling {
            Scaling::Fixed(count) => vec![(ScaleSet::Regular, *count)],
            Scaling::Rules { .. } | Scaling::Kubernetes { .. } => {
                let is_day = self.is_day();
                let defaults = self.settings.iter();
                defaults.map(|setting| (setting.set, setting.capacities.at(is_day).default)).collect()
            }
        };
        for (set, count) in initial {
            for _ in 0..count {
                let number = self.order(set);
                self.machines[number].state = State::Serving;
            }
        }
        self.at(self.interval(), Event::Publish);
        if let Some(between) = self.between_looks() {
            self.at(between, Event::Look);
        }
    }

    fn interval(&self) -> Duration {
        let constants = self.scenario.scaling.constants();
        constants.map_or(MINUTE, |known| Duration::from_secs(known.metrics.publish_interval_seconds.max(1)))
    }

    /// Between two looks of a horizontal pod autoscaler, which has its own clock; Autoscale is asked when a metric comes.
    fn between_looks(&self) -> Option<Duration> {
        let Scaling::Kubernetes { constants, .. } = &self.scenario.scaling else { return None };
        Some(Duration::from_secs(constants.kubernetes.sync_seconds.max(1)))
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((when, self.sequence, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Finished { machine, job, delivery } => self.finished(machine, job, delivery),
            Event::Ready(number) => {
                let machine = &mut self.machines[number];
                if machine.state == State::Starting {
                    machine.state = State::Serving;
                }
            }
            Event::Evicted(number) => {
                if !matches!(self.machines[number].state, State::Gone | State::Draining { .. }) {
                    self.run.evictions += 1;
                    self.drain(number, true);
                }
            }
            Event::Deadline(number) => self.end(number),
            Event::Publish => self.publish(),
            Event::Look => {
                self.scale();
                if let Some(between) = self.between_looks() {
                    self.at(self.now + between, Event::Look);
                }
            }
        }
    }

    fn finished(&mut self, number: usize, job: usize, delivery: u32) {
        let record = &mut self.run.jobs[job];
        let machine = &mut self.machines[number];
        if record.returned != delivery {
            return;
        }
        let Some(worked) = machine.finish(self.now, job, record.lane) else { return };
        record.finished = Some(self.now);
        self.run.useful += worked;
        self.fill_slots(number);
        let machine = &self.machines[number];
        if machine.is_idle() && machine.state == (State::Draining { evicted: false }) {
            self.end(number);
        }
    }

    /// Machines take what waits, in turn, as a broker deals it out.
    fn hand_out(&mut self) {
        let mut refused = 0;
        while refused < self.live.len() {
            let ready = PerLane::from_fn(|lane| self.queues[lane].len() > 0);
            if ready == PerLane::default() {
                return;
            }
            self.turn = (self.turn + 1) % self.live.len();
            let number = self.live[self.turn];
            let taken = self.machines[number]
                .wants(self.now, ready)
                .and_then(|lane| Some((lane, self.queues[lane].take()?)));
            let Some((lane, job)) = taken else {
                refused += 1;
                continue;
            };
            refused = 0;
            self.run.jobs[job].taken.get_or_insert(self.now);
            self.machines[number].accept(job, lane);
            self.fill_slots(number);
        }
    }

    fn fill_slots(&mut self, number: usize) {
        while let Some(job) = self.machines[number].begin(self.now) {
            let record = &mut self.run.jobs[job];
            record.begun.get_or_insert(self.now);
            let delivery = record.returned;
            let ends = self.now.saturating_add(self.work[job]);
            self.at(ends, Event::Finished { machine: number, job, delivery });
        }
    }

    /// One machine more; its number.
    fn order(&mut self, set: ScaleSet) -> usize {
        let number = self.machines.len();
        let kind = &self.scenario.machine;
        self.machines.push(Machine::new(set, self.now, kind));
        self.live.push(number);
        let (least, most) = kind.startup;
        let startup = least + most.saturating_sub(least).mul_f64(self.startups.random::<f64>());
        self.at(self.now.saturating_add(startup), Event::Ready(number));
        if set == ScaleSet::Spot && self.scenario.evictions_per_hour > 0.0 {
            let life = seconds(3600.0 * exponential(&mut self.evictions) / self.scenario.evictions_per_hour);
            self.at(self.now.saturating_add(life), Event::Evicted(number));
        }
        number
    }

    fn drain(&mut self, number: usize, evicted: bool) {
        let machine = &mut self.machines[number];
        let patience = if evicted { self.scenario.notice } else { self.scenario.drain };
        machine.state = State::Draining { evicted };
        if machine.is_idle() && !evicted {
            self.end(number);
        } else {
            self.at(self.now.saturating_add(patience), Event::Deadline(number));
        }
    }

    fn end(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        if machine.state == State::Gone {
            return;
        }
        let over = self.now >= self.scenario.length;
        self.run.machine_time[machine.set as usize] += self.now.saturating_sub(machine.ordered);
        machine.state = State::Gone;
        let (jobs, lost) = machine.give_back(self.now);
        // At the end of the simulation nothing is lost: it only stops being watched.
        if !over {
            self.run.lost += lost;
            for job in jobs {
                let record = &mut self.run.jobs[job];
                record.returned += 1;
                self.queues[record.lane].come_back(job);
            }
        }
        self.live.retain(|live| *live != number);
    }

    fn is_day(&self) -> bool {
        let constants = self.scenario.scaling.constants();
        let hours = constants
            .map_or(StartHours { day: 0, night: 12 }, |constants| constants.autoscale.profile_start_hours);
        hours.is_day(self.scenario.time_of_day + self.now)
    }

    /// What `nightread backlog --publish` does every minute, and what Autoscale makes of it.
    fn publish(&mut self) {
        let backlog = self.backlog();
        let slots = self.scenario.machine.slots.max(1) as f64;
        let work: f64 = backlog.iter().map(|(lane, count)| *count as f64 * self.means[lane] / slots).sum();
        let workers = self.count(|machine| machine.state == State::Serving).iter().sum::<usize>();
        let mut value = work / workers.max(1) as f64;
        if let (0, true, Some(constants)) = (workers, work > 0.0, self.scenario.scaling.constants()) {
            value = value.max(constants.autoscale.regular.scale_out.threshold_seconds_per_worker + 1.0);
        }
        self.metric.record(self.now, value);
        self.work_waiting.record(self.now, work);
        if self.between_looks().is_none() {
            self.scale();
        }
        self.record_minute(backlog, value);
        self.at(self.now + self.interval(), Event::Publish);
    }

    fn scale(&mut self) {
        let (is_day, visible) = (self.is_day(), self.now.checked_sub(self.scenario.metric_delay));
        for index in 0..self.settings.len() {
            let set = self.settings[index].set;
            let there: Vec<usize> =
                self.live.iter().copied().filter(|number| self.machines[*number].counts_for(set)).collect();
            let count = there.len();
            let setting = &mut self.settings[index];
            let target = match &mut setting.scaler {
                Scaler::Azure(scaler) => {
                    let capacity = setting.capacities.at(is_day);
                    scaler.decide(self.now, visible, capacity, count, &self.metric)
                }
                Scaler::Kubernetes(scaler) => {
                    let Capacities { day, night } = setting.capacities;
                    let least = if is_day { day.minimum.max(night.minimum) } else { night.minimum };
                    let usage = visible.and_then(|at| self.work_waiting.last(at));
                    scaler.decide(self.now, (least, night.maximum), count, usage)
                }
            };
            self.run.scale_outs += usize::from(target > count);
            self.run.scale_ins += usize::from(target < count);
            for _ in count..target {
                self.order(set);
            }
            // The oldest go first.
            for number in there.into_iter().take(count.saturating_sub(target)) {
                self.drain(number, false);
            }
        }
    }

    fn backlog(&self) -> PerLane<usize> {
        let mut backlog = PerLane::from_fn(|lane| self.queues[lane].len());
        for number in &self.live {
            for (lane, count) in self.machines[*number].in_flight().iter() {
                backlog[lane] += count;
            }
        }
        backlog
    }

    fn count(&self, which: impl Fn(&Machine) -> bool) -> [usize; 2] {
        SETS.map(|set| {
            let machines = self.live.iter().map(|number| &self.machines[*number]);
            machines.filter(|machine| machine.set == set && which(machine)).count()
        })
    }

    fn record_minute(&mut self, backlog: PerLane<usize>, seconds_per_worker: f64) {
        while self.run.jobs.get(self.oldest).is_some_and(|job| job.finished.is_some()) {
            self.oldest += 1;
        }
        let oldest = self.run.jobs.get(self.oldest).map_or(self.now, |job| job.arrived);
        let minute = Minute {
            at: self.now,
            backlog,
            seconds_per_worker,
            oldest: self.now.saturating_sub(oldest),
            starting: self.count(|machine| machine.state == State::Starting),
            serving: self.count(|machine| machine.state == State::Serving),
            draining: self.count(|machine| matches!(machine.state, State::Draining { .. })),
        };
        self.run.minutes.push(minute);
    }
}
