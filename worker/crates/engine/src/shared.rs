//! One copy of a model's weights for all its sessions.
//!
//! ONNX Runtime shares only initialisers that the caller hands over, and its optimisations make new ones: folded
//! constants, batch norms, filters laid out for this processor. So the graph is optimised once, written to a private
//! folder, and every session opens that graph as it is with the weights held here. What a kernel packs at loading is kept
//! once as well.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_domain::JobError;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, TensorRef};
use tempfile::TempDir;

use crate::cache::{Entry, GRAPH, GraphCache, Key, WEIGHTS};
use crate::configure::{SessionOptions, configured};
use crate::manifest::Input;
use crate::model::VerifiedModel;
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::stored::Stored;

/// Smaller initialisers stay in the graph.
const LEAST_BYTES: &str = "1024";

/// A model made ready for any number of sessions on one provider.
///
/// Its files in the temporary folder go with it; open sessions need neither.
#[derive(Debug)]
pub struct OptimisedModel {
    model: VerifiedModel,
    provider: Provider,
    /// Absent where each session optimises the graph for itself and holds its own weights.
    graph: Option<SharedGraph>,
}

impl OptimisedModel {
    /// The graph optimised once for all sessions, or found in `cache` as it was optimised before. OpenVINO compiles the graph
    /// for each session and shares nothing; where sharing cannot be had otherwise, that is a warning.
    ///
    /// # Errors
    /// `runtime_mismatch` without the provider; those of [`Precision::require`](crate::Precision::require); `model_mismatch` when
    /// the model's files are no longer those that were verified.
    pub fn new(
        runtime: &Runtime,
        model: VerifiedModel,
        provider: Provider,
        cache: Option<&GraphCache>,
    ) -> Result<Self, JobError> {
        runtime.require(provider)?;
        model.require(provider)?;
        let cache = cache.filter(|cache| cache.takes(model.bytes()));
        let graph = match provider {
            Provider::OpenVino => None,
            Provider::Cpu => SharedGraph::of(runtime, &model, cache)?
                .inspect_err(|words| {
                    tracing::warn!(model = %model.key(), words, "sessions of this model share no weights");
                })
                .ok(),
        };
        Ok(Self { model, provider, graph })
    }

    /// For so many sessions. One has nobody to share with: a graph that is written out, read back and tried would be a quarter
    /// of a second for nothing, unless it is kept for the next time.
    ///
    /// # Errors
    /// As [`OptimisedModel::new`].
    pub fn for_sessions(
        sessions: usize,
        runtime: &Runtime,
        model: VerifiedModel,
        provider: Provider,
        cache: Option<&GraphCache>,
    ) -> Result<Self, JobError> {
        let is_kept = cache.is_some_and(|cache| cache.takes(model.bytes()));
        if sessions == 1 && !is_kept {
            return Self::alone(runtime, model, provider);
        }
        Self::new(runtime, model, provider, cache)
    }

    /// For one session, which optimises the graph for itself.
    pub(crate) fn alone(
        runtime: &Runtime,
        model: VerifiedModel,
        provider: Provider,
    ) -> Result<Self, JobError> {
        runtime.require(provider)?;
        model.require(provider)?;
        Ok(Self { model, provider, graph: None })
    }

    pub fn model(&self) -> &VerifiedModel {
        &self.model
    }

    /// The provider of its sessions.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    pub(crate) fn graph(&self) -> Option<&SharedGraph> {
        self.graph.as_ref()
    }

    /// Whether this very graph ran on this machine: before it was kept, or when it was made.
    pub(crate) fn has_run(&self) -> bool {
        self.graph.is_some()
    }

    /// Compares the model's files with its manifest again, where sessions were opened from them: a file replaced meanwhile
    /// may not be the one that was verified.
    pub(crate) fn verify(&self) -> Result<(), JobError> {
        match self.graph {
            None => self.model.verify(),
            Some(_) => Ok(()),
        }
    }
}

/// An optimised graph and its weights. Sessions keep the weights alive; a temporary folder goes with this value.
#[derive(Debug)]
pub(crate) struct SharedGraph {
    folder: Folder,
    weights: Vec<(String, Arc<DynValue>)>,
    packed: PrepackedWeights,
}

#[derive(Debug)]
enum Folder {
    /// With the lock of one that is made in a cache.
    Temporary {
        folder: TempDir,
        _lock: Option<File>,
    },
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary { folder, .. } => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

impl SharedGraph {
    /// The graph of `model` as it is kept, or else made now, and kept from now on. The inner errors are words: it cannot be
    /// shared.
    fn of(
        runtime: &Runtime,
        model: &VerifiedModel,
        cache: Option<&GraphCache>,
    ) -> Result<Result<Self, String>, JobError> {
        let cached = cache.and_then(|cache| {
            let key = Key::of(runtime, model, Provider::Cpu);
            let key =
                key.inspect_err(|words| tracing::debug!(words, "optimised graphs are not kept")).ok()?;
            Some((cache, key))
        });
        if let Some((cache, key)) = &cached {
            match Self::kept(cache, key) {
                Ok(Some(graph)) => return Ok(Ok(graph)),
                Ok(None) => {}
                Err(words) => tracing::warn!(
                    model = %model.key(), words, "the optimised graph that was kept is not used, and made again"
                ),
            }
        }
        let options = SessionOptions {
            provider: Provider::Cpu,
            intra_threads: 1,
            shares_cores: true,
            memory_plan: false,
        };
        let made = configured(runtime, options, model.precision())
            .map_err(|error| error.message().to_owned())
            .and_then(|builder| Self::made(&builder, model, cached.as_ref().map(|(cache, _)| *cache)));
        let (mut graph, digest) = match made {
            Ok(made) => made,
            Err(words) => return Ok(Err(words)),
        };
        // A file replaced while it was optimised may not be the one that was verified.
        model.verify()?;
        if let Some((cache, key)) = &cached {
            match cache.keep(graph.folder.path(), key, &digest) {
                Ok(place) => graph.folder = Folder::Kept(place),
                Err(words) => tracing::debug!(model = %model.key(), words, "an optimised graph is not kept"),
            }
        }
        Ok(Ok(graph))
    }

    fn kept(cache: &GraphCache, key: &Key) -> Result<Option<Self>, String> {
        let Some(Entry { folder, digest }) = cache.find(key)? else { return Ok(None) };
        let stored = Stored::read(&folder)?;
        if stored.digest != digest {
            return Err(format!("{} is damaged", folder.display()));
        }
        let folder = Folder::Kept(folder);
        Ok(Some(Self { folder, weights: stored.weights, packed: PrepackedWeights::new() }))
    }

    /// Optimises the graph of `model` with `plain`, a builder that would open it for itself, and runs it once. The graph, and its
    /// digest. Errors are words.
    fn made(
        plain: &SessionBuilder,
        model: &VerifiedModel,
        cache: Option<&GraphCache>,
    ) -> Result<(Self, String), String> {
        // On a disk that takes nothing the cache may still be read.
        let elsewhere = || Ok((tempfile::Builder::new().prefix("nightread-model-").tempdir()?, None));
        let made = cache.and_then(|cache| cache.making().ok());
        let folder = made.map_or_else(elsewhere, |(folder, lock)| Ok((folder, Some(lock))));
        let (folder, lock) =
            folder.map_err(|error: io::Error| format!("no folder for the optimised graph: {error}"))?;
        let graph = folder.path().join(GRAPH);
        optimise(plain.clone(), model.path(), &graph).map_err(|error| error.message().to_owned())?;
        let Stored { weights, digest } = Stored::read(folder.path())?;
        let shared = Self {
            folder: Folder::Temporary { folder, _lock: lock },
            weights,
            packed: PrepackedWeights::new(),
        };
        shared.try_it(plain.clone(), &model.manifest().input).map_err(|error| error.message().to_owned())?;
        Ok((shared, digest))
    }

    /// Runs one item. Not every kernel that packs weights can share them: then a session does not open.
    fn try_it(&self, plain: SessionBuilder, input: &Input) -> ort::Result<()> {
        let (mut builder, graph) = self.hand_over(plain)?;
        let mut session = builder.commit_from_file(graph)?;
        let shape: Vec<usize> = std::iter::once(1).chain(input.item_shape.iter().copied()).collect();
        let item = input.middle_item();
        let name = input.name.as_str();
        session
            .run(ort::inputs![name => TensorRef::from_array_view((shape.as_slice(), item.as_slice()))?])?;
        Ok(())
    }

    /// Whether its folder was removed: a cache is anybody's to empty.
    pub(crate) fn is_gone(&self) -> bool {
        !self.folder.path().exists()
    }

    /// `builder`, told to use these weights and to leave the graph as it is; and the graph to open.
    pub(crate) fn hand_over(&self, builder: SessionBuilder) -> ort::Result<(SessionBuilder, PathBuf)> {
        let mut builder = builder
            .with_optimization_level(GraphOptimizationLevel::Disable)?
            .with_prepacked_weights(&self.packed)?;
        for (name, value) in &self.weights {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok((builder, self.folder.path().join(GRAPH)))
    }
}

fn optimise(plain: SessionBuilder, file: &Path, graph: &Path) -> ort::Result<()> {
    // It would warn that the graph suits this processor only, which is the aim.
    plain
        .with_log_level(LogLevel::Error)?
        .with_optimized_model_path(graph)?
        .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
        .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", LEAST_BYTES)?
        .commit_from_file(file)?;
    Ok(())
}
