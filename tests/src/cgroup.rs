//! Little memory: a control group of either version of the kernel's interface, or the limit that any process may set itself.

use std::path::{Path, PathBuf};

use crate::parts::fresh_name;

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// What bounds the memory of a process.
#[derive(Debug)]
pub enum Room {
    /// The kernel counts what is in use, files that were read included, and kills.
    Group(MemoryGroup),
    /// The kernel counts private memory that may be written (RLIMIT_DATA), in bytes, and gives no more. Needs no right.
    Process(u64),
}

impl Room {
    /// A group of so many bytes; where none may be made a process of so many.
    pub fn new(group: u64, process: u64) -> Self {
        MemoryGroup::new(group).map_or(Self::Process(process), Self::Group)
    }

    /// Words before a command that run it in here.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Group(group) => group.words().to_vec(),
            Self::Process(bytes) => {
                ["prlimit".to_owned(), format!("--data={bytes}:{bytes}"), "--".to_owned()].to_vec()
            }
        }
    }

    /// What was allowed and what was taken, in words.
    pub fn told(&self) -> String {
        let mebi = |bytes: u64| bytes >> 20;
        match self {
            Self::Group(group) => format!(
                "the group with the files that were read took {} MiB at most, {} killed",
                mebi(group.peak()),
                group.kills()
            ),
            Self::Process(bytes) => format!("{} MiB of private memory allowed", mebi(*bytes)),
        }
    }
}

/// Sets a running process's limit of private memory, in bytes: below what it has it gets no more.
pub fn starve(process: u32, bytes: u64) {
    let words = ["--pid", &process.to_string(), &format!("--data={bytes}:{bytes}")];
    let done = std::process::Command::new("prlimit").args(words).output().expect("prlimit runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The group. Dropped, it is removed; what ran in it must have ended.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    is_v1: bool,
}

impl MemoryGroup {
    /// `None` where this process may make none, or memory is not among what groups can limit.
    pub fn new(bytes: u64) -> Option<Self> {
        Self::at(&Path::new(V1).join(own_group()), true, bytes)
            .or_else(|| Self::at(Path::new(V2), false, bytes))
    }

    fn at(parent: &Path, is_v1: bool, bytes: u64) -> Option<Self> {
        let folder = parent.join(fresh_name("nightread"));
        std::fs::create_dir(&folder).ok()?;
        let group = Self { folder, is_v1 };
        let (limit, with_swap) = if is_v1 {
            ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes))
        } else {
            ("memory.max", ("memory.swap.max", 0))
        };
        std::fs::write(group.folder.join(limit), bytes.to_string()).ok()?;
        // Not every kernel counts swap.
        let _ = std::fs::write(group.folder.join(with_swap.0), with_swap.1.to_string());
        Some(group)
    }

    /// Words before a command that run it in here.
    pub fn words(&self) -> [String; 4] {
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.folder.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "in-group".to_owned()]
    }

    /// The most memory that was ever in use here, in bytes.
    pub fn peak(&self) -> u64 {
        let name = if self.is_v1 { "memory.max_usage_in_bytes" } else { "memory.peak" };
        self.read(name).trim().parse().unwrap_or(0)
    }

    /// Processes that the kernel killed here for want of memory.
    pub fn kills(&self) -> u64 {
        let name = if self.is_v1 { "memory.oom_control" } else { "memory.events" };
        let text = self.read(name);
        let found = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        found.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that was just killed may still be leaving.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("{} is left behind", self.folder.display());
    }
}

/// The group of this process among those of version 1, without its first slash.
fn own_group() -> String {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let line = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then(|| path.trim_start_matches('/').to_owned())
    });
    line.unwrap_or_default()
}
