//! Child processes that end with us, and what to do when a real part is missing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Runs the arguments after the first in a process group of its own, until standard input says how to end it, or
/// closes. The kernel closes it when we end, however we end, so that no test run leaves a broker behind: not after a
/// panic, not after SIGKILL; then the folder named first goes too. A signal to our whole group says the same.
const WATCH: &str = r#"folder=$1
shift
setsid "$@" </dev/null & child=$!
trap : TERM INT HUP
orphaned=no
read -r signal || orphaned=yes
kill "-${signal:-KILL}" "-$child" 2>/dev/null
wait "$child" 2>/dev/null
if [ "$orphaned" = yes ]; then rm -rf -- "$folder"; fi"#;

/// Lines of a part's log that a test that failed shows.
const LAST_WORDS: usize = 20;

/// A program that we started. Dropped, it is killed.
#[derive(Debug)]
pub struct Part {
    watcher: Child,
    name: String,
    log: PathBuf,
}

/// How a part is told to end.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// As a machine does that loses power.
    Kill,
    /// As an operator does.
    Term,
}

impl Part {
    /// Starts `command`; its output goes to a log in `folder`, which is its own.
    pub fn start(name: &str, command: &[&str], environment: &[(&str, String)], folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let watcher = Command::new("sh")
            .args(["-c", WATCH, name])
            .arg(folder)
            .args(command)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { watcher, name: name.to_owned(), log }
    }

    /// Ends it and waits until it is gone.
    pub fn end(mut self, how: Ending) {
        self.signal(how);
    }

    fn signal(&mut self, how: Ending) {
        use std::io::Write;
        if let Some(mut stdin) = self.watcher.stdin.take() {
            let word: &[u8] = match how {
                Ending::Kill => b"KILL\n",
                Ending::Term => b"TERM\n",
            };
            let _ = stdin.write_all(word);
        }
        let _ = self.watcher.wait();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("stopping {}; its last words:", self.name);
            for line in &lines[lines.len().saturating_sub(LAST_WORDS)..] {
                eprintln!("    {line}");
            }
        }
        self.signal(Ending::Kill);
    }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository").to_owned()
}

/// Inputs that went wrong, beside the repository or where `NIGHTREAD_TEST_CASES` says; `None` (said by name) where they
/// are not.
pub fn cases(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("NIGHTREAD_TEST_CASES");
    let folder = folder.map_or_else(|| root().join("../shared/cases"), PathBuf::from);
    if !folder.is_dir() {
        skipped(test, "the folder of cases (NIGHTREAD_TEST_CASES)");
        return None;
    }
    Some(folder)
}

/// A port nobody uses, and none that we gave before. Never one of those that Linux gives to outgoing connections
/// (32768 and above): one of these would sooner or later take it while its part is not listening, even one to that very
/// port, which TCP connects to itself.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("nobody panics with it");
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}

/// A name that no other test and no earlier run has used, for what outlives a test on a given storage.
pub fn fresh_name(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    format!("{name}-{:x}", now.as_nanos())
}

/// Says by name that a test did not run; fails instead where every part must be there (`CI=true`).
pub fn skipped(test: &str, missing: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test}: {missing} is missing, and CI=true; `tests/setup` installs it"
    );
    eprintln!("SKIPPED: {test}: {missing} is missing; `tests/setup` installs it");
}
