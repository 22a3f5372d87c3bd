//! How much of the memory that this process may have is in use, as the kernel counts it before it kills.

use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Process};
use procfs::{Current, Meminfo};

const GROUPS: &str = "/sys/fs/cgroup";

/// Names of one version of the kernel's interface of control groups.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Of `memory.stat`: files that were read, which are given up before anybody is killed.
    given_up: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    given_up: ["total_inactive_file", "total_active_file"],
};

const V2: Files =
    Files { limit: "memory.max", used: "memory.current", given_up: ["inactive_file", "active_file"] };

/// Memory in use of what there may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    pub used: u64,
    pub limit: u64,
}

impl MemoryUse {
    /// In [0, 1], or a little above.
    pub fn share(self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }
}

/// Of all that bounds this process the one that is fullest: its control group and those around it, the machine with its swap, and
/// the limit of private memory that may be written (RLIMIT_DATA). What others fill is left out: a bound of which this process
/// and its children have less than half of what is used. `None` where nothing is left, or the kernel tells of none.
pub fn in_use() -> Option<MemoryUse> {
    fullest(shared(), own(), of_process())
}

/// `private`: the bound of this process alone.
fn fullest(
    shared: impl Iterator<Item = MemoryUse>,
    own: u64,
    private: Option<MemoryUse>,
) -> Option<MemoryUse> {
    let ours = shared.filter(|bound| own >= bound.used / 2).chain(private);
    ours.max_by(|one, other| one.share().total_cmp(&other.share()))
}

/// Resident memory of this process and its children, in bytes; that of files that are read is among it.
fn own() -> u64 {
    let resident = |process: Process| process.status().ok()?.vmrss.map(|kib| kib << 10);
    let Ok(this) = Process::myself() else { return 0 };
    let threads = this.tasks().into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| thread.children().ok()).flatten();
    let children = children.filter_map(|id| Process::new(id.cast_signed()).ok());
    children.chain([this]).filter_map(resident).sum()
}

/// The most memory that this process can have, in bytes, by the narrowest of the same bounds.
pub fn most() -> Option<u64> {
    shared().chain(of_process()).map(|bound| bound.limit).min()
}

/// What bounds this process together with others.
fn shared() -> impl Iterator<Item = MemoryUse> {
    of_groups(Path::new(GROUPS)).into_iter().chain(of_machine())
}

fn of_machine() -> Option<MemoryUse> {
    let all = Meminfo::current().ok()?;
    let limit = all.mem_total + all.swap_total;
    Some(MemoryUse { used: limit.saturating_sub(all.mem_available? + all.swap_free), limit })
}

fn of_process() -> Option<MemoryUse> {
    let process = Process::myself().ok()?;
    let LimitValue::Value(limit) = process.limits().ok()?.max_data_size.soft_limit else { return None };
    Some(MemoryUse { used: process.status().ok()?.vmdata? << 10, limit })
}

/// `root`: where the groups of either version are mounted.
fn of_groups(root: &Path) -> Vec<MemoryUse> {
    let Ok(groups) = Process::myself().and_then(|process| process.cgroups()) else { return Vec::new() };
    let v1 = groups.0.iter().find(|group| group.controllers.iter().any(|name| name == "memory"));
    let v2 = groups.0.iter().find(|group| group.hierarchy == 0);
    let v1 = v1.map(|group| around(&root.join("memory"), &group.pathname, &V1));
    let v2 = v2.map(|group| around(root, &group.pathname, &V2));
    v1.into_iter().chain(v2).flatten().collect()
}

/// What bounds a group and all around it. In a container its own group may be mounted in the root's place, and its path be another's.
fn around(root: &Path, path: &str, files: &Files) -> Vec<MemoryUse> {
    let group = root.join(path.trim_start_matches('/'));
    let own = if group.is_dir() { group } else { root.to_owned() };
    let folders = own.ancestors().take_while(|folder| folder.starts_with(root)).map(PathBuf::from);
    folders.filter_map(|folder| of_group(&folder, files)).collect()
}

fn of_group(folder: &Path, files: &Files) -> Option<MemoryUse> {
    // `max` is no number: nothing bounds it.
    let limit: u64 = read(folder, files.limit)?.trim().parse().ok()?;
    let used: u64 = read(folder, files.used)?.trim().parse().ok()?;
    let facts = read(folder, "memory.stat")?;
    let given_up: u64 = files.given_up.iter().filter_map(|name| field(&facts, name)).sum();
    Some(MemoryUse { used: used.saturating_sub(given_up), limit })
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

fn field(facts: &str, name: &str) -> Option<u64> {
    let value = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(folder: &Path, files: &Files, [limit, used]: [&str; 2]) {
        std::fs::create_dir_all(folder).expect("a folder");
        let facts = format!("anon 1\n{} 300\n{} 100\n", files.given_up[0], files.given_up[1]);
        for (name, text) in [(files.limit, limit), (files.used, used), ("memory.stat", &facts)] {
            std::fs::write(folder.join(name), format!("{text}\n")).expect("written");
        }
    }

    #[test]
    fn files_that_were_read_are_not_in_use_and_every_group_around_counts() {
        for files in [&V1, &V2] {
            let root = tempfile::tempdir().expect("a folder");
            let root = root.path();
            group(&root.join("slice/unit"), files, ["1000", "900"]);
            group(&root.join("slice"), files, ["4000", "3900"]);
            let found = around(root, "/slice/unit", files);
            let used = |used, limit| MemoryUse { used, limit };
            assert_eq!(found, [used(500, 1000), used(3500, 4000)], "the root bounds nothing");
        }
    }

    #[test]
    fn a_group_without_a_limit_bounds_nothing_and_a_container_s_own_is_the_root() {
        let root = tempfile::tempdir().expect("a folder");
        group(root.path(), &V2, ["max", "900"]);
        assert_eq!(around(root.path(), "/", &V2), []);
        group(root.path(), &V2, ["2000", "900"]);
        let found = around(root.path(), "/kubepods/of-the-host", &V2);
        assert_eq!(found, [MemoryUse { used: 500, limit: 2000 }]);
    }

    #[test]
    fn what_others_fill_is_no_use_of_this_process() {
        let used = |used, limit| MemoryUse { used, limit };
        let (group, machine) = (used(1, 8), used(14, 16));
        assert_eq!(fullest([group, machine].into_iter(), 1, None), Some(group), "others fill the machine");
        assert_eq!(fullest([group, machine].into_iter(), 7, None), Some(machine));
        assert_eq!(fullest([machine].into_iter(), 6, None), None);
        let private = Some(used(9, 10));
        assert_eq!(fullest([machine].into_iter(), 1, private), private, "address space is not all resident");
    }

    #[test]
    fn this_process_has_a_bound_and_memory_of_its_own() {
        let bound = shared().last().expect("the machine at least");
        assert!(bound.used > 0 && bound.used <= bound.limit, "{bound:?}");
        assert!(most().is_some_and(|most| most <= bound.limit), "the fullest need not be the narrowest");
        let alone = own();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        let both = std::iter::repeat_with(own).take(1000).find(|both| *both > alone);
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(alone > 1 << 20 && both.is_some(), "{alone}");
    }
}
