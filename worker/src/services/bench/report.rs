//! What `nightread bench` shows.

use std::time::Duration;

use nightread_domain::result::ModelFacts;
use nightread_engine::Processor;
use serde::Serialize;

use super::usage::{Used, peak_mib};
use crate::app::Composition;
use crate::compute::split::{Pace, Split};
use crate::console::table::table;
use crate::flow::WORKER_VERSION;
use crate::settings::Settings;
use crate::settings::validate::cores;

/// Instructions that decide how fast a network runs.
const DECISIVE: [&str; 7] =
    ["avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"];

/// One split, measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub split: Split,
    pub per_second: f64,
    /// With all permits in use.
    pub p50_ms: f64,
    pub p95_ms: f64,
    /// One at a time.
    pub alone_ms: f64,
    /// Share of the cores' time, in [0, 1].
    pub cpu_use: f64,
    /// Share of the processor time that was neither decoding, preparing nor inferring, in [0, 1].
    pub overhead: f64,
}

impl Row {
    pub(super) fn new(split: Split, pace: &Pace, alone: &Pace, used: &Used) -> Self {
        Self {
            split,
            per_second: pace.rate,
            p50_ms: quantile(&pace.latencies, 0.5),
            p95_ms: quantile(&pace.latencies, 0.95),
            alone_ms: quantile(&alone.latencies, 0.5),
            cpu_use: used.of_cores(cores()),
            overhead: used.overhead(),
        }
    }

    /// The median of each column over several runs of one split.
    pub(super) fn median(runs: &[Self]) -> Option<Self> {
        let first = runs.first()?;
        let of = |value: fn(&Self) -> f64| median(runs.iter().map(value).collect());
        Some(Self {
            split: first.split,
            per_second: of(|row| row.per_second),
            p50_ms: of(|row| row.p50_ms),
            p95_ms: of(|row| row.p95_ms),
            alone_ms: of(|row| row.alone_ms),
            cpu_use: of(|row| row.cpu_use),
            overhead: of(|row| row.overhead),
        })
    }
}

/// A bulk run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bulk {
    #[serde(flatten)]
    split: Split,
    count: usize,
    seconds: f64,
    per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    cpu_use: f64,
    overhead: f64,
    /// Processor time for each image, in ms.
    decode_cpu_ms: f64,
    inference_cpu_ms: f64,
    other_cpu_ms: f64,
    /// Resident memory at the beginning, at each quarter and at the end.
    memory_mib: Vec<u64>,
    peak_memory_mib: u64,
}

impl Bulk {
    pub(super) fn new(split: Split, pace: &Pace, used: &Used, memory_mib: Vec<u64>) -> Self {
        let count = pace.latencies.len();
        let [decode_cpu_ms, inference_cpu_ms, other_cpu_ms] =
            [used.decode, used.inference, used.other].map(|time| milliseconds(time) / count.max(1) as f64);
        Self {
            split,
            count,
            seconds: pace.elapsed.as_secs_f64(),
            per_second: count as f64 / pace.elapsed.as_secs_f64().max(1e-9),
            p50_ms: quantile(&pace.latencies, 0.5),
            p95_ms: quantile(&pace.latencies, 0.95),
            cpu_use: used.of_cores(cores()),
            overhead: used.overhead(),
            decode_cpu_ms,
            inference_cpu_ms,
            other_cpu_ms,
            memory_mib,
            peak_memory_mib: peak_mib(),
        }
    }
}

/// What `auto` takes, and how it stands in the grid.
#[derive(Clone, Debug, Serialize)]
struct Auto {
    #[serde(flatten)]
    split: Split,
    /// Its rate to the best row's.
    of_best: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    instructions: Vec<&'static str>,
}

/// Everything measured in one call.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchReport {
    version: &'static str,
    machine: Machine,
    model: Option<ModelFacts>,
    runtime: Option<String>,
    what: String,
    in_flight: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grid: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto: Option<Auto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bulk: Option<Bulk>,
}

impl BenchReport {
    pub(super) fn new(composition: &Composition, settings: &Settings, what: &str) -> Self {
        let model = composition.opened.models().next().map(|model| model.facts.clone());
        Self {
            version: WORKER_VERSION,
            machine: machine(),
            model,
            runtime: composition.opened.runtime().version().map(str::to_owned),
            what: what.to_owned(),
            in_flight: settings.limits.jobs,
            grid: Vec::new(),
            auto: None,
            bulk: None,
        }
    }

    pub(super) fn with_grid(self, grid: Vec<Row>, auto: Split) -> Self {
        let best = grid.iter().map(|row| row.per_second).fold(0.0, f64::max);
        let of_best = grid.iter().find(|row| row.split == auto).map(|row| row.per_second / best);
        Self { grid, auto: Some(Auto { split: auto, of_best }), ..self }
    }

    pub(super) fn with_bulk(self, bulk: Bulk) -> Self {
        Self { bulk: Some(bulk), ..self }
    }

    pub(crate) fn as_text(&self) -> String {
        let machine = &self.machine;
        let model = self.model.as_ref().map_or(String::new(), |model| {
            format!("{} {} on {}", model.name, model.version_in_paths(), model.execution_provider)
        });
        let mut lines = vec![
            format!("{}, {} cores, {}", machine.processor, machine.cores, machine.instructions.join(" ")),
            format!(
                "{model} (ONNX Runtime {}); {}; {} in flight",
                self.runtime.as_deref().unwrap_or("unknown"),
                self.what,
                self.in_flight
            ),
        ];
        if !self.grid.is_empty() {
            lines.push(self.grid_as_text());
        }
        if let Some(Auto { split, of_best }) = &self.auto {
            let share = of_best.map_or(String::new(), |share| format!(": {} of the best", percent(share)));
            lines.push(format!("auto takes {split}{share}"));
        }
        if let Some(bulk) = &self.bulk {
            lines.push(bulk.as_text());
        }
        lines.join("\n")
    }

    fn grid_as_text(&self) -> String {
        let best = self.grid.iter().map(|row| row.per_second).fold(0.0, f64::max);
        let mut rows =
            table(["split", "per second", "of best", "p50 ms", "p95 ms", "alone ms", "cores", "overhead"]);
        for row in &self.grid {
            rows.add_row([
                row.split.to_string(),
                format!("{:.2}", row.per_second),
                percent(row.per_second / best),
                format!("{:.0}", row.p50_ms),
                format!("{:.0}", row.p95_ms),
                format!("{:.1}", row.alone_ms),
                percent(row.cpu_use),
                format!("{:.1} %", 1e2 * row.overhead),
            ]);
        }
        rows.to_string()
    }
}

impl Bulk {
    fn as_text(&self) -> String {
        let memory: Vec<_> = self.memory_mib.iter().map(ToString::to_string).collect();
        format!(
            "{} read with {} in {:.1} s: {:.2} a second; p50 {:.0} ms, p95 {:.0} ms\n\
             cores used {}; processor time each: decode and prepare {:.1} ms, inference {:.1} ms, other {:.2} ms ({:.1} %)\n\
             resident memory over the run: {} MiB; at most {} MiB",
            self.count,
            self.split,
            self.seconds,
            self.per_second,
            self.p50_ms,
            self.p95_ms,
            percent(self.cpu_use),
            self.decode_cpu_ms,
            self.inference_cpu_ms,
            self.other_cpu_ms,
            1e2 * self.overhead,
            memory.join(", "),
            self.peak_memory_mib,
        )
    }
}

fn machine() -> Machine {
    let processor = Processor::here();
    Machine {
        cores: cores(),
        instructions: DECISIVE.into_iter().filter(|name| processor.has(name)).collect(),
        processor: processor.name,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 1e2 * share)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nearest rank, in ms; 0 of nothing.
fn quantile(times: &[Duration], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(rank).map_or(0.0, |time| milliseconds(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let times: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        assert!((quantile(&times, 0.5) - 10.0).abs() < 1e-9);
        assert!((quantile(&times, 0.95) - 19.0).abs() < 1e-9);
        assert!(quantile(&[], 0.5).abs() < 1e-9);
    }
}
