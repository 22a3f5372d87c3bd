//! Nothing leaves the machine and nothing is left in the home folder, whatever the environment says; no code is loaded
//! from where the program happens to run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nightread_fmri::GroupMaps;
use nightread_volume::{Description, FileSource, Limits, Storage, VolumeWriter};
use support::sockets::{self, Socket};
use support::{repository, runtime};
use tempfile::TempDir;

/// Settings that would have ONNX Runtime report, did the worker obey them.
const WRONG: [(&str, &str); 2] = [("ORT_DISABLE_TELEMETRY", "0"), ("ORT_TELEMETRY_DISABLED", "0")];

/// However long a machine that is busy with other tests takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a program did: the inet sockets it opened and used, and the files by which names of hosts are resolved.
#[derive(Debug)]
struct Trace {
    status: ExitStatus,
    log: String,
    /// One line for each system call of interest; `None` where programs cannot be traced.
    calls: Option<Vec<String>>,
    /// What was seen open while it ran, by itself and its children.
    sockets: BTreeSet<Socket>,
    home: TempDir,
}

/// What a program may reach.
struct Wanted<'w> {
    call: &'w dyn Fn(&str) -> bool,
    /// Here and there.
    socket: &'w dyn Fn(&SocketAddr, &SocketAddr) -> bool,
}

impl Trace {
    fn calls(&self, what: impl Fn(&str) -> bool) -> Vec<&str> {
        let calls = self.calls.iter().flatten().map(String::as_str);
        calls.filter(|call| what(call)).collect()
    }

    /// Files in the home folder, but for optimised graphs, which hold what a model's own files hold.
    fn left_at_home(&self) -> Vec<PathBuf> {
        let mut left = files(self.home.path());
        let graphs = self.home.path().join(".cache/nightread");
        left.retain(|file| {
            let within = file.strip_prefix(&graphs).ok().and_then(Path::to_str);
            !within.is_some_and(is_of_a_graph)
        });
        left
    }

    /// No name was resolved, and no inet socket was opened but those that are wanted.
    fn assert_private(&self, what: &str, wanted: &Wanted<'_>) {
        let resolving = self.calls(|call| call.contains("resolv.conf") || call.contains("htons(53)"));
        assert!(resolving.is_empty(), "{what} resolves names: {resolving:#?}");
        let named = |call: &str| {
            let used = ["connect(", "bind(", "sendto(", "sendmsg(", "sendmmsg("];
            used.iter().any(|name| call.contains(name)) && call.contains("AF_INET")
        };
        let reached = self.calls(|call| named(call) && !(wanted.call)(call));
        assert!(reached.is_empty(), "{what} reaches for the network: {reached:#?}");
        let is_wanted = |socket: &Socket| match socket {
            Socket::Inet { here, there, .. } => (wanted.socket)(here, there),
            // One that is neither bound nor connected yet.
            Socket::Other => true,
        };
        let open: Vec<_> = self.sockets.iter().filter(|socket| !is_wanted(socket)).collect();
        assert!(open.is_empty(), "{what} has sockets open: {open:#?}");
        let left = self.left_at_home();
        assert!(left.is_empty(), "{what} leaves {left:?} in the home folder");
    }

    fn assert_no_inet_socket(&self, what: &str) {
        self.assert_private(what, &Wanted { call: &|_| false, socket: &|_, _| false });
        let sockets = self.calls(|call| call.contains("socket(AF_INET"));
        assert!(sockets.is_empty(), "{what} opens inet sockets: {sockets:#?}");
        assert!(self.sockets.is_empty(), "{what} has sockets open: {:#?}", self.sockets);
    }
}

/// All that is no folder below one.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Whether this is the name of a file of an optimised graph: a digest, and one of three.
fn is_of_a_graph(within: &str) -> bool {
    let Some((digest, name)) = within.split_once('/') else { return false };
    digest.len() == 64
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        && ["graph.onnx", "weights.bin", "record"].contains(&name)
}

/// Whether a program runs to its end under these words before it.
fn works(prefix: &[&str]) -> bool {
    let Some((program, arguments)) = prefix.split_first() else { return true };
    let tried = Command::new(program).args(arguments).arg("true").output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// The words that start a program in a network namespace without interfaces.
fn without_network() -> Option<&'static [&'static str]> {
    [&["unshare", "-n", "--"][..], &["unshare", "-rn", "--"][..]].into_iter().find(|prefix| works(prefix))
}

/// Runs the binary with an empty home and `settings`, traced where that can be had. What does not end by itself is told to
/// stop when its log says `until`.
fn traced(prefix: &[&str], arguments: &[&str], settings: &[(&str, &str)], until: Option<&str>) -> Trace {
    let work = TempDir::new().unwrap();
    let home = TempDir::new().unwrap();
    let trace = work.path().join("trace");
    let tracer = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-e", "trace=%network,openat"];
    let tracing = works(&[&tracer[..], &["-o", "/dev/null"]].concat());
    let mut words: Vec<&str> = prefix.to_vec();
    if tracing {
        words.extend(tracer);
        words.extend(["-o", trace.to_str().unwrap()]);
    }
    words.push(env!("CARGO_BIN_EXE_nightread"));
    words.extend(arguments);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(repository()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home.path());
    command.env("NIGHTREAD_MODELS_RUNTIME", runtime()).envs(settings.iter().copied());
    let (stdout, stderr) = (work.path().join("stdout"), work.path().join("stderr"));
    let file = |path: &Path| fs::File::create(path).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr)).spawn().unwrap();
    let log = || fs::read_to_string(&stderr).unwrap();
    let (ended, process) = (AtomicBool::new(false), child.id());
    let (status, sockets) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| sockets::watch(process, &ended));
        let ending = Ending(&ended);
        if let Some(until) = until {
            let started = Instant::now();
            while !log().contains(until) {
                assert!(child.try_wait().unwrap().is_none(), "it ended by itself: {}", log());
                assert!(started.elapsed() < PATIENCE, "its log never says {until:?}: {}", log());
                std::thread::sleep(Duration::from_millis(20));
            }
            for process in with_children(process) {
                let _ = Command::new("kill").args(["-TERM", &process.to_string()]).status();
            }
        }
        let status = child.wait().unwrap();
        drop(ending);
        (status, watching.join().unwrap())
    });
    let calls = tracing.then(|| fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect());
    Trace { status, log: log(), calls, sockets, home }
}

/// Tells the watching thread of the end, of a panic too.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The processes under this one that run the binary.
fn with_children(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|id| id.parse().ok()).flat_map(with_children);
    let program = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    let this = program == Path::new(env!("CARGO_BIN_EXE_nightread")).canonicalize().unwrap();
    this.then_some(process).into_iter().chain(below).collect()
}

fn tell_what_cannot_be_had(test: &str, trace: &Trace, isolated: bool) {
    if trace.calls.is_none() {
        eprintln!(
            "SKIPPED: {test}: strace is not here or may not trace: sockets were looked for in /proc again and again"
        );
    }
    if !isolated {
        eprintln!("SKIPPED: {test}: no network namespace can be made here: run in the one there is");
    }
}

fn assert_ended(trace: &Trace, what: &str) {
    assert!(trace.status.success(), "{what}: {} {}", trace.status, trace.log);
}

/// A small scan to read and to find components in.
fn scan(folder: &Path, seed: &str) -> String {
    let out = folder.join(format!("scan-{seed}.nii.gz")).to_str().unwrap().to_owned();
    let arguments = ["simulate-scan", "--volumes", "40", "--seed", seed, "--networks"];
    let maps = "models/fmri-networks-demo/maps.nii.gz";
    let made = support::nightread().args(arguments).args([maps, "--out", &out]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    out
}

#[test]
fn no_command_reaches_for_the_network_or_leaves_a_trace_at_home() {
    const TEST: &str = "no_command_reaches_for_the_network_or_leaves_a_trace_at_home";
    let work = TempDir::new().unwrap();
    let at = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
    let scans = [scan(work.path(), "1"), scan(work.path(), "2")];
    let (out, again, group, mask) = (at("out"), at("again"), at("group"), at("mask.nii"));
    fs::write(&mask, whole_mask()).unwrap();
    let isolated = without_network();
    let prefix = isolated.unwrap_or_default();
    let quick = [("NIGHTREAD_ENGINE_INTRA_THREADS", "1"), ("NIGHTREAD_ENGINE_DECODE_THREADS", "1")];
    let settings = [&WRONG[..], &quick[..]].concat();

    let model = ["--model", "cxr-pneumonia-demo"];
    let commands: [(&str, Vec<&str>); 4] = [
        ("process", vec!["process", "--out", &out, &scans[0]]),
        ("check", vec!["check"]),
        ("bench", [&["bench", "--seconds", "0.01", "--rounds", "1"][..], &model].concat()),
        (
            "group-ica",
            vec!["group-ica", &scans[0], &scans[1], "--components", "3", "--mask", &mask, "--out", &group],
        ),
    ];
    for (what, arguments) in &commands {
        let trace = traced(prefix, arguments, &settings, None);
        tell_what_cannot_be_had(TEST, &trace, isolated.is_some());
        assert_ended(&trace, what);
        trace.assert_no_inet_socket(what);
    }
    // With the network that there is, nothing is asked of it either.
    let trace = traced(&[], &["process", "--out", &again, &scans[0]], &settings, None);
    assert_ended(&trace, "process beside a network");
    trace.assert_no_inet_socket("process beside a network");
}

/// A brain mask of ones on the grid of the simulated scans.
fn whole_mask() -> Vec<u8> {
    let maps = FileSource(repository().join("models/fmri-networks-demo/maps.nii.gz"));
    let grid = *GroupMaps::read(&maps, None, &Limits::default()).unwrap().grid();
    let description = Description {
        grid,
        volumes: None,
        storage: Storage::F32,
        tr_seconds: None,
        space: 4,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, None).unwrap();
    writer.write_volume(&vec![1.0; grid.len()]).unwrap();
    writer.finish().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_service_reaches_what_its_settings_name_and_nothing_else() {
    const TEST: &str = "the_service_reaches_what_its_settings_name_and_nothing_else";
    let work = TempDir::new().unwrap();
    for container in ["incoming", "results"] {
        fs::create_dir(work.path().join(container)).unwrap();
    }
    // Nobody listens there: the service opens its models, asks for the broker in vain, and is told to stop.
    let (broker, health) = (free_port(), free_port());
    let (listen, url) = (format!("0.0.0.0:{health}"), format!("amqp://guest:guest@127.0.0.1:{broker}/%2f"));
    let folder = work.path().to_str().unwrap();
    let settings = [
        WRONG[0],
        WRONG[1],
        ("NIGHTREAD_BROKER_URL", url.as_str()),
        ("NIGHTREAD_HTTP_LISTEN", listen.as_str()),
        ("NIGHTREAD_STORAGE_FOLDER", folder),
        ("NIGHTREAD_MODELS_PRECISION", "fp32"),
        ("NIGHTREAD_ENGINE_SESSIONS", "1"),
        ("NIGHTREAD_ENGINE_INTRA_THREADS", "1"),
        ("NIGHTREAD_ENGINE_DECODE_THREADS", "1"),
    ];
    let isolated = without_network();
    let trace = traced(isolated.unwrap_or_default(), &["run"], &settings, Some("no session with the broker"));
    tell_what_cannot_be_had(TEST, &trace, isolated.is_some());
    assert_ended(&trace, "run");
    assert!(trace.log.contains("loaded ONNX Runtime"), "{}", trace.log);
    let named = |call: &str| {
        let to = |port: u16, address: &str| {
            call.contains(&format!("htons({port})")) && call.contains(&format!("\"{address}\""))
        };
        to(broker, "127.0.0.1") && call.contains("connect(")
            || to(health, "0.0.0.0") && call.contains("bind(")
    };
    let known = |here: &SocketAddr, there: &SocketAddr| here.port() == health || there.port() == broker;
    trace.assert_private("run", &Wanted { call: &named, socket: &known });
    let listens = |socket: &Socket| matches!(socket, Socket::Inet { here, .. } if here.port() == health);
    assert!(trace.sockets.iter().any(listens), "or /proc shows nothing: {:?}", trace.sockets);
}

/// The same look at a run that is asked to report: it finds the traces, so that the tests above can fail.
#[test]
fn reports_are_made_only_where_a_setting_asks_for_them() {
    const TEST: &str = "reports_are_made_only_where_a_setting_asks_for_them";
    let Some(isolated) = without_network() else {
        eprintln!("SKIPPED: {TEST}: no network namespace can be made here, and reports must not leave");
        return;
    };
    let asked = [("NIGHTREAD_MODELS_RUNTIME_TELEMETRY", "true"), ("ORT_DISABLE_TELEMETRY", "1")];
    let trace = traced(isolated, &["check"], &asked, None);
    assert_ended(&trace, "check");
    assert!(
        !trace.left_at_home().is_empty(),
        "this ONNX Runtime reports nothing: the other tests show nothing"
    );
    let off =
        traced(isolated, &["check"], &[asked[1], ("NIGHTREAD_MODELS_RUNTIME_TELEMETRY", "false")], None);
    off.assert_no_inet_socket("check, told not to report");
}

/// The binary with one word in its environment about reports, or none.
fn told(telemetry: Option<&str>, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository()).env_remove("ORT_DISABLE_TELEMETRY");
    command.envs(telemetry.map(|value| ("ORT_DISABLE_TELEMETRY", value)));
    command
}

#[test]
fn starting_anew_keeps_process_arguments_input_and_exit_status() {
    let binary = env!("CARGO_BIN_EXE_nightread");
    let mut endings = BTreeSet::new();
    for telemetry in [None, Some("0"), Some("true"), Some(""), Some("1")] {
        let mut child = told(telemetry, binary, &["codec-child"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let environment = format!("/proc/{}/environ", child.id());
        let started = Instant::now();
        let settled =
            |text: &[u8]| text.split(|byte| *byte == 0).any(|pair| pair == b"ORT_DISABLE_TELEMETRY=1");
        while !fs::read(&environment).is_ok_and(|text| settled(&text)) {
            assert!(started.elapsed() < PATIENCE, "with {telemetry:?} this process never has the variable");
            std::thread::sleep(Duration::from_millis(5));
        }
        // It waits for its first image on the very input that it was started with; the end of it is its end.
        drop(child.stdin.take());
        endings.insert(child.wait().unwrap().code());

        let wrong = told(telemetry, binary, &["check", "--config", "not there.toml"]).output().unwrap();
        assert_eq!(wrong.status.code(), Some(1), "{telemetry:?}");
        assert!(String::from_utf8_lossy(&wrong.stdout).contains("not there.toml"), "{telemetry:?}");
        let unknown = told(telemetry, binary, &["no-such-command"]).output().unwrap();
        assert_eq!(unknown.status.code(), Some(2), "{telemetry:?}");
    }
    assert!(endings.len() == 1 && !endings.contains(&None), "{endings:?}");
}

/// A thread that gets no memory while it holds the lock of backtraces would wait for itself for ever.
#[test]
fn backtraces_are_off_however_they_are_asked_for() {
    let binary = env!("CARGO_BIN_EXE_nightread");
    let ways: [&[(&str, &str)]; 4] = [
        &[("RUST_BACKTRACE", "1")],
        &[("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")],
        &[("RUST_BACKTRACE", ""), ("RUST_LIB_BACKTRACE", "0")],
        &[("RUST_LIB_BACKTRACE", "yes")],
    ];
    for asked in ways {
        let mut child = told(Some("1"), binary, &["codec-child"])
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE")
            .envs(asked.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let environment = format!("/proc/{}/environ", child.id());
        let started = Instant::now();
        let settled = |text: &[u8]| {
            let pairs: Vec<_> = text.split(|byte| *byte == 0).collect();
            asked.iter().all(|(name, _)| pairs.contains(&format!("{name}=0").as_bytes()))
        };
        while !fs::read(&environment).is_ok_and(|text| settled(&text)) {
            assert!(started.elapsed() < PATIENCE, "asked by {asked:?}, backtraces are never off");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn an_environment_that_does_not_take_the_variable_is_told_and_not_tried_for_ever() {
    let script = format!("NIGHTREAD_STARTED_ANEW=$$ exec {} models", env!("CARGO_BIN_EXE_nightread"));
    let ran = told(Some("0"), "sh", &["-c", &script]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(stderr.contains("ORT_DISABLE_TELEMETRY"), "{stderr}");
}

/// A library that leaves a file as soon as it is loaded, where a checkout has ONNX Runtime.
fn planted(folder: &Path, mark: &Path) -> Option<PathBuf> {
    let source = folder.join("planted.c");
    let code = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void run(void) {{ open(\"{}\", O_CREAT, 0600); }}\n",
        mark.display()
    );
    fs::write(&source, code).unwrap();
    fs::write(folder.join("Cargo.toml"), "[workspace]\n").unwrap();
    let places = [".cache/onnxruntime/cpu-99.0.0", "lib", "models/.cache/onnxruntime/cpu-99.0.0", "."];
    for place in places {
        fs::create_dir_all(folder.join(place)).unwrap();
        let library = folder.join(place).join("libonnxruntime.so.99.0.0");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        if !made.is_ok_and(|made| made.success()) {
            return None;
        }
    }
    Some(folder.join("libonnxruntime.so.99.0.0"))
}

#[test]
fn a_library_in_the_current_folder_never_runs() {
    const TEST: &str = "a_library_in_the_current_folder_never_runs";
    let work = TempDir::new().unwrap();
    let (here, mark) = (work.path().join("here"), work.path().join("mark"));
    let below = here.join("data/deep");
    fs::create_dir_all(&below).unwrap();
    let Some(library) = planted(&here, &mark) else {
        eprintln!("SKIPPED: {TEST}: no C compiler is here");
        return;
    };
    // Installed elsewhere, without a library of its own.
    let installed = work.path().join("installed/bin/nightread");
    fs::create_dir_all(installed.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_nightread"), &installed).unwrap();
    let check = |folder: &Path| {
        let mut command = Command::new(&installed);
        command.args(["check", "--models"]).arg(support::models()).current_dir(folder);
        // What used to name a library, and what other programs go by.
        for name in ["NIGHTREAD_ORT", "ORT_DYLIB_PATH"] {
            command.env(name, &library);
        }
        command
    };
    for folder in [&here, &below] {
        let ran = check(folder).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(!mark.exists(), "a library in the current folder has run");
        assert_eq!(ran.status.code(), Some(1), "{told}");
        assert!(told.contains("no ONNX Runtime library"), "{told}");
        assert!(!told.contains(here.to_str().unwrap()), "it was not even looked for there: {told}");
    }
    // The same library where a setting names it: it runs, so the test above can fail.
    let named = check(&here).env("NIGHTREAD_MODELS_RUNTIME", &library).output().unwrap();
    assert!(mark.exists() && named.status.code() == Some(1), "{}", String::from_utf8_lossy(&named.stdout));
}

#[test]
fn installed_models_come_before_a_folder_that_happens_to_be_here() {
    let work = TempDir::new().unwrap();
    let (here, installed) = (work.path().join("here"), work.path().join("installed"));
    support::copy_folder(&support::models().join("padchest-26"), &here.join("models/padchest-26"));
    let demo = "cxr-pneumonia-demo";
    support::copy_folder(&support::models().join(demo), &installed.join("share/nightread/models").join(demo));
    let program = installed.join("bin/nightread");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_nightread"), &program).unwrap();
    let listed = || {
        let ran = Command::new(&program).arg("models").current_dir(&here).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(listed().contains(demo) && !listed().contains("padchest-26"), "{}", listed());
    fs::remove_dir_all(installed.join("share")).unwrap();
    assert!(listed().contains("padchest-26"), "{}", listed());
}
