//! Networks that go over a volume patch by patch: one thread of low priority owns their sessions, and hands each patch's
//! outputs to whoever asked while they lie where the network left them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::configure::SessionOptions;
use crate::inference::closed;
use crate::manifest::Manifest;
use crate::memory;
use crate::model::{ModelKey, VerifiedModel};
use crate::panics;
use crate::pool::Health;
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::session::ModelSession;
use crate::shared::OptimisedModel;
use crate::tune;

/// What the niceness of threads of volumes is raised by. At 10 a thread of usual priority beside one gets nine tenths of a core.
pub const NICENESS: i32 = 10;

/// How networks go over volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchOptions {
    pub provider: Provider,
    /// Threads inside one operator.
    pub intra_threads: usize,
}

/// Open networks that read patches. Share it in an `Arc`; dropping it waits for the volume that is being read.
#[derive(Debug)]
pub struct PatchEngine {
    models: HashMap<ModelKey, Cost>,
    health: Arc<Mutex<Health>>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What a network took when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of memory that its session took to open and to run one patch, as far as the process could tell: at least those of a
    /// patch and its outputs.
    pub bytes: u64,
    /// The time of that patch; later ones are quicker.
    pub patch: Duration,
}

/// What the thread is to do with a session.
type Work = Box<dyn FnOnce(&mut ModelSession) -> Result<(), String> + Send>;

struct Order {
    model: ModelKey,
    work: Work,
}

/// One volume's turn at a network.
pub struct Patches<'s> {
    session: &'s mut ModelSession,
    /// Whether nobody waits for it any more.
    is_cancelled: &'s (dyn Fn() -> bool + 's),
    /// Words of a panic in the session.
    broken: Option<String>,
}

impl fmt::Debug for Patches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patches").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Patches<'_> {
    /// Runs the network on one patch and has `take` read its one output, row-major (classes, and the patch's three axes), where
    /// it lies. Nothing of it is checked for being finite: `take` sees every value anyway.
    ///
    /// # Errors
    /// `engine_closed` when nobody waits for the volume any more; those of the session; those of `take`.
    pub fn infer(
        &mut self,
        patch: &[f32],
        take: &mut dyn FnMut(&[f32]) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        if (self.is_cancelled)() {
            return Err(closed("nobody waits for the volume any more"));
        }
        let mut taken = None;
        let ran = panics::contained(|| self.session.run_one(patch, &mut |logits| taken = Some(take(logits))));
        match ran {
            Ok(ran) => ran?,
            Err(panic) => {
                self.broken = Some(panic.clone());
                return Err(JobError::new(Stage::Infer, ErrorCode::EngineFailed, panic));
            }
        }
        taken.unwrap_or(Ok(()))
    }
}

impl PatchEngine {
    /// Opens a session of each model on a thread of low priority and runs one patch through each.
    ///
    /// # Errors
    /// As [`ModelSession::open`]; those of the first patch.
    pub fn start(
        runtime: &Runtime,
        models: Vec<VerifiedModel>,
        options: PatchOptions,
    ) -> Result<Self, JobError> {
        let (orders, incoming) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let health = Arc::new(Mutex::new(Health::Ready));
        let (runtime, own_health) = (runtime.clone(), Arc::clone(&health));
        let builder = thread::Builder::new().name("volumes".to_owned());
        let thread = builder.spawn(move || {
            memory::be_nice(NICENESS);
            let opened = panics::contained(|| open(&runtime, models, options))
                .unwrap_or_else(|panic| Err(JobError::new(Stage::Start, ErrorCode::EngineFailed, panic)));
            let mut sessions = match opened {
                Ok((sessions, costs)) => {
                    let _ = ready.send(Ok(costs));
                    sessions
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            drop(ready);
            serve(&incoming, &mut sessions, &own_health);
        });
        let thread = thread.map_err(|error| {
            JobError::new(Stage::Start, ErrorCode::EngineFailed, "cannot start a thread").with_source(error)
        })?;
        let died =
            || JobError::new(Stage::Start, ErrorCode::EngineFailed, "the volumes' thread died at its start");
        let models = started.recv().unwrap_or_else(|_| Err(died()))?;
        Ok(Self { models, health, orders: Some(orders), thread: Some(thread) })
    }

    /// What a model took when it was opened. `None` for one that is not served here.
    pub fn cost(&self, model: &ModelKey) -> Option<Cost> {
        self.models.get(model).copied()
    }

    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has `work` run on the thread that owns the model's session, after the volumes that were asked for before. Dropping the
    /// future ends the work at its next patch.
    ///
    /// # Errors
    /// `unknown_model`, `engine_closed`, `engine_failed` for a panic in the session; `internal` for one elsewhere in `work`;
    /// those of `work`.
    pub async fn run<T: Send + 'static>(
        &self,
        model: &ModelKey,
        work: impl FnOnce(&mut Patches<'_>) -> Result<T, JobError> + Send + 'static,
    ) -> Result<T, JobError> {
        if !self.models.contains_key(model) {
            let words = format!("the engine does not serve {model}");
            return Err(JobError::new(Stage::Infer, ErrorCode::UnknownModel, words));
        }
        let (reply, answer) = oneshot::channel();
        let run: Work = Box::new(move |session| {
            let is_cancelled = || reply.is_canceled();
            let mut patches = Patches { session, is_cancelled: &is_cancelled, broken: None };
            let done = panics::contained(|| work(&mut patches));
            let broken = patches.broken.take();
            let done =
                done.unwrap_or_else(|panic| Err(JobError::new(Stage::Infer, ErrorCode::Internal, panic)));
            // The caller may have gone away meanwhile.
            let _ = reply.send(done);
            broken.map_or(Ok(()), Err)
        });
        let order = Order { model: model.clone(), work: run };
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if !sent {
            return Err(self.ended());
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> JobError {
        match self.health() {
            Health::Failed(reason) => JobError::new(Stage::Infer, ErrorCode::EngineFailed, reason),
            _ => closed("the engine went away before it answered"),
        }
    }
}

impl Drop for PatchEngine {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // The body contains its panics, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

type Opened = (HashMap<ModelKey, ModelSession>, HashMap<ModelKey, Cost>);

/// A session of each model, and what each took.
fn open(runtime: &Runtime, models: Vec<VerifiedModel>, options: PatchOptions) -> Result<Opened, JobError> {
    let session_options = SessionOptions {
        provider: options.provider,
        intra_threads: options.intra_threads,
        shares_cores: true,
        // A plan would be a block of all that a patch takes, beside what the first one took: twice the memory, for no time.
        memory_plan: false,
    };
    let (mut sessions, mut costs) = (HashMap::new(), HashMap::new());
    for model in models {
        let (key, manifest) = (model.key().clone(), Arc::clone(model.manifest()));
        let before = memory::resident_bytes();
        // One session: there is nothing to share its weights with.
        let alone = OptimisedModel::alone(runtime, model.clone(), options.provider)?;
        let mut session = ModelSession::open_prepared(runtime, &alone, session_options)?;
        let started = Instant::now();
        session.run_one(&tune::sample(&manifest), &mut |_| {})?;
        let patch = started.elapsed();
        // A file replaced while the session opened it may not be the one that was verified.
        model.verify()?;
        let grown = memory::resident_bytes().saturating_sub(before);
        let bytes = grown.max(least_bytes(&manifest));
        tracing::info!(model = %key, bytes, patch_seconds = patch.as_secs_f64(), "opened for volumes");
        costs.insert(key.clone(), Cost { bytes, patch });
        sessions.insert(key, session);
    }
    Ok((sessions, costs))
}

/// A patch and its outputs.
fn least_bytes(manifest: &Manifest) -> u64 {
    let voxels = manifest.input.item_len() as u64;
    voxels.saturating_mul(1 + manifest.classes() as u64).saturating_mul(size_of::<f32>() as u64)
}

fn serve(
    incoming: &mpsc::Receiver<Order>,
    sessions: &mut HashMap<ModelKey, ModelSession>,
    health: &Mutex<Health>,
) {
    while let Ok(Order { model, work }) = incoming.recv() {
        let Some(session) = sessions.get_mut(&model) else { continue };
        if let Err(reason) = work(session) {
            tracing::error!(reason, "a session panicked, the engine stops");
            *health.lock().unwrap_or_else(PoisonError::into_inner) = Health::Failed(reason);
            return;
        }
    }
}
