//! What every Prometheus client tells of its process, under the names that all use.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use procfs::ProcResult;
use procfs::process::{LimitValue, Process};

const CPU: &str = "process_cpu_seconds_total";

/// Name, unit and meaning of each gauge.
const GAUGES: [(&str, Unit, &str); 6] = [
    ("process_resident_memory_bytes", Unit::Bytes, "Resident memory."),
    ("process_virtual_memory_bytes", Unit::Bytes, "Virtual memory."),
    ("process_open_fds", Unit::Count, "Open file descriptors."),
    ("process_max_fds", Unit::Count, "The most file descriptors that may be open."),
    ("process_threads", Unit::Count, "Threads."),
    ("process_start_time_seconds", Unit::Seconds, "When it was started, in seconds since 1970."),
];

/// All their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    GAUGES.iter().map(|(name, ..)| *name).chain([CPU])
}

pub(super) fn describe() {
    describe_counter!(CPU, Unit::Seconds, "Processor time of this process, whole seconds.");
    for (name, unit, meaning) in GAUGES {
        describe_gauge!(name, unit, meaning);
    }
}

/// Where the kernel does not tell, nothing is told.
pub(super) fn collect() {
    if let Ok((cpu, values)) = read() {
        counter!(CPU).absolute(cpu);
        for ((name, ..), value) in GAUGES.iter().zip(values) {
            gauge!(*name).set(value);
        }
    }
}

fn read() -> ProcResult<(u64, [f64; GAUGES.len()])> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second();
    let most = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(most) => most as f64,
        LimitValue::Unlimited => f64::INFINITY,
    };
    let started = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks as f64;
    let values = [
        (stat.rss * procfs::page_size()) as f64,
        stat.vsize as f64,
        process.fd_count()? as f64,
        most,
        stat.num_threads as f64,
        started,
    ];
    Ok(((stat.utime + stat.stime) / ticks, values))
}
