//! Where ONNX Runtime's shared library is looked for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::provider::Provider;

const PREFIX: &str = if cfg!(windows) { "onnxruntime.dll" } else { "libonnxruntime." };
/// Beside ONNX Runtime when it can use OpenVINO.
const OPENVINO_BRIDGE: &str = "libonnxruntime_providers_openvino.so";
const VARIABLES: [&str; 2] = ["NIGHTREAD_ORT", "ORT_DYLIB_PATH"];
const CACHE: &str = ".cache/onnxruntime";

/// What to look for, and the surroundings to look in. Build it with [`Search::new`].
#[derive(Clone, Debug)]
pub struct Search {
    /// A library, or a folder that holds one, from the settings: wins over everything.
    pub setting: Option<PathBuf>,
    pub provider: Provider,
    /// `(name, value)` of the variables that were set.
    variables: Vec<(&'static str, PathBuf)>,
    /// The folder of the running program.
    program: Option<PathBuf>,
    current: Option<PathBuf>,
}

impl Search {
    /// A search in this process's surroundings.
    pub fn new(setting: Option<PathBuf>, provider: Provider) -> Self {
        Self::within(
            setting,
            provider,
            &|name| env::var_os(name),
            env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned)),
            env::current_dir().ok(),
        )
    }

    fn within(
        setting: Option<PathBuf>,
        provider: Provider,
        variable: &dyn Fn(&str) -> Option<OsString>,
        program: Option<PathBuf>,
        current: Option<PathBuf>,
    ) -> Self {
        let variables = VARIABLES
            .into_iter()
            .filter_map(|name| {
                variable(name).filter(|value| !value.is_empty()).map(|value| (name, value.into()))
            })
            .collect();
        Self { setting, provider, variables, program, current }
    }

    /// The library's path: the setting, else `NIGHTREAD_ORT`, else `ORT_DYLIB_PATH`, else beside the program (`.`, `lib`,
    /// `../lib`), else `.cache/onnxruntime/<provider>-<version>` of the checkout that holds the current folder or the
    /// program. What was named is taken or refused, never passed over.
    pub fn find(&self) -> Result<PathBuf, JobError> {
        let named = self.setting.iter().map(|path| ("the setting", path));
        let named = named.chain(self.variables.iter().map(|(name, path)| (*name, path))).next();
        if let Some((who, path)) = named {
            return self.at(path).ok_or_else(|| {
                missing(format!(
                    "{who} names {}, where there is no ONNX Runtime library with {}; run `make runtime`",
                    path.display(),
                    self.provider
                ))
            });
        }
        let places = self.places();
        places.iter().find_map(|place| self.at(place)).ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            missing(format!(
                "no ONNX Runtime library with {} in {}; run `make runtime`, or point NIGHTREAD_ORT at one",
                self.provider,
                places.join(", ")
            ))
        })
    }

    fn places(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        if let Some(program) = &self.program {
            places.extend([program.clone(), program.join("lib"), program.join("../lib")]);
        }
        for start in self.current.iter().chain(&self.program) {
            // Only a checkout's own cache is trusted, not one of any folder further up.
            let checkout = start.ancestors().find(|folder| folder.join(CACHE).is_dir());
            if let Some(checkout) = checkout.filter(|folder| folder.join("Cargo.toml").is_file()) {
                let cache = checkout.join(CACHE);
                if !places.contains(&cache) {
                    places.push(cache);
                }
            }
        }
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

    fn search(provider: Provider, program: Option<&Path>, current: Option<&Path>) -> Search {
        Search::within(None, provider, &|_| None, program.map(Path::to_owned), current.map(Path::to_owned))
    }

    #[test]
    fn what_was_named_is_taken_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let good = touch(&root.path().join("a/libonnxruntime.so.1.30.0"));
        let beside = touch(&root.path().join("bin/lib/libonnxruntime.so.1.31.0"));
        let program = root.path().join("bin");
        let mut wanted = search(Provider::Cpu, Some(&program), None);
        assert_eq!(wanted.find().unwrap(), beside);
        wanted.setting = Some(root.path().join("a"));
        assert_eq!(wanted.find().unwrap(), good, "a folder will do");
        wanted.setting = Some(root.path().join("nowhere"));
        let refused = wanted.find().unwrap_err();
        assert_eq!(refused.code, ErrorCode::RuntimeMissing);
        assert!(refused.message.contains("make runtime") && refused.message.contains("nowhere"), "{refused}");
    }

    #[test]
    fn variables_come_in_order() {
        let root = tempfile::tempdir().unwrap();
        let first = touch(&root.path().join("a/libonnxruntime.so"));
        let second = touch(&root.path().join("b/libonnxruntime.so"));
        let variables = |set: &'static [(&'static str, &'static str)]| {
            let root = root.path().to_owned();
            let lookup = move |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, folder)| root.join(folder).into_os_string())
            };
            Search::within(None, Provider::Cpu, &lookup, None, None).find()
        };
        assert_eq!(variables(&[("ORT_DYLIB_PATH", "b"), ("NIGHTREAD_ORT", "a")]).unwrap(), first);
        assert_eq!(variables(&[("ORT_DYLIB_PATH", "b")]).unwrap(), second);
        assert!(variables(&[("NIGHTREAD_ORT", "c"), ("ORT_DYLIB_PATH", "b")]).is_err(), "no fall-through");
    }

    #[test]
    fn a_checkout_keeps_one_library_for_each_provider() {
        let root = tempfile::tempdir().unwrap();
        let checkout = root.path();
        touch(&checkout.join("Cargo.toml"));
        let cache = checkout.join(CACHE);
        touch(&cache.join("cpu-1.9.0/libonnxruntime.so.1.9.0"));
        let newest = touch(&cache.join("cpu-1.32.0/libonnxruntime.so.1.32.0"));
        let deep = checkout.join("worker/crates/engine");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(search(Provider::Cpu, None, Some(&deep)).find().unwrap(), newest, "newest, by number");
        let openvino = search(Provider::OpenVino, None, Some(&deep));
        assert_eq!(openvino.find().unwrap_err().code, ErrorCode::RuntimeMissing);
        let library = touch(&cache.join("openvino-1.24.1/libonnxruntime.so.1.24.1"));
        assert!(openvino.find().is_err(), "without the bridge it is no OpenVINO library");
        touch(&cache.join("openvino-1.24.1").join(OPENVINO_BRIDGE));
        assert_eq!(openvino.find().unwrap(), library);
        assert_eq!(search(Provider::Cpu, None, Some(&deep)).find().unwrap(), newest);
    }

    #[test]
    fn a_cache_outside_a_checkout_is_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join(CACHE).join("cpu-1.32.0/libonnxruntime.so.1.32.0"));
        assert!(search(Provider::Cpu, None, Some(root.path())).find().is_err());
    }
}
