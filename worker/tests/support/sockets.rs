//! The sockets of a program and its children, as `/proc` shows them: what is open for less than a look takes is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    Inet {
        protocol: &'static str,
        here: SocketAddr,
        there: SocketAddr,
    },
    /// Open, in none of the tables, and no local socket either.
    Other,
}

/// Looks again and again until `ended`.
pub fn watch(process: u32, ended: &AtomicBool) -> BTreeSet<Socket> {
    let mut seen = BTreeSet::new();
    while !ended.load(Ordering::Relaxed) {
        for member in family(process) {
            seen.extend(of(member));
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

/// A process and all below it.
fn family(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let children: Vec<u32> = threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|ids| ids.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
            .collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// What one process has open now.
fn of(process: u32) -> BTreeSet<Socket> {
    let before = open(process);
    if before.is_empty() {
        return BTreeSet::new();
    }
    let table = |name: &str| fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default();
    let inet: BTreeMap<u64, Socket> = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"]
        .into_iter()
        .flat_map(|name| table(name).lines().filter_map(|line| inet(name, line)).collect::<Vec<_>>())
        .collect();
    let local: BTreeSet<u64> = [("unix", 6), ("netlink", 9)]
        .into_iter()
        .flat_map(|(name, column)| {
            let lines = table(name);
            let inode = |line: &str| line.split_whitespace().nth(column)?.parse().ok();
            lines.lines().filter_map(inode).collect::<Vec<u64>>()
        })
        .collect();
    let Some(after) = Some(open(process)).filter(|after| !after.is_empty()) else { return BTreeSet::new() };
    before
        .into_iter()
        .filter(|inode| !local.contains(inode))
        .filter_map(|inode| match inet.get(&inode) {
            Some(socket) => Some(socket.clone()),
            // One that was open all the while would be in the tables of what it is.
            None => after.contains(&inode).then_some(Socket::Other),
        })
        .collect()
}

/// The inodes of its open sockets.
fn open(process: u32) -> BTreeSet<u64> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

fn inet(protocol: &'static str, line: &str) -> Option<(u64, Socket)> {
    let columns: Vec<_> = line.split_whitespace().collect();
    let (here, there) = (address(columns.get(1)?)?, address(columns.get(2)?)?);
    let inode = columns.get(9)?.parse().ok()?;
    Some((inode, Socket::Inet { protocol, here, there }))
}

/// `0100007F:1F90`: words in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let mut octets = Vec::new();
    for at in (0..host.len()).step_by(8) {
        octets.extend(u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let host = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
    };
    Some(SocketAddr::new(host, u16::from_str_radix(port, 16).ok()?))
}
