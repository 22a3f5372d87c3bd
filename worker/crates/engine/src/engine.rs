//! The engine: models, sessions and threads behind one call.

use std::collections::HashMap;
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::configure::SessionOptions;
use crate::inference::Inference;
use crate::manifest::Manifest;
use crate::model::{ModelKey, VerifiedModel};
use crate::options::EngineOptions;
use crate::outputs::Arrays;
use crate::pool::{Close, Health, Pool, Runner, Stats};
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::session::ModelSession;
use crate::shared::OptimisedModel;

/// Values may leave the manifest's range by this share of it: resizing rounds.
const RANGE_SLACK: f64 = 1e-3;

/// Open models and the threads that run them. Share it in an `Arc`; dropping it joins its threads.
#[derive(Debug)]
pub struct Engine {
    models: HashMap<ModelKey, Entry>,
    options: EngineOptions,
    pool: Pool,
}

#[derive(Debug)]
struct Entry {
    index: usize,
    manifest: Arc<Manifest>,
    sha256: String,
}

/// One thread's sessions, by model number.
struct Sessions(Vec<ModelSession>);

impl Sessions {
    fn open(runtime: &Runtime, models: &[OptimisedModel], options: SessionOptions) -> Result<Self, JobError> {
        models
            .iter()
            .map(|model| ModelSession::open_prepared(runtime, model, options))
            .collect::<Result<_, JobError>>()
            .map(Self)
    }

    fn warm_up(&mut self, manifests: &[Arc<Manifest>], options: &EngineOptions) -> Result<(), JobError> {
        let mut pairs = self.0.iter_mut().zip(manifests);
        pairs.try_for_each(|(session, manifest)| warm_up(session, manifest, options))
    }
}

impl Runner for Sessions {
    fn run(&mut self, model: usize, items: &[&[f32]]) -> Result<Vec<Arrays>, JobError> {
        self.0[model].run(items)
    }
}

impl Engine {
    /// Opens every model once for every thread, compares it with its manifest, and runs it: a model that cannot run is told
    /// now. Blocks until ready.
    ///
    /// Errors: `settings_invalid` for no model, the same model twice, or zero sessions or threads; `model_mismatch`,
    /// `runtime_mismatch` or what the warm-up gave.
    pub fn start(
        runtime: &Runtime,
        models: Vec<VerifiedModel>,
        options: EngineOptions,
    ) -> Result<Self, JobError> {
        let models = models
            .into_iter()
            .map(|model| match options.sessions {
                // With nobody to share with, a graph that is written out, read back and tried is a quarter of a second for nothing.
                1 => OptimisedModel::alone(runtime, model, options.provider),
                _ => OptimisedModel::new(runtime, model, options.provider),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::start_prepared(runtime, &models, options)
    }

    /// As [`Engine::start`], for models that may start another engine afterwards.
    pub fn start_prepared(
        runtime: &Runtime,
        models: &[OptimisedModel],
        options: EngineOptions,
    ) -> Result<Self, JobError> {
        if models.is_empty() {
            return Err(invalid("the engine has no model to serve"));
        }
        if options.sessions == 0 || options.intra_threads == 0 {
            return Err(invalid("sessions and intra_threads must be at least 1"));
        }
        let mut entries = HashMap::new();
        for (index, model) in models.iter().map(OptimisedModel::model).enumerate() {
            let entry =
                Entry { index, manifest: Arc::clone(model.manifest()), sha256: model.sha256().to_owned() };
            if entries.insert(model.key().clone(), entry).is_some() {
                return Err(invalid(format!("model {} is there twice", model.key())));
            }
        }
        let session_options = SessionOptions {
            provider: options.provider,
            intra_threads: options.intra_threads,
            shares_cores: options.sessions > 1,
            batch_varies: options.max_batch_items > 1,
        };
        // One after the other on this thread: the allocator then reuses what opening frees, which each thread's own heap
        // would keep (ResNet-50, four sessions: 0.6 instead of 1.1 GB).
        let sessions = (0..options.sessions)
            .map(|_| Sessions::open(runtime, models, session_options))
            .collect::<Result<Vec<_>, JobError>>()?;
        // A file replaced while the sessions opened it may not be the one that was verified.
        models.iter().map(OptimisedModel::model).try_for_each(VerifiedModel::verify)?;
        let manifests: Vec<_> = models.iter().map(|model| Arc::clone(model.model().manifest())).collect();
        let pool = Pool::start(sessions, options.limits(), move |sessions: &mut Sessions| {
            sessions.warm_up(&manifests, &options)
        })?;
        Ok(Self { models: entries, options, pool })
    }

    /// Queues one item of a model and answers when it was computed. `tensor` holds the item's values, row-major in the
    /// manifest's `item_shape`. Dropping the answer cancels the item if it still waits. Queueing happens now, not at the
    /// first poll; how much may wait is the caller's to bound.
    ///
    /// Errors: `unknown_model`; `inference_failed` for a tensor of another length or a run that failed;
    /// `value_out_of_range` for values that preprocessing cannot have made; `scores_not_finite`; `engine_closed`
    /// (transient); `engine_failed` (fatal).
    pub fn infer(&self, model: &ModelKey, tensor: Vec<f32>) -> Inference {
        match self.admit(model, &tensor) {
            Ok(index) => self.pool.infer(index, tensor),
            Err(error) => Inference::refused(error),
        }
    }

    fn admit(&self, model: &ModelKey, tensor: &[f32]) -> Result<usize, JobError> {
        let Some(entry) = self.models.get(model) else {
            return Err(refused(ErrorCode::UnknownModel, format!("the engine does not serve {model}")));
        };
        let input = &entry.manifest.input;
        if tensor.len() != input.item_len() {
            let (len, shape) = (tensor.len(), &input.item_shape);
            return Err(refused(
                ErrorCode::InferenceFailed,
                format!("{model} takes items of shape {shape:?}, not {len} values"),
            ));
        }
        let [low, high] = input.value_range;
        let slack = (high - low) * RANGE_SLACK;
        let range = low - slack..=high + slack;
        match tensor.iter().position(|value| !range.contains(&f64::from(*value))) {
            None => Ok(entry.index),
            Some(at) => Err(refused(
                ErrorCode::ValueOutOfRange,
                format!("value {} at {at} is outside the [{low}, {high}] that {model} takes", tensor[at]),
            )),
        }
    }

    /// The models served, with the digest of their weights.
    pub fn models(&self) -> impl Iterator<Item = (&ModelKey, &Arc<Manifest>, &str)> {
        self.models.iter().map(|(key, entry)| (key, &entry.manifest, entry.sha256.as_str()))
    }

    /// The manifest of a served model.
    pub fn manifest(&self, model: &ModelKey) -> Option<&Arc<Manifest>> {
        self.models.get(model).map(|entry| &entry.manifest)
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The provider that computes every session; sessions that could not use it were refused at the start.
    pub fn provider(&self) -> Provider {
        self.options.provider
    }

    pub fn health(&self) -> Health {
        self.pool.health()
    }

    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }

    /// Takes nothing new from now on. Returns at once; dropping the engine waits for what still runs. `Close::Fail` after
    /// `Close::Drain` gives up on what still waits.
    pub fn close(&self, how: Close) {
        self.pool.close(how);
    }
}

fn invalid(words: impl Into<String>) -> JobError {
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, words)
}

/// Why an item is not taken.
fn refused(code: ErrorCode, words: String) -> JobError {
    JobError::new(Stage::Infer, code, words)
}

/// Runs once alone and, if wished, once in the largest batch that the options allow.
fn warm_up(session: &mut ModelSession, manifest: &Manifest, options: &EngineOptions) -> Result<(), JobError> {
    let input = &manifest.input;
    let middle = f64::midpoint(input.value_range[0], input.value_range[1]) as f32;
    let item = vec![middle; input.item_len()];
    let fitting = options.max_batch_bytes / size_of_val(item.as_slice()).max(1);
    let largest = options.max_batch_items.min(fitting).max(1);
    let batch = options.warm_batches.then_some(largest);
    std::iter::once(1).chain(batch).try_for_each(|size| session.run(&vec![item.as_slice(); size]).map(drop))
}
