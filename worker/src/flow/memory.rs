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
/// the limit of private memory that may be written (RLIMIT_DATA). `None` where the kernel tells of none.
pub fn in_use() -> Option<MemoryUse> {
    bounds().max_by(|one, other| one.share().total_cmp(&other.share()))
}

/// The most memory that this process can have, in bytes, by the narrowest of the same bounds.
pub fn most() -> Option<u64> {
    bounds().map(|bound| bound.limit).min()
}

fn bounds() -> impl Iterator<Item = MemoryUse> {
    of_groups(Path::new(GROUPS)).into_iter().chain(of_machine()).chain(of_process())
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
    fn this_process_has_a_bound_that_it_keeps_below() {
        let found = in_use().expect("the machine at least");
        assert!(found.used > 0 && found.used <= found.limit, "{found:?}");
        assert!(most().is_some_and(|most| most <= found.limit), "the fullest need not be the narrowest");
    }
}
