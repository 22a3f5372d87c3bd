//! A fleet in simulated time: jobs arrive, machines start, take, finish, drain and are evicted, and autoscale follows
//! the rules that are deployed. Pure: no clock, no file, no network; the same scenario and seed give the same run.
//!
//! What is modelled: three lanes of first come first served queues with redelivered jobs in front; the worker's own rule
//! of sharing permits between lanes; machines with `slots` jobs worked on at once and `permits` in flight; start-up time;
//! `BacklogSecondsPerWorker` every minute, known to Autoscale after a delay; Autoscale's bounds, windows, cooldowns and
//! flapping estimate, or a horizontal pod autoscaler's tolerance, stabilisation and limits; oldest machine first on
//! scale-in; drains up to the deadline; evictions with notice. What is not:
//! failing jobs, storage or broker outages, zones, failed starts, and that jobs share the cores of a machine unevenly.

mod arrivals;
mod autoscale;
mod hpa;
mod machine;
mod queue;
mod report;
mod rules;
mod service;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::time::Duration;

use nightread_domain::{Lane, PerLane};

pub use self::arrivals::{Arrival, Arrivals};
pub use self::report::{FleetReport, LaneTimes, Moment, mean_of};
pub use self::rules::{
    Autoscale, Capacities, Capacity, Constants, DEPLOYED, Drain, Kubernetes, Metrics, Rule, Rules, Shape,
    StartHours,
};
pub use self::service::ServiceTime;
pub use self::trace::parse_trace;
pub use self::world::simulate;

/// The two scale sets of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScaleSet {
    Regular,
    Spot,
}

/// What one machine is.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineType {
    /// Jobs worked on at the same time.
    pub slots: usize,
    /// Jobs in flight, worked on or waiting for a slot: `[limits] jobs`.
    pub permits: usize,
    /// Shares of the permits: `[broker]` weights.
    pub weights: PerLane<u64>,
    /// Least and most time from the order of a machine until it takes jobs; uniform between.
    pub startup: (Duration, Duration),
}

/// How the fleet is scaled.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// So many regular machines, there from the beginning.
    Fixed(usize),
    /// By the deployed rules and the capacities of a shape, beginning with the default of the profile that holds.
    Rules { constants: Box<Constants>, shape: Shape, spot: bool },
    /// By a horizontal pod autoscaler and KEDA, as `infra/kubernetes` has them: the bounds of the night, and by day the least of
    /// the day. A machine is a replica.
    Kubernetes { constants: Box<Constants>, shape: Shape },
}

impl Scaling {
    /// The rules, where there are any.
    pub fn constants(&self) -> Option<&Constants> {
        match self {
            Self::Fixed(_) => None,
            Self::Rules { constants, .. } | Self::Kubernetes { constants, .. } => Some(constants),
        }
    }
}

/// Everything that a run depends on, but the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub arrivals: Vec<Arrivals>,
    /// A job whose time neither its lane nor itself knows is left out.
    pub service: PerLane<Option<ServiceTime>>,
    pub machine: MachineType,
    pub scaling: Scaling,
    /// Evictions of one Spot machine an hour; the time until one is exponential.
    pub evictions_per_hour: f64,
    /// From the notice of an eviction to the end of the machine.
    pub notice: Duration,
    /// Jobs in flight have so long when their machine is scaled in.
    pub drain: Duration,
    /// Autoscale learns of a metric point so long after its minute.
    pub metric_delay: Duration,
    /// Time of day at which the simulation begins, in the time zone of the profiles.
    pub time_of_day: Duration,
    pub length: Duration,
}

/// What became of one job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub lane: Lane,
    pub arrived: Duration,
    /// When a machine first took it.
    pub taken: Option<Duration>,
    /// When it first had a slot.
    pub begun: Option<Duration>,
    pub finished: Option<Duration>,
    /// Times it was given back.
    pub returned: u32,
}

/// The fleet at one minute, after Autoscale has decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    pub at: Duration,
    /// Waiting and in flight.
    pub backlog: PerLane<usize>,
    pub seconds_per_worker: f64,
    /// Age of the oldest job that has no result.
    pub oldest: Duration,
    /// Regular and Spot.
    pub starting: [usize; 2],
    pub serving: [usize; 2],
    pub draining: [usize; 2],
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub length: Duration,
    /// In order of arrival.
    pub jobs: Vec<Record>,
    pub minutes: Vec<Minute>,
    /// Machine time from order to end, of regular and Spot machines.
    pub machine_time: [Duration; 2],
    /// Slot time of jobs that were finished there.
    pub useful: Duration,
    /// Slot time of jobs that were given back.
    pub lost: Duration,
    pub evictions: usize,
    /// Decisions of Autoscale to have more or fewer.
    pub scale_outs: usize,
    pub scale_ins: usize,
}
