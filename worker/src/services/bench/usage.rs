//! Processor time and memory of this process, from the kernel's own account of each thread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Decode,
    Inference,
    Other,
}

/// Processor time of each thread so far.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    at: Instant,
    threads: BTreeMap<u32, (Group, Duration)>,
}

/// Processor time between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    pub elapsed: Duration,
    /// Decoding and preparing.
    pub decode: Duration,
    pub inference: Duration,
    /// All else: storage, digests, documents, waiting.
    pub other: Duration,
}

impl Usage {
    pub(super) fn now() -> Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir("/proc/self/task").context("the kernel lists no threads")? {
            let folder = entry?.path();
            // A thread that ends meanwhile is no longer there to be read.
            let [name, times] =
                ["comm", "schedstat"].map(|file| std::fs::read_to_string(folder.join(file)).ok());
            let (Some(name), Some(times)) = (name, times) else { continue };
            let id = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let spent = times.split(' ').next().and_then(|spent| spent.parse().ok());
            if let (Some(id), Some(spent)) = (id, spent) {
                threads.insert(id, (group(id, name.trim()), Duration::from_nanos(spent)));
            }
        }
        anyhow::ensure!(!threads.is_empty(), "the kernel keeps no account of threads (schedstat)");
        Ok(Self { at: Instant::now(), threads })
    }

    pub(super) fn since(&self, before: &Self) -> Used {
        let mut used = Used { elapsed: self.at - before.at, ..Used::default() };
        for (id, (group, spent)) in &self.threads {
            let earlier = before.threads.get(id).map_or(Duration::ZERO, |(_, spent)| *spent);
            *match group {
                Group::Decode => &mut used.decode,
                Group::Inference => &mut used.inference,
                Group::Other => &mut used.other,
            } += spent.saturating_sub(earlier);
        }
        used
    }
}

impl Used {
    fn total(&self) -> Duration {
        self.decode + self.inference + self.other
    }

    /// Share of the time of `cores` cores that this process had, in [0, 1].
    pub(super) fn of_cores(&self, cores: usize) -> f64 {
        self.total().as_secs_f64() / (self.elapsed.as_secs_f64() * cores as f64).max(1e-9)
    }

    /// Share of the processor time that was neither decoding, preparing nor inferring, in [0, 1].
    pub(super) fn overhead(&self) -> f64 {
        self.other.as_secs_f64() / self.total().as_secs_f64().max(1e-9)
    }
}

/// Threads of a session have the name of the thread that opened it, which is the program's own.
fn group(id: u32, name: &str) -> Group {
    if name.starts_with("decode-") {
        Group::Decode
    } else if id == std::process::id() || name.starts_with("tokio") {
        Group::Other
    } else {
        Group::Inference
    }
}

/// Resident memory, in MiB; 0 where the kernel does not tell.
pub(super) fn resident_mib() -> u64 {
    status_mib("VmRSS:")
}

/// The most resident memory so far, in MiB.
pub(super) fn peak_mib() -> u64 {
    status_mib("VmHWM:")
}

fn status_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_where_it_was_done() {
        assert_eq!(group(1, "decode-0"), Group::Decode);
        assert_eq!(group(1, "inference-3"), Group::Inference);
        assert_eq!(group(1, "tokio-rt-worker"), Group::Other);
        assert_eq!(group(std::process::id(), "nightread"), Group::Other);
        assert_eq!(group(1, "nightread"), Group::Inference, "a session's own threads");
    }

    #[test]
    fn time_that_passed_idle_is_not_used() {
        let before = Usage::now().expect("an account");
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number * number));
        }
        let used = Usage::now().expect("an account").since(&before);
        assert!(used.total() > Duration::ZERO && used.total() <= used.elapsed * 64, "{used:?} {sum}");
        assert!(resident_mib() > 0 && peak_mib() >= resident_mib() / 2);
    }
}
