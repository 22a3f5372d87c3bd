//! Where ONNX Runtime's shared library is looked for.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::provider::Provider;

const PREFIX: &str = if cfg!(windows) { "onnxruntime.dll" } else { "libonnxruntime." };
/// Beside ONNX Runtime when it can use OpenVINO.
const OPENVINO_BRIDGE: &str = "libonnxruntime_providers_openvino.so";
const CACHE: &str = ".cache/onnxruntime";

/// What to look for, and where the program lies. Build it with [`Search::new`].
#[derive(Clone, Debug)]
pub struct Search {
    /// A library, or a folder that holds one, from the settings: wins over everything.
    pub setting: Option<PathBuf>,
    pub provider: Provider,
    pub(crate) telemetry: bool,
    /// The folder of the running program.
    program: Option<PathBuf>,
}

impl Search {
    /// A search around the running program.
    pub fn new(setting: Option<PathBuf>, provider: Provider) -> Self {
        let program = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        Self { setting, provider, telemetry: false, program }
    }

    /// Whether the library may report its use to Microsoft; it may not unless this was asked for.
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: bool) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// The library's path: the setting, else beside the program (`.`, `lib`, `../lib`), else `.cache/onnxruntime` of the
    /// checkout that the program was built in. What was named is taken or refused, never passed over. A library is code
    /// that runs as soon as it is loaded, so neither the current folder nor any folder above the program is looked in.
    pub fn find(&self) -> Result<PathBuf, JobError> {
        if let Some(path) = &self.setting {
            return self.at(path).ok_or_else(|| {
                missing(format!(
                    "[models] runtime names {}, where there is no ONNX Runtime library with {}; run `make runtime`",
                    path.display(),
                    self.provider
                ))
            });
        }
        let places = self.places();
        places.iter().find_map(|place| self.at(place)).ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            missing(format!(
                "no ONNX Runtime library with {} in {}; run `make runtime`, or name one in [models] runtime \
                 (NIGHTREAD_MODELS_RUNTIME)",
                self.provider,
                places.join(", ")
            ))
        })
    }

    fn places(&self) -> Vec<PathBuf> {
        let Some(program) = &self.program else { return Vec::new() };
        let mut places = vec![program.clone(), program.join("lib"), program.join("../lib")];
        places.extend(checkout(program).map(|checkout| checkout.join(CACHE)));
        places
    }

    /// The library that `path` is, or holds, directly or in a folder `<provider>-<version>`; the newest of several.
    fn at(&self, path: &Path) -> Option<PathBuf> {
        if path.is_file() {
            return self.suits(path).then(|| absolute(path));
        }
        let folder = format!("{}-", self.provider);
        let mut subfolders = entries(path, |name| name.starts_with(&folder));
        subfolders.push(path.to_owned());
        subfolders
            .iter()
            .rev()
            .flat_map(|folder| entries(folder, |name| name.starts_with(PREFIX)).into_iter().rev())
            .find(|library| library.is_file() && self.suits(library))
            .map(|library| absolute(&library))
    }

    fn suits(&self, library: &Path) -> bool {
        match self.provider {
            Provider::Cpu => true,
            Provider::OpenVino => library.with_file_name(OPENVINO_BRIDGE).is_file(),
        }
    }
}

/// The checkout whose `target` folder holds the program, unless anybody may write into it.
fn checkout(program: &Path) -> Option<&Path> {
    let target = program.ancestors().find(|folder| folder.ends_with("target"))?;
    let checkout = target.parent().filter(|checkout| checkout.join("Cargo.toml").is_file())?;
    let open_to_all = checkout.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o002 != 0);
    (!open_to_all).then_some(checkout)
}

/// The entries of a folder whose names pass, oldest version first.
fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbers: Vec<u64> =
            name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
        (numbers, name)
    });
    found
}

/// One name for one library, so that loading it twice is seen as the same.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn missing(message: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::RuntimeMissing, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn touch(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
        path.canonicalize().unwrap()
    }

    fn search(provider: Provider, program: &Path) -> Search {
        Search { program: Some(program.to_owned()), ..Search::new(None, provider) }
    }

    #[test]
    fn what_was_named_is_taken_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let good = touch(&root.path().join("a/libonnxruntime.so.1.30.0"));
        let beside = touch(&root.path().join("bin/lib/libonnxruntime.so.1.31.0"));
        let mut wanted = search(Provider::Cpu, &root.path().join("bin"));
        assert_eq!(wanted.find().unwrap(), beside);
        wanted.setting = Some(root.path().join("a"));
        assert_eq!(wanted.find().unwrap(), good, "a folder will do");
        wanted.setting = Some(root.path().join("nowhere"));
        let refused = wanted.find().unwrap_err();
        assert_eq!(refused.code, ErrorCode::RuntimeMissing);
        assert!(refused.message.contains("make runtime") && refused.message.contains("nowhere"), "{refused}");
    }

    #[test]
    fn a_checkout_keeps_one_library_for_each_provider() {
        let root = tempfile::tempdir().unwrap();
        let checkout = root.path();
        touch(&checkout.join("Cargo.toml"));
        let cache = checkout.join(CACHE);
        touch(&cache.join("cpu-1.9.0/libonnxruntime.so.1.9.0"));
        let newest = touch(&cache.join("cpu-1.32.0/libonnxruntime.so.1.32.0"));
        let program = checkout.join("target/release/deps");
        fs::create_dir_all(&program).unwrap();
        assert_eq!(search(Provider::Cpu, &program).find().unwrap(), newest, "newest, by number");
        let openvino = search(Provider::OpenVino, &program);
        assert_eq!(openvino.find().unwrap_err().code, ErrorCode::RuntimeMissing);
        let library = touch(&cache.join("openvino-1.24.1/libonnxruntime.so.1.24.1"));
        assert!(openvino.find().is_err(), "without the bridge it is no OpenVINO library");
        touch(&cache.join("openvino-1.24.1").join(OPENVINO_BRIDGE));
        assert_eq!(openvino.find().unwrap(), library);
        assert_eq!(search(Provider::Cpu, &program).find().unwrap(), newest);
    }

    fn finds(program: &Path) -> bool {
        search(Provider::Cpu, program).find().is_ok()
    }

    #[test]
    fn a_cache_is_trusted_only_where_the_program_was_built_in_its_checkout() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        touch(&folder.join(CACHE).join("cpu-1.32.0/libonnxruntime.so.1.32.0"));
        let built = folder.join("target/release");
        assert!(!finds(&built), "no checkout");
        touch(&folder.join("Cargo.toml"));
        assert!(finds(&built));
        assert!(!finds(&folder.join("bin")) && !finds(folder), "a folder above the program is not asked");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!finds(&built), "anybody may have put it there");
    }
}
