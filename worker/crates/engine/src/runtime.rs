//! ONNX Runtime's shared library: found, loaded once for the process, and asked what it offers.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;
use nightread_domain::{ErrorCode, JobError, Stage};
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::ep::{CPU, ExecutionProvider, OpenVINO};
use ort::logging::LogLevel;

use crate::library::Search;
use crate::panics;
use crate::provider::Provider;

/// The loaded library. Cheap to clone; one for the process, because the library cannot be unloaded.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    library: PathBuf,
    version: Option<String>,
    build: Option<String>,
    providers: Vec<Provider>,
    environment: Environment,
}

/// Variable and value that keep ONNX Runtime from reporting to Microsoft and from leaving files in the home folder.
/// ONNX Runtime reads it while it is loaded; its interface cannot turn all of it off later.
pub const TELEMETRY_OFF: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Finds the library ([`Search::find`]) and loads it.
    ///
    /// Errors: `runtime_missing` when there is none, `runtime_mismatch` when it cannot be loaded, is older than 1.24, lacks the
    /// wanted provider, when the process has loaded another one already, or when the environment lets the library report to
    /// Microsoft and `search` does not ask for that.
    pub fn load(search: &Search) -> Result<Self, JobError> {
        let library = search.find()?;
        // A library that was let in with another answer would keep it: refused rather than half right.
        if telemetry_is_off() == search.telemetry {
            return Err(mismatch(unsettled(search.telemetry)));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match &*loaded {
            Some(runtime) if runtime.0.library == library => runtime.clone(),
            Some(runtime) => {
                return Err(mismatch(format!(
                    "{} is loaded already; {} would need another process",
                    runtime.0.library.display(),
                    library.display()
                )));
            }
            None => {
                // A library that lacks what `ort` takes for granted makes it panic rather than fail.
                let opened = panics::contained(|| open(&library, search.telemetry));
                let runtime = opened
                    .unwrap_or_else(|panic| Err(mismatch(format!("{}: {panic}", library.display()))))?;
                loaded.insert(runtime).clone()
            }
        };
        drop(loaded);
        runtime.require(search.provider)?;
        Ok(runtime)
    }

    /// The file that was loaded.
    pub fn library(&self) -> &Path {
        &self.0.library
    }

    /// The library's version, for example `1.32.0`, when the file tells it.
    pub fn version(&self) -> Option<&str> {
        self.0.version.as_deref()
    }

    /// Which build of the library it is, in words that differ from any other's, when the file tells it.
    pub(crate) fn build(&self) -> Option<&str> {
        self.0.build.as_deref()
    }

    /// The providers that this library was built with and this crate can use.
    pub fn providers(&self) -> &[Provider] {
        &self.0.providers
    }

    /// `runtime_mismatch` unless the library has the provider.
    pub fn require(&self, provider: Provider) -> Result<(), JobError> {
        if self.0.providers.contains(&provider) {
            return Ok(());
        }
        let library = self.0.library.display();
        Err(mismatch(format!(
            "{library} has no {provider} execution provider; run `make runtime` and choose the library of {provider}"
        )))
    }

    /// For benches that compare the engine with a bare session.
    #[doc(hidden)]
    pub fn environment(&self) -> &Environment {
        &self.0.environment
    }
}

/// Whether this process's environment turns ONNX Runtime's reports off.
pub fn telemetry_is_off() -> bool {
    let (name, value) = TELEMETRY_OFF;
    std::env::var_os(name).is_some_and(|found| found == value)
}

fn unsettled(wanted: bool) -> String {
    let (name, value) = TELEMETRY_OFF;
    if wanted {
        format!("telemetry is asked for, but {name}={value} in the environment turns it off")
    } else {
        format!(
            "ONNX Runtime reports to Microsoft unless {name}={value} is in the environment before it is loaded"
        )
    }
}

fn open(library: &Path, telemetry: bool) -> Result<Runtime, JobError> {
    let at = library.display();
    let builder = ort::init_from(library).map_err(|error| {
        let message = match &error {
            LoadDynamicError::BadVersion { version_str, .. } => {
                format!("{at} is ONNX Runtime {version_str}, older than 1.24; run `make runtime`")
            }
            LoadDynamicError::Dlopen { error, .. } => {
                format!("{at} cannot be loaded ({error}); run `make runtime`")
            }
            _ => format!("{at} is not an ONNX Runtime library; run `make runtime`"),
        };
        mismatch(message)
    })?;
    let environment = builder
        .with_name("nightread")
        .with_telemetry(telemetry)
        .build()
        .map_err(|error| mismatch(format!("{at} does not start: {error}")))?;
    // Its info lines cost time at every run; warnings go to `tracing`.
    environment.set_log_level(LogLevel::Warning);
    let mut providers = Vec::new();
    for (provider, available) in
        [(Provider::Cpu, CPU::is_available()), (Provider::OpenVino, OpenVINO::is_available())]
    {
        if available.map_err(|error| mismatch(format!("{at} does not list its providers: {error}")))? {
            providers.push(provider);
        }
    }
    let head = head_of(library).unwrap_or_default();
    let version = version_in(&head);
    let build = build_in(&head);
    tracing::info!(library = %at, version, build, ?providers, "loaded ONNX Runtime");
    Ok(Runtime(Arc::new(Loaded { library: library.to_owned(), version, build, providers, environment })))
}

/// The beginning of the library's file, where its names of symbols and its notes lie: all of it has 34 MB, which take as long to
/// read as a network takes to open.
fn head_of(library: &Path) -> io::Result<Vec<u8>> {
    const HEAD: u64 = 1 << 20;
    let mut head = Vec::new();
    File::open(library)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// The version from the library's symbol version node (`VERS_1.32.0`), because the C interface hands it out only through
/// pointers and the build information need not carry it.
fn version_in(head: &[u8]) -> Option<String> {
    const NODE: &[u8] = b"\0VERS_";
    let start = memmem::find(head, NODE)? + NODE.len();
    let tail = &head[start..head.len().min(start + 32)];
    let text = tail.split(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok())?;
    let plausible = text.split('.').count() == 3 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plausible.then(|| text.to_owned())
}

/// The build id that the linker made of all that the library holds: an ELF note of type 3 by `GNU`, of twenty bytes.
fn build_in(head: &[u8]) -> Option<String> {
    const NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let start = memmem::find(head, NOTE)? + NOTE.len();
    head.get(start..start + 20).map(hex::encode)
}

fn mismatch(message: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::RuntimeMismatch, message)
}
