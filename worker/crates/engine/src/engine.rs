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
    provider: Provider,
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

    /// Warms up the sessions that have a manifest here.
    fn warm_up(&mut self, cold: &[Option<Arc<Manifest>>], options: &EngineOptions) -> Result<(), JobError> {
        let pairs = self.0.iter_mut().zip(cold);
        let mut cold = pairs.filter_map(|(session, manifest)| Some((session, manifest.as_ref()?)));
        cold.try_for_each(|(session, manifest)| warm_up(session, manifest, options))
    }
}

impl Runner for Sessions {
    fn run(&mut self, model: usize, items: &[&[f32]]) -> Result<Vec<Arrays>, JobError> {
        self.0[model].run(items)
    }
}

impl Engine {
    /// Opens every model once for every thread, compares it with its manifest, and runs it, unless it is known to have run: a model
    /// that cannot run is told now. Blocks until ready.
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
            .map(|model| {
                OptimisedModel::for_sessions(options.sessions, runtime, model, options.provider, None)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::start_prepared(runtime, &models, options)
    }

    /// As [`Engine::start`], for models that may start another engine afterwards, each on the provider that it was prepared for.
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
        for (index, prepared) in models.iter().enumerate() {
            let model = prepared.model();
            let entry = Entry {
                index,
                provider: prepared.provider(),
                manifest: Arc::clone(model.manifest()),
                sha256: model.sha256().to_owned(),
            };
            if entries.insert(model.key().clone(), entry).is_some() {
                return Err(invalid(format!("model {} is there twice", model.key())));
            }
        }
        let session_options = SessionOptions {
            provider: options.provider,
            intra_threads: options.intra_threads,
            shares_cores: options.sessions > 1,
            // It is for one size, and batches of several come.
            memory_plan: options.max_batch_items <= 1,
        };
        // One after the other on this thread: the allocator then reuses what opening frees, which each thread's own heap
        // would keep (ResNet-50, four sessions: 0.6 instead of 1.1 GB).
        let sessions = (0..options.sessions)
            .map(|_| Sessions::open(runtime, models, session_options))
            .collect::<Result<Vec<_>, JobError>>()?;
        models.iter().try_for_each(OptimisedModel::verify)?;
        // Where nobody waits for the engine but the first item, a graph that ran here before need not prove again that it can.
        let is_cold = |model: &&OptimisedModel| options.warm_batches || !model.has_run();
        let manifest = |model: &OptimisedModel| Arc::clone(model.model().manifest());
        let cold: Vec<_> = models.iter().map(|model| Some(model).filter(is_cold).map(manifest)).collect();
        let pool = Pool::start(sessions, options.limits(), move |sessions: &mut Sessions| {
            sessions.warm_up(&cold, &options)
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

    /// The provider that computes a served model; sessions that could not use it were refused at the start.
    pub fn provider(&self, model: &ModelKey) -> Option<Provider> {
        self.models.get(model).map(|entry| entry.provider)
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
    let item = manifest.input.middle_item();
    let fitting = options.max_batch_bytes / size_of_val(item.as_slice()).max(1);
    let largest = options.max_batch_items.min(fitting).max(1);
    let batch = options.warm_batches.then_some(largest);
    std::iter::once(1).chain(batch).try_for_each(|size| session.run(&vec![item.as_slice(); size]).map(drop))
}
