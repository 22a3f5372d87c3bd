//! A small file system of its own, which nobody sees who is not let in.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::parts::Part;
use crate::wait;

/// What gives a program mounts of its own, without being root.
const PRIVATE: [&str; 3] = ["unshare", "--mount", "--map-root-user"];

/// The disk. It lives as long as its part: whoever is let in may end and another come.
#[derive(Debug)]
pub struct Disk {
    _part: Part,
    process: u32,
    at: PathBuf,
}

impl Disk {
    /// At a folder that is there, with `options` of `mount -t tmpfs`; `None` (said by name) where this user may mount
    /// nothing.
    pub async fn new(test: &str, at: &Path, options: &str) -> Option<Self> {
        let mut tried = Command::new(PRIVATE[0]);
        tried.args(&PRIVATE[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        if !tried.output().is_ok_and(|tried| tried.status.success()) {
            eprintln!("SKIPPED: {test}: no mount namespaces for this user");
            return None;
        }
        let mounted = at.with_extension("mounted");
        let (at_text, mounted_text) = (at.to_str().expect("UTF-8"), mounted.to_str().expect("UTF-8"));
        let mount = "mount -t tmpfs -o \"$2\" tmpfs \"$1\" && echo $$ >\"$3\" && exec sleep infinity";
        let words = ["sh", "-euc", mount, "disk", at_text, options, mounted_text];
        let part = Part::start("disk", &[&PRIVATE[..], &words].concat(), &[], at.parent()?);
        let process = wait::until("the disk to be mounted", || async {
            std::fs::read_to_string(&mounted).ok()?.trim().parse::<u32>().ok()
        })
        .await;
        Some(Self { _part: part, process, at: at.to_owned() })
    }

    /// Its folder, as it is from outside.
    pub fn folder(&self) -> PathBuf {
        let below = self.at.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.process.to_string()).join("root").join(below)
    }

    /// Words before a command that let it in.
    pub fn enter(&self) -> Vec<String> {
        let process = self.process.to_string();
        let words = ["nsenter", "--target", &process, "--user", "--mount", "--preserve-credentials", "--"];
        words.map(str::to_owned).to_vec()
    }

    /// Mounts it again, in another way.
    pub fn remount(&self, options: &str) {
        let words = self.enter();
        let mount = ["mount", "-o", &format!("remount,{options}")];
        let mut command = Command::new(&words[0]);
        let done = command.args(&words[1..]).args(mount).arg(&self.at).output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}
