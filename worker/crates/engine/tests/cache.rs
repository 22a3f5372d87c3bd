//! Optimised graphs that are kept between runs: the same numbers with and without, whatever became of the folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{Graph, Models, image, runtime};
use nightread_domain::ErrorCode;
use nightread_engine::{
    Arrays, Engine, EngineOptions, GraphCache, OptimisedModel, Provider, Runtime, VerifiedModel,
};
use tempfile::TempDir;

const FILES: [&str; 3] = ["graph.onnx", "record", "weights.bin"];

struct Bench {
    runtime: Runtime,
    models: Models,
    model: VerifiedModel,
    root: TempDir,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        let runtime = runtime(Provider::Cpu, test)?;
        let models = Models::new();
        let model = models.open(&Graph::CONV);
        Some(Self { runtime, models, model, root: tempfile::tempdir().unwrap() })
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("nightread")
    }

    fn cache(&self) -> GraphCache {
        GraphCache::open(&self.folder()).unwrap()
    }

    fn model(&self) -> VerifiedModel {
        self.model.clone()
    }

    /// What the model answers from so many sessions, opened with this cache.
    fn answers(&self, sessions: usize, cache: Option<&GraphCache>) -> Vec<Arrays> {
        let model = self.model();
        let prepared =
            OptimisedModel::for_sessions(sessions, &self.runtime, model, Provider::Cpu, cache).unwrap();
        self.run(&prepared, sessions)
    }

    fn run(&self, prepared: &OptimisedModel, sessions: usize) -> Vec<Arrays> {
        let options = EngineOptions { warm_batches: false, ..EngineOptions::for_cores(sessions) };
        let engine = Engine::start_prepared(&self.runtime, std::slice::from_ref(prepared), options).unwrap();
        let key = prepared.model().key();
        (0..5).map(|seed| engine.infer(key, image(64, seed)).wait().unwrap().arrays).collect()
    }

    /// The one entry that there is.
    fn entry(&self) -> PathBuf {
        let found: Vec<_> = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [entry] = found.as_slice() else { panic!("{found:?}") };
        entry.clone()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn made(entry: &Path) -> (SystemTime, u64) {
    let facts = entry.join("graph.onnx").metadata().unwrap();
    (facts.modified().unwrap(), facts.ino())
}

#[test]
fn a_graph_is_made_once_and_answers_as_without_a_cache() {
    let Some(bench) = Bench::new("a_graph_is_made_once_and_answers_as_without_a_cache") else { return };
    let expected = bench.answers(1, None);
    assert_eq!(bench.answers(1, Some(&bench.cache())), expected);
    let entry = bench.entry();
    assert_eq!(names(&entry), FILES);
    assert_eq!(bench.folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for name in FILES {
        assert_eq!(entry.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let first = made(&entry);
    for sessions in [1, 2, 3] {
        assert_eq!(bench.answers(sessions, Some(&bench.cache())), expected);
    }
    assert_eq!(made(&bench.entry()), first, "it was found, not made");
    let record = fs::read_to_string(entry.join("record")).unwrap();
    for part in ["form ", "weights ", "library ", "provider cpu", "processor ", "digest "] {
        assert!(record.contains(part), "{record}");
    }
    assert!(record.contains(bench.model().sha256()), "{record}");
}

#[test]
fn what_is_damaged_is_made_again() {
    let Some(bench) = Bench::new("what_is_damaged_is_made_again") else { return };
    let expected = bench.answers(1, Some(&bench.cache()));
    for name in FILES {
        let path = bench.entry().join(name);
        let whole = fs::read(&path).unwrap();
        let mut damages =
            vec![Vec::new(), whole[..whole.len() - 1].to_vec(), [whole.as_slice(), b"x"].concat()];
        damages.extend([0, whole.len() / 3, whole.len() / 2, whole.len() - 2].map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            flipped
        }));
        for damaged in damages {
            let path = bench.entry().join(name);
            fs::write(&path, &damaged).unwrap();
            let before = made(&bench.entry());
            assert_eq!(bench.answers(1, Some(&bench.cache())), expected, "{name}");
            assert_ne!(made(&bench.entry()), before, "{name} of {} bytes was taken", damaged.len());
        }
        fs::remove_file(bench.entry().join(name)).unwrap();
        assert_eq!(bench.answers(2, Some(&bench.cache())), expected, "without {name}");
        assert_eq!(names(&bench.entry()), FILES);
    }
}

#[test]
fn a_graph_that_others_could_have_put_there_is_made_again() {
    let Some(bench) = Bench::new("a_graph_that_others_could_have_put_there_is_made_again") else { return };
    let expected = bench.answers(1, Some(&bench.cache()));
    for name in FILES {
        let before = made(&bench.entry());
        fs::set_permissions(bench.entry().join(name), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(bench.answers(1, Some(&bench.cache())), expected);
        assert_ne!(made(&bench.entry()), before, "{name} was taken");
    }
}

#[test]
fn many_at_once_leave_one_entry_and_nothing_else() {
    let Some(bench) = Bench::new("many_at_once_leave_one_entry_and_nothing_else") else { return };
    let expected = bench.answers(1, None);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| bench.answers(1, Some(&bench.cache())))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), expected);
        }
    });
    assert_eq!(names(&bench.entry()), FILES);
}

#[test]
fn a_cache_may_be_emptied_at_any_time() {
    let Some(bench) = Bench::new("a_cache_may_be_emptied_at_any_time") else { return };
    let cache = bench.cache();
    let expected = bench.answers(1, Some(&cache));
    for sessions in [1, 2] {
        let prepared = OptimisedModel::for_sessions(
            sessions,
            &bench.runtime,
            bench.model(),
            Provider::Cpu,
            Some(&cache),
        );
        let prepared = prepared.unwrap();
        fs::remove_dir_all(bench.folder()).unwrap();
        assert_eq!(bench.run(&prepared, sessions), expected, "emptied before {sessions} sessions opened");
        assert_eq!(bench.answers(sessions, Some(&cache)), expected, "without its folder");
        bench.answers(sessions, Some(&bench.cache()));
    }
}

#[test]
fn weights_that_change_while_they_are_optimised_are_refused_and_not_kept() {
    let test = "weights_that_change_while_they_are_optimised_are_refused_and_not_kept";
    let Some(bench) = Bench::new(test) else { return };
    let model = bench.model();
    // Another network of the same form, as if it had been copied over this one after it was verified.
    let path = bench.models.path().join("conv/model.onnx");
    let mut other = fs::read(&path).unwrap();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    fs::write(&path, other).unwrap();
    for cache in [None, Some(bench.cache())] {
        let refused = OptimisedModel::new(&bench.runtime, model.clone(), Provider::Cpu, cache.as_ref());
        assert_eq!(refused.unwrap_err().code, ErrorCode::ModelMismatch);
    }
    assert!(names(&bench.folder()).is_empty(), "{:?}", names(&bench.folder()));
}
