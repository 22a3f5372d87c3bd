//! The models of this worker: opened, warm, and the engines that run them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::thread;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{
    Cost, Engine, EngineOptions, GraphCache, Health, ModelKey, OptimisedModel, PatchEngine, PatchOptions,
    Provider, Runtime, Task, VerifiedModel, measurements, scores, trial, tune,
};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::verified::{Model, VerifiedModels, facts};
use super::volumes::VolumeNetworks;

/// When the sessions of a model are opened. They hold its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPolicy {
    /// All before the first study, so that none waits for it: for the service.
    Eager,
    /// By the first study of a model's kind, so that a folder of X-rays never pays for the scans' network; and for no more
    /// radiographs at a time than there are studies.
    Lazy { studies: usize },
}

/// The models that are served, and the engines that run them.
pub struct Models {
    by_name: BTreeMap<String, Arc<Model>>,
    engines: Engines,
    volumes: VolumeNetworks,
}

enum Engines {
    /// One for all models; none where there are networks of volumes alone.
    Warm(Option<Engine>),
    /// One for each model.
    OnDemand {
        runtime: Runtime,
        cache: Option<GraphCache>,
        options: EngineOptions,
        studies: usize,
        engines: BTreeMap<ModelKey, Waiting>,
    },
}

struct Waiting {
    placed: Placed,
    engine: OnceCell<Engine>,
}

/// Models whose weights were verified, described: any number of engines may serve them.
#[derive(Debug)]
pub struct LoadedModels {
    runtime: Runtime,
    /// Where optimised graphs are kept between runs.
    cache: Option<GraphCache>,
    models: Vec<Placed>,
    by_name: BTreeMap<String, Arc<Model>>,
    /// Made when they are first served from the start.
    prepared: OnceLock<Vec<OptimisedModel>>,
}

/// A model, and what computes it.
#[derive(Clone, Debug)]
struct Placed {
    model: VerifiedModel,
    provider: Provider,
}

impl LoadedModels {
    /// Models that `runtime` runs, all on this provider as they were described; `cache` keeps optimised graphs between runs.
    pub fn new(
        VerifiedModels(verified): VerifiedModels,
        runtime: Runtime,
        provider: Provider,
        cache: Option<GraphCache>,
    ) -> Self {
        let (mut models, mut by_name): (Vec<Placed>, _) = (Vec::new(), BTreeMap::new());
        for (networks, described) in verified {
            by_name.insert(described.facts.name.clone(), Arc::new(described));
            // A network may be served for itself too, and be a member of several ensembles.
            for model in networks {
                if models.iter().all(|placed| placed.model.key() != model.key()) {
                    models.push(Placed { model, provider });
                }
            }
        }
        Self { runtime, cache, models, by_name, prepared: OnceLock::new() }
    }

    /// Puts each model for which `is_worth_it` on the provider that is fastest here, by a short trial of those that the library has.
    /// Networks of volumes stay where they are: what another provider would take of the memory that is set apart for volumes
    /// is not known before it was taken. So do members of ensembles, whose documents name one provider. Blocks for a second or two
    /// a model.
    ///
    /// # Errors
    /// As [`trial::fastest_provider`].
    pub fn choose_providers(&mut self, is_worth_it: impl Fn(&Model) -> bool) -> Result<(), JobError> {
        let members = self.by_name.values().flat_map(|model| &model.members);
        let members: BTreeSet<ModelKey> = members.map(|member| member.key.clone()).collect();
        for placed in self.models.iter_mut().filter(|placed| !reads_patches(placed)) {
            let key = placed.model.key();
            let Some(described) = self.by_name.get_mut(&key.name) else { continue };
            if members.contains(key) || !is_worth_it(described) {
                continue;
            }
            placed.provider = trial::fastest_provider(&self.runtime, &placed.model)?;
            let facts = facts(&placed.model, placed.provider.as_str());
            *described = Arc::new(Model { facts, ..Model::clone(described) });
        }
        self.prepared = OnceLock::new();
        Ok(())
    }

    /// The models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.by_name.values()
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Serves them: starts engines now or later, as `load_policy` says, and warms them up. Takes seconds; call it off the reactor.
    pub fn serve(&self, options: EngineOptions, load_policy: LoadPolicy) -> Result<Models, JobError> {
        let (volumes, others) = self.models.iter().cloned().partition::<Vec<_>, _>(reads_patches);
        let patches = PatchOptions {
            provider: volumes.first().map(|placed| placed.provider).unwrap_or_default(),
            intra_threads: options.sessions.saturating_mul(options.intra_threads),
        };
        let volumes = volumes.into_iter().map(|placed| placed.model).collect();
        let runtime = self.runtime.clone();
        let volumes = VolumeNetworks::new(runtime.clone(), volumes, patches);
        let engines = match load_policy {
            LoadPolicy::Eager => {
                let prepared = self.prepared(others)?;
                let engine = (!prepared.is_empty())
                    .then(|| Engine::start_prepared(&self.runtime, prepared, options))
                    .transpose()?;
                Engines::Warm(engine)
            }
            LoadPolicy::Lazy { studies } => {
                let engines = others
                    .into_iter()
                    .map(|placed| (placed.model.key().clone(), Waiting { placed, engine: OnceCell::new() }))
                    .collect();
                let options = EngineOptions { warm_batches: false, ..options };
                Engines::OnDemand { runtime, cache: self.cache.clone(), options, studies, engines }
            }
        };
        Ok(Models { by_name: self.by_name.clone(), engines, volumes })
    }

    /// Opens a session of each model, and runs one item through it and through what makes scores of it: what cannot work
    /// is told here, and what the last network of volumes took, with all cores. Takes seconds; call it off the reactor.
    pub fn try_out(&self) -> Result<Option<Cost>, JobError> {
        let mut cost = None;
        for placed in &self.models {
            let Placed { model, provider } = placed;
            let provider = *provider;
            if reads_patches(placed) {
                let intra_threads = thread::available_parallelism().map_or(1, NonZero::get);
                let options = PatchOptions { provider, intra_threads };
                let engine = PatchEngine::start(&self.runtime, vec![model.clone()], options)?;
                cost = engine.cost(model.key());
                continue;
            }
            let options = EngineOptions { provider, ..EngineOptions::for_cores(1) };
            let engine = Engine::start(&self.runtime, vec![model.clone()], options)?;
            let outputs = engine.infer(model.key(), tune::sample(model.manifest())).wait()?;
            scores(model.manifest(), &outputs.arrays)?;
            model.cams().of_item(&outputs.arrays)?;
            measurements(model.manifest(), &outputs.arrays)?;
        }
        Ok(cost)
    }

    fn prepared(&self, models: Vec<Placed>) -> Result<&[OptimisedModel], JobError> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let prepared = models
            .into_iter()
            .map(|Placed { model, provider }| {
                OptimisedModel::new(&self.runtime, model, provider, self.cache.as_ref())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.prepared.get_or_init(|| prepared))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("names", &self.by_name.keys()).finish_non_exhaustive()
    }
}

impl Models {
    /// The engine that runs a model. The first study of a model that was left closed waits here until it is open; the
    /// others of its kind wait with it.
    pub async fn engine(&self, key: &ModelKey) -> Result<&Engine, JobError> {
        let unknown = || {
            let text = format!("this worker serves no model {key}");
            JobError::new(Stage::Infer, ErrorCode::UnknownModel, text)
        };
        let (runtime, cache, mut options, studies, engines) = match &self.engines {
            Engines::Warm(engine) => return engine.as_ref().ok_or_else(unknown),
            Engines::OnDemand { runtime, cache, options, studies, engines } => {
                (runtime, cache, *options, *studies, engines)
            }
        };
        let Waiting { placed, engine } = engines.get(key).ok_or_else(unknown)?;
        if placed.model.manifest().task == Task::Radiograph {
            // One radiograph is one item; a scan has one for each map.
            options.sessions = options.sessions.min(studies).max(1);
        }
        engine.get_or_try_init(|| started(runtime.clone(), placed.clone(), options, cache.clone())).await
    }

    /// The networks that go over volumes.
    pub const fn volumes(&self) -> &VolumeNetworks {
        &self.volumes
    }

    fn open_engines(&self) -> impl Iterator<Item = &Engine> {
        let (warm, waiting) = match &self.engines {
            Engines::Warm(engine) => (engine.as_ref(), None),
            Engines::OnDemand { engines, .. } => (None, Some(engines.values())),
        };
        warm.into_iter().chain(waiting.into_iter().flatten().filter_map(|waiting| waiting.engine.get()))
    }

    /// Why what is computed can no longer be trusted, if so.
    pub fn failure(&self) -> Option<String> {
        let failed = self.open_engines().find_map(|engine| match engine.health() {
            Health::Failed(reason) => Some(reason),
            Health::Ready | Health::Draining | Health::Closed => None,
        });
        failed.or_else(|| self.volumes.failure())
    }

    /// Items and batches computed since the start.
    pub fn computed(&self) -> (u64, u64) {
        self.open_engines()
            .map(Engine::stats)
            .fold((0, 0), |(items, batches), stats| (items + stats.items, batches + stats.batches))
    }

    /// Every model that is served, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.by_name.values()
    }

    /// An open model. One that this worker does not serve is the message's fault, not the worker's.
    pub fn get(&self, name: &str) -> Result<Arc<Model>, JobError> {
        self.by_name.get(name).cloned().ok_or_else(|| {
            JobError::new(
                Stage::Announce,
                ErrorCode::UnknownModel,
                format!("this worker serves no model {name:?}"),
            )
        })
    }
}

/// Whether a network goes over volumes patch by patch.
fn reads_patches(placed: &Placed) -> bool {
    placed.model.manifest().window.is_some()
}

/// An engine for one model, opened off the reactor.
async fn started(
    runtime: Runtime,
    Placed { model, provider }: Placed,
    options: EngineOptions,
    cache: Option<GraphCache>,
) -> Result<Engine, JobError> {
    let started = spawn_blocking(move || {
        let cache = cache.as_ref();
        let prepared = OptimisedModel::for_sessions(options.sessions, &runtime, model, provider, cache)?;
        Engine::start_prepared(&runtime, &[prepared], options)
    });
    started.await.unwrap_or_else(|error| {
        let text = "opening a model was broken off";
        Err(JobError::new(Stage::Start, ErrorCode::EngineFailed, text).with_source(error))
    })
}
