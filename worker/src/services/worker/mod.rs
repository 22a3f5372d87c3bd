//! `nightread run`: the service.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightread_domain::ports::Sink;
use nightread_domain::{ErrorClass, JobError, Lane, Task};
use nightread_engine::Catalogue;
use tokio::runtime::Runtime;

use self::machine::Machine;
use self::orders::DeliveryOrders;
use self::results::ResultEvents;
pub(in crate::services) use self::vitals::tell_of_pauses;
use self::vitals::{ServiceObserver, ServiceVitals, tell_of_work};
use crate::adapters::amqp::{Courier, Outbox, Publisher, RabbitIntake, SessionState};
use crate::app;
use crate::app::{require_broker, stop_on_signals};
use crate::compute::models::LoadPolicy;
use crate::flow::WORKER_VERSION;
use crate::flow::valve::Valve;
use crate::pipeline::intake::{Outage, Run};
use crate::pipeline::serving::{JobLimit, RunEnd, Stop};
use crate::pipeline::tools::Tools;
use crate::services::autotune;
use crate::services::health::HealthServer;
use crate::services::writing::Writing;
use crate::settings::{PrecisionChoice, Problems, ProviderChoice, Settings};
use crate::telemetry::ledger::Ledger;
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

pub(super) mod descriptors;
mod machine;
mod models;
mod orders;
mod results;
mod vitals;

/// How long acknowledgements may take to reach the broker after the last job.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

/// One in work and one that is fetched and decoded beside it: all networks of volumes share one thread, and a delivery that waits
/// for it uses up the patience of its broker.
const VOLUMES_IN_HAND: usize = 2;

/// How long a run of so many jobs waits for the next of them.
const JOBLESS_PATIENCE: Duration = Duration::from_mins(1);

/// The part of the work that this worker takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Empty: all.
    pub lanes: Vec<Lane>,
    /// It ends after so many deliveries.
    pub jobs: Option<NonZeroUsize>,
}

/// Serves until it is told to stop; `runtime` ends with it.
///
/// # Errors
/// Whatever kept it from beginning.
pub(crate) fn run(settings: &Settings, part: &Part, runtime: Runtime) -> Result<RunEnd> {
    descriptors::claim(settings)?;
    let prometheus = metrics::install(Teller::Run).context("the metrics recorder does not start")?;
    let valve = Valve::default();
    let vitals = Arc::new(ServiceVitals::new(prometheus, valve.clone()));
    let writing = Writing::of(settings, Teller::Run)?;
    let health = HealthServer::start(settings.listen, Arc::<ServiceVitals>::clone(&vitals), writing)
        .with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?;
    tracing::info!(version = WORKER_VERSION, health = %health.address(), "starting");
    // Before the models are loaded, which takes a while: the first process of a container hears no signal that it has not asked
    // for, and would be killed at the end of its grace.
    let stop = Stop::default();
    vitals.stops_by(stop.clone());
    // The first signal drains; a second one gives back what is in flight.
    runtime.block_on(async { stop_on_signals([stop.drain.clone(), stop.abandon.clone()]) })?;

    let catalogue = match &settings.registry {
        Some(registry) => runtime.block_on(models::fetched(settings, registry, &vitals, &stop)),
        None => Ok(app::catalogue(settings, None)?),
    };
    let ended = match catalogue {
        Ok(catalogue) => with_models(&catalogue, settings, part, &runtime, &vitals, valve, stop)?,
        Err(ended) => ended,
    };
    runtime.shutdown_timeout(Duration::from_secs(2));
    match &ended {
        RunEnd::Fatal(error) => tracing::error!(%error, "stopped"),
        RunEnd::Drained | RunEnd::GaveBack => {
            tracing::info!(given_back = matches!(ended, RunEnd::GaveBack), "stopped");
        }
    }
    Ok(ended)
}

/// Opens the models, and serves.
fn with_models(
    catalogue: &Catalogue,
    settings: &Settings,
    part: &Part,
    runtime: &Runtime,
    vitals: &Arc<ServiceVitals>,
    valve: Valve,
    stop: Stop,
) -> Result<RunEnd> {
    let stores = app::stores(settings)?;
    let composition = app::compose(settings, catalogue, None)?;
    let tools = autotune::tools(composition, settings, &stores, LoadPolicy::Eager, |_| true)?;
    let tools = Arc::new(tools);
    runtime.block_on(tools.reader.models.volumes().open())?;
    metrics::models(tools.reader.models.iter().map(|model| model.facts.name.as_str()));
    vitals.models_are_warm(Arc::clone(&tools));
    if stop.drain.is_cancelled() {
        return Ok(RunEnd::Drained);
    }
    runtime.block_on(serve(settings, part, tools, vitals, valve, stop))
}

/// What only the service needs.
pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.storage.is_none() {
        problems.add("[storage] is incomplete: kind folder needs folder, kind azure needs a way in");
    }
    if settings.scans.nuisance.asks_for_table() {
        problems.add(
            "[scans] confounds and max_displacement_mm are for `nightread process`: in the service a study is one blob",
        );
    }
    if settings.engine.provider == ProviderChoice::Fastest {
        problems.add(
            "[models] provider is auto: a fleet names cpu or openvino, so that it gives one kind of number",
        );
    }
    if !matches!(settings.engine.precision, Some(PrecisionChoice::Named(_))) {
        problems.add(
            "[models] precision is missing: fp32, int8 or bf16, so that a fleet gives one kind of number",
        );
    }
}

async fn serve(
    settings: &Settings,
    part: &Part,
    tools: Arc<Tools>,
    vitals: &Arc<ServiceVitals>,
    valve: Valve,
    stop: Stop,
) -> Result<RunEnd> {
    if let Some(ended) = storage_answers(settings, &tools, vitals, &stop).await {
        return Ok(ended);
    }
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let mut options = app::rabbit(broker, &settings.limits)?;
    options.lanes.clone_from(&part.lanes);
    // Scans beside them too: what a study of the lane is, is known when it was fetched.
    options.most_volumes = tools
        .reader
        .models
        .iter()
        .any(|model| model.manifest.task == Task::Segmentation)
        .then_some(VOLUMES_IN_HAND);
    if let Some(jobs) = part.jobs {
        // What is fetched beside them would be given back, which counts as a delivery.
        options.permits = options.permits.min(jobs.get());
    }
    let publisher = Arc::new(Publisher::new(options.clone()));
    let outbox = Arc::new(Outbox::new(Arc::clone(&tools.results), tools.results_container.as_str()));
    let courier = Courier::new(Arc::clone(&publisher), valve.clone(), Some(outbox));
    vitals.publishes_by(Arc::clone(&publisher));
    tokio::spawn(tell_of_pauses(valve.clone()));
    let intake = RabbitIntake::with(options, Arc::clone(&courier));
    let watcher = intake.watcher();
    tokio::spawn({
        let mut state = watcher.state();
        async move {
            // Where connections are short, the one that takes work comes first: the other would be of no use without it.
            if state.wait_for(|state| state.is_up()).await.is_ok() {
                courier.empty_outbox().await;
            }
        }
    });
    vitals.consumes_by(watcher.clone());
    tokio::spawn(follow_session(watcher.state()));
    let ledger = Arc::new(Ledger::new(Instant::now()));
    let outlook = tools.reader.models.volumes().outlook().clone();
    tokio::spawn(tell_of_work(Arc::clone(&ledger), outlook, publisher, settings.report_every));
    let run = Run {
        allowed: app::allowed(settings)?,
        tools,
        observer: Arc::new(ServiceObserver::new(ledger)),
        sinks: sinks(settings),
        stop: stop.clone(),
        valve,
        drain_deadline: settings.drain,
        outage: Outage::Wait,
        limit: part.jobs.map(|jobs| JobLimit { jobs, patience: JOBLESS_PATIENCE }),
    };
    let machine = settings.scheduled_events.as_deref().map(|url| Machine::watch(url, stop)).transpose()?;
    let ended = run.run(Box::new(intake)).await;
    if !watcher.closed(CLOSING_PATIENCE).await {
        tracing::warn!("the broker session did not close in time; what it had not read comes again");
    }
    if let Some(machine) = machine {
        machine.let_go().await;
    }
    Ok(ended)
}

/// Who is told of what is stored.
fn sinks(settings: &Settings) -> Vec<Arc<dyn Sink>> {
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    if settings.publish_results {
        sinks.push(Arc::new(ResultEvents));
    }
    if !settings.targets.is_empty() {
        let targets = settings.targets.iter().map(|target| target.name.clone()).collect();
        sinks.push(Arc::new(DeliveryOrders { targets }));
    }
    sinks
}

/// Waits until results and at least one source answer: not ready, said loudly, and no message is taken in vain. The jobs of
/// sources that do not answer wait for them.
async fn storage_answers(
    settings: &Settings,
    tools: &Tools,
    vitals: &ServiceVitals,
    stop: &Stop,
) -> Option<RunEnd> {
    loop {
        match probe_all(settings, tools).await {
            Ok(()) => {
                vitals.storage_answers(Ok(()));
                return None;
            }
            Err(error) if error.class == ErrorClass::Fatal => return Some(RunEnd::Fatal(error)),
            Err(error) => {
                tracing::error!(%error, "not ready: storage does not let this worker in");
                vitals.storage_answers(Err(error.in_full()));
            }
        }
        tokio::select! {
            () = stop.drain.cancelled() => return Some(RunEnd::Drained),
            () = tokio::time::sleep(settings.limits.probe_interval) => {}
        }
    }
}

async fn probe_all(settings: &Settings, tools: &Tools) -> Result<(), JobError> {
    let named = |container: &str, mut error: JobError| {
        error.message = format!("container {container}: {}", error.message);
        error
    };
    let results = &settings.results_container;
    tools.results.probe(results).await.map_err(|error| named(results, error))?;
    let mut refused = Vec::new();
    for container in &settings.source_containers {
        if let Err(error) = tools.source.probe(container).await {
            refused.push((container, error));
        }
    }
    if refused.len() == settings.source_containers.len() {
        return refused.into_iter().next().map_or(Ok(()), |(container, error)| Err(named(container, error)));
    }
    for (container, error) in refused {
        tracing::error!(%error, container, "a container does not answer; its jobs wait");
        tools.outages.closed_at_start(container, &error);
    }
    Ok(())
}

/// Shows, as long as it runs, whether the broker session is up.
pub(in crate::services) async fn follow_session(mut state: tokio::sync::watch::Receiver<SessionState>) {
    let mut was_up = false;
    loop {
        let now = *state.borrow_and_update();
        if now.is_up() != was_up {
            metrics::broker_session(now.is_up());
            was_up = now.is_up();
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}
