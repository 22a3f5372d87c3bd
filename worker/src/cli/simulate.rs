//! What can be typed after `nightread simulate`, and how each value is read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use nightread_domain::lanes::{Lane, UnknownLane};

use super::common::Format;
use nightread_fleet::ServiceTime;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread simulate --bulk 160000 --service bulk=0.16,0.3 --start 20:00 --hours 12
      160,000 images announced at eight in the evening, 0.16 s of one core each, under the deployed rules
  nightread simulate --rate 30,20,20,20,30,90,400,900,1500,1800,1800,1600,1500,1600,1500,1200,900,500,300,200,150,90,60,40 \\
      --service ingest=0.16,0.3 --every 60
      a day of ingest, in jobs an hour from midnight on
  nightread simulate --trace week.csv --bench bench.json --bench volumes=scans.json --hours 168 --within 3600 --format json
      what was recorded, with the service times that `nightread bench` measured; fails when a job waits an hour
  nightread simulate --bulk 160000 --service bulk=0.16,0.3 --start 20:00 --spot --evictions 0.1 --runs 20 \\
      --sweep out=300,600,1200 --sweep in=30,60,120
      how the figures change with the thresholds; means of twenty runs
  nightread simulate --bulk 160000 --service bulk=0.16,0.3 --start 20:00 --scaler kubernetes --startup 30-240
      the same night on a cluster

A simulated day of a thousand jobs takes a blink. The same scenario and seed give the same figures. Rules, capacities,
profile hours, drain and metric interval are those of infra/shared/settings.json, which the templates deploy.
Exit status: 0 simulated, 1 a job took longer than --within, 2 wrong use or a file that cannot be read.")]
pub struct SimulateArgs {
    /// Jobs that are announced at once, at a time of day (at the start)
    #[arg(long, value_name = "[LANE=]N[@HH:MM]", value_parser = bulk, help_heading = "Arrivals")]
    pub bulk: Vec<Bulk>,
    /// Random arrivals: jobs an hour, one number or 24 from midnight on
    #[arg(long, value_name = "[LANE=]R[,R...]", value_parser = rate, help_heading = "Arrivals")]
    pub rate: Vec<Rate>,
    /// Recorded arrivals: CSV lines of timestamp,lane,seconds; the timestamp RFC 3339, or seconds from the start; the
    /// seconds of one slot may be left out
    #[arg(long, value_name = "FILE", help_heading = "Arrivals")]
    pub trace: Option<PathBuf>,

    /// Seconds of one slot for a job of a lane: mean, and coefficient of variation (0)
    #[arg(long, value_name = "LANE=MEAN[,CV]", value_parser = service, help_heading = "Work")]
    pub service: Vec<Service>,
    /// Service times and slots from a report of `nightread bench --format json`, of images unless a lane is named; or
    /// from {"slots": N, "lanes": {LANE: {"mean_seconds", "cv"} or {"samples": [...]}}}; --service goes before
    #[arg(long, value_name = "[LANE=]FILE", value_parser = bench_file, help_heading = "Work")]
    pub bench: Vec<BenchFile>,
    /// Jobs that a machine works on at the same time: its cores, for images [default: 8]
    #[arg(long, value_name = "N", help_heading = "Work")]
    pub slots: Option<usize>,
    /// Jobs that a machine has in flight, [limits] jobs [default: four a slot]
    #[arg(long, value_name = "N", help_heading = "Work")]
    pub permits: Option<usize>,

    /// Rules and capacities of this settings file instead of the one built in
    #[arg(long, value_name = "FILE", help_heading = "Fleet")]
    pub settings: Option<PathBuf>,
    /// Shape whose capacities hold
    #[arg(long, value_name = "NAME", default_value = "prod", help_heading = "Fleet")]
    pub shape: String,
    /// So many workers from beginning to end, without autoscale
    #[arg(long, value_name = "N", conflicts_with_all = ["spot", "evictions"], help_heading = "Fleet")]
    pub workers: Option<usize>,
    /// What the number of workers follows: the rules of scale sets, or a horizontal pod autoscaler and KEDA as infra/kubernetes
    /// has them; a worker is then a replica, and --startup what a pod takes, on a node that is there or on one that is not
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, conflicts_with_all = ["workers", "spot"], help_heading = "Fleet")]
    pub scaler: ScalerName,
    /// Seconds from the order of a machine until it takes jobs; of a range, any
    #[arg(long, value_name = "A[-B]", value_parser = span, default_value = "300-480", help_heading = "Fleet")]
    pub startup: (Duration, Duration),
    /// Seconds until the scaler knows of a metric point
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = "Fleet")]
    pub metric_delay: u64,
    /// With the second scale set of Spot machines
    #[arg(long, help_heading = "Fleet")]
    pub spot: bool,
    /// Evictions of one Spot machine an hour
    #[arg(long, value_name = "RATE", default_value_t = 0.0, requires = "spot", help_heading = "Fleet")]
    pub evictions: f64,
    /// Seconds of notice before an eviction
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Fleet")]
    pub notice: u64,

    /// Time of day at which the simulation begins
    #[arg(long, value_name = "HH:MM", value_parser = clock, default_value = "00:00", help_heading = "Simulation")]
    pub start: Duration,
    /// Hours that are simulated
    #[arg(long, value_name = "H", default_value_t = 24.0, help_heading = "Simulation")]
    pub hours: f64,
    /// Seed of the first run; each further run has the next
    #[arg(long, default_value_t = 1, help_heading = "Simulation")]
    pub seed: u64,
    /// Runs whose figures are averaged
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000), help_heading = "Simulation")]
    pub runs: u64,
    /// Try each of these values (all combinations): out, in (seconds of work per worker), out-by, in-by (machines),
    /// out-cooldown, in-cooldown, out-window, in-window (minutes), evictions (an hour), startup (seconds), workers.
    /// Rules of the Spot set change in proportion
    #[arg(long, value_name = "WHAT=V[,V...]", value_parser = sweep, help_heading = "Simulation")]
    pub sweep: Vec<Sweep>,
    /// Minutes between the rows of the backlog
    #[arg(long, value_name = "MINUTES", default_value_t = 30, help_heading = "Simulation")]
    pub every: usize,
    /// Exit with 1 unless each job has its result within so many seconds
    #[arg(long, value_name = "SECONDS", help_heading = "Simulation")]
    pub within: Option<f64>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `--scaler`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScalerName {
    #[default]
    ScaleSets,
    Kubernetes,
}

/// `--bulk`: how many, and at what time of day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bulk {
    pub lane: Lane,
    pub count: usize,
    pub time_of_day: Option<Duration>,
}

/// `--rate`: jobs an hour, from midnight on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub lane: Lane,
    pub rates: [f64; 24],
}

/// `--service`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub lane: Lane,
    pub time: ServiceTime,
}

/// `--bench`: a file, and the lanes for which a bench in it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchFile {
    pub lanes: Vec<Lane>,
    pub path: PathBuf,
}

fn bench_file(text: &str) -> Result<BenchFile, String> {
    match text.split_once('=') {
        Some((lane, path)) => Ok(BenchFile { lanes: vec![known_lane(lane)?], path: path.into() }),
        None => Ok(BenchFile { lanes: vec![Lane::Ingest, Lane::Bulk], path: text.into() }),
    }
}

fn bulk(text: &str) -> Result<Bulk, String> {
    let (lane, rest) = lane_of(text, Lane::Bulk)?;
    let (count, time) = rest.split_once('@').map_or((rest, None), |(count, time)| (count, Some(time)));
    Ok(Bulk { lane, count: parsed(count, "a number of jobs")?, time_of_day: time.map(clock).transpose()? })
}

fn rate(text: &str) -> Result<Rate, String> {
    let (lane, rest) = lane_of(text, Lane::Ingest)?;
    let rates = numbers(rest)?;
    if rates.iter().any(|rate| !(0.0..=1e8).contains(rate)) {
        return Err("a rate is a number of jobs an hour from 0 on".to_owned());
    }
    let rates = match rates.as_slice() {
        [one] => [*one; 24],
        all => all.try_into().map_err(|_| format!("1 or 24 rates are expected, not {}", all.len()))?,
    };
    Ok(Rate { lane, rates })
}

fn service(text: &str) -> Result<Service, String> {
    let Some((lane, rest)) = text.split_once('=') else {
        return Err("LANE=MEAN[,CV] is expected, as in bulk=0.16,0.3".to_owned());
    };
    let lane = known_lane(lane)?;
    let time = match numbers(rest)?.as_slice() {
        [mean] => ServiceTime::Gamma { mean: *mean, cv: 0.0 },
        [mean, cv] => ServiceTime::Gamma { mean: *mean, cv: *cv },
        _ => return Err("a mean, and at most a coefficient of variation, are expected".to_owned()),
    };
    match time.problem() {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(Service { lane, time }),
    }
}

fn span(text: &str) -> Result<(Duration, Duration), String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let time = |text| {
        let seconds: f64 = parsed(text, "a number of seconds")?;
        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
    };
    let (least, most) = (time(least)?, time(most)?);
    if least > most { Err("the range goes backwards".to_owned()) } else { Ok((least, most)) }
}

/// `HH:MM`, as a time since midnight.
pub(super) fn clock(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no time of day like 20:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(expected)?;
    match (hours.parse::<u64>(), minutes.parse::<u64>()) {
        (Ok(hours @ 0..=23), Ok(minutes @ 0..=59)) => Ok(Duration::from_secs(3600 * hours + 60 * minutes)),
        _ => Err(expected()),
    }
}

fn lane_of(text: &str, default: Lane) -> Result<(Lane, &str), String> {
    match text.split_once('=') {
        Some((lane, rest)) => Ok((known_lane(lane)?, rest)),
        None => Ok((default, text)),
    }
}

fn known_lane(name: &str) -> Result<Lane, String> {
    name.parse().map_err(|error: UnknownLane| error.to_string())
}

pub(super) fn numbers(text: &str) -> Result<Vec<f64>, String> {
    text.split(',').map(|text| parsed(text, "a number")).collect()
}

fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_meant() {
        let at = |hours: u64| Duration::from_secs(3600 * hours);
        assert_eq!(bulk("160000"), Ok(Bulk { lane: Lane::Bulk, count: 160_000, time_of_day: None }));
        let late = Bulk { lane: Lane::Volumes, count: 5, time_of_day: Some(at(22)) };
        assert_eq!(bulk("volumes=5@22:00"), Ok(late));
        assert_eq!(rate("7"), Ok(Rate { lane: Lane::Ingest, rates: [7.0; 24] }));
        assert_eq!(span("300-480"), Ok((Duration::from_mins(5), Duration::from_mins(8))));
        assert_eq!(span("90"), Ok((Duration::from_secs(90), Duration::from_secs(90))));
        assert!(service("bulk=0.16,0.3").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for bad in [bulk("many").err(), bulk("night=1").err(), bulk("1@25:00").err()] {
            assert!(bad.is_some());
        }
        for bad in ["1,2", "ingest=-1", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["0.16", "bulk=0", "bulk=1,2,3", "bulk=-1"] {
            assert!(service(bad).is_err(), "{bad}");
        }
        for bad in ["480-300", "-5", "x", "inf"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}

/// `--sweep WHAT=V,V`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub knob: Knob,
    pub values: Vec<f64>,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    Out,
    In,
    OutBy,
    InBy,
    OutCooldown,
    InCooldown,
    OutWindow,
    InWindow,
    Evictions,
    Startup,
    Workers,
}

impl Knob {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Out, "out"),
        (Self::In, "in"),
        (Self::OutBy, "out-by"),
        (Self::InBy, "in-by"),
        (Self::OutCooldown, "out-cooldown"),
        (Self::InCooldown, "in-cooldown"),
        (Self::OutWindow, "out-window"),
        (Self::InWindow, "in-window"),
        (Self::Evictions, "evictions"),
        (Self::Startup, "startup"),
        (Self::Workers, "workers"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(knob, _)| *knob == self).map_or("", |(_, name)| name)
    }
}

pub(crate) fn sweep(text: &str) -> Result<Sweep, String> {
    let (name, values) = text.split_once('=').ok_or("WHAT=V[,V...] is expected, as in out=300,600")?;
    let Some((knob, _)) = Knob::ALL.into_iter().find(|(_, known)| *known == name) else {
        let known: Vec<_> = Knob::ALL.iter().map(|(_, name)| *name).collect();
        return Err(format!("{name:?} cannot be tried; these can: {}", known.join(", ")));
    };
    let values = numbers(values)?;
    if values.iter().any(|value| !(0.0..=1e9).contains(value)) {
        return Err("values from 0 on are expected".to_owned());
    }
    Ok(Sweep { knob, values })
}
