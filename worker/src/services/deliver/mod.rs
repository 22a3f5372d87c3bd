//! `nightread deliver`: results to archives, from a queue of their own, so that an archive that is away holds no reading up.

mod desk;
mod making;
mod reach;
mod records;
mod sources;
mod target;
mod vitals;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use nightread_domain::{Disposition, ErrorCode, JobError, Message, Stage};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use self::desk::Desk;
use self::vitals::{DeliverVitals, tell_of_queues};
use super::worker::{follow_session, tell_of_pauses};
use super::writing::Writing;
use crate::adapters::amqp::{Courier, Outbox, Publisher, RabbitIntake};
use crate::adapters::dicom::Reports;
use crate::app::{self, require_broker, stop_on_signals};
use crate::flow::WORKER_VERSION;
use crate::flow::valve::{Pause, PauseReason, Valve};
use crate::pipeline::serving::{Decided, Handler, RunEnd, Serving, Stop};
use crate::services::dicom::send::listener;
use crate::services::health::HealthServer;
use crate::settings::{Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// How long acknowledgements may take to reach the broker after the last order.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

/// Sends until it is told to stop; `runtime` ends with it.
///
/// # Errors
/// Whatever kept it from beginning.
pub(crate) fn run(settings: &Settings, runtime: Runtime) -> Result<RunEnd> {
    let prometheus = metrics::install(Teller::Deliver).context("the metrics recorder does not start")?;
    let valve = Valve::default();
    let reports = Arc::default();
    let desk = Arc::new(Desk::new(settings, &reports)?);
    metrics::targets(desk.targets.keys().map(String::as_str));
    let vitals = Arc::new(DeliverVitals::new(prometheus, valve.clone()));
    let writing = Writing::of(settings, Teller::Deliver)?;
    let health = HealthServer::start(settings.listen, Arc::<DeliverVitals>::clone(&vitals), writing)
        .with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?;
    tracing::info!(version = WORKER_VERSION, health = %health.address(), "starting");
    let ended = runtime.block_on(serve(settings, desk, &reports, &vitals, valve));
    runtime.shutdown_timeout(Duration::from_secs(2));
    match &ended {
        Err(error) => tracing::error!(%error, "stopped"),
        Ok(RunEnd::Fatal(error)) => tracing::error!(%error, "stopped"),
        Ok(RunEnd::Drained | RunEnd::GaveBack) => tracing::info!("stopped"),
    }
    ended
}

pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.targets.is_empty() {
        problems
            .add("[deliver] archive is missing (NIGHTREAD_DELIVER_ARCHIVE), and there are no [[targets]]");
    }
    if settings.storage.is_none() {
        problems.add("[storage] is incomplete: kind folder needs folder, kind azure needs a way in");
    }
    let Some(broker) = &settings.broker else { return };
    for target in &settings.targets {
        // A result is in flight while it is sent, and what then becomes of it may have to wait for the broker.
        if target.timeout + target.commitment.unwrap_or_default() > broker.consumer_timeout.ingest / 2 {
            problems.add(format!(
                "archive {}: seconds (with commitment_seconds) is over half of [broker] consumer_timeout_seconds",
                target.name
            ));
        }
    }
}

/// What keeps codes of labels from being read. A folder without models has none.
pub(crate) fn look_at_manifests(settings: &Settings, offline: bool, problems: &mut Problems) {
    let models = if offline { app::catalogue_here(settings) } else { app::described(settings, None) };
    match models {
        Ok(models) => problems.extend(models.problems().iter().map(ToString::to_string)),
        Err(error) if settings.registry.is_some() => problems.add(error.in_full()),
        Err(_) => {}
    }
}

async fn serve(
    settings: &Settings,
    desk: Arc<Desk>,
    reports: &Arc<Reports>,
    vitals: &Arc<DeliverVitals>,
    valve: Valve,
) -> Result<RunEnd> {
    let stop = Stop::default();
    stop_on_signals([stop.drain.clone(), stop.abandon.clone()])?;
    if let Some(listener) = listener(settings, reports).await? {
        tracing::info!(address = %listener.address()?, "reports of storage commitments are taken");
        tokio::spawn(listener.serve());
    }
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let mut options = app::rabbit(broker, &settings.limits)?;
    (options.permits, options.deliveries) = (settings.deliver_jobs, true);
    let publisher = Arc::new(Publisher::new(options.clone()));
    let outbox = Outbox::new(desk.results(), settings.results_container.as_str());
    let courier = Courier::new(Arc::clone(&publisher), valve.clone(), Some(Arc::new(outbox)));
    let intake = RabbitIntake::with(options, Arc::clone(&courier));
    let watcher = intake.watcher();
    vitals.begun(watcher.clone(), Arc::clone(&publisher), stop.clone());
    tokio::spawn(follow_session(watcher.state()));
    tokio::spawn(tell_of_pauses(valve.clone()));
    tokio::spawn(tell_of_queues(publisher));
    tokio::spawn({
        let mut state = watcher.state();
        async move {
            if state.wait_for(|state| state.is_up()).await.is_ok() {
                courier.empty_outbox().await;
            }
        }
    });
    let changed = Arc::new(Notify::new());
    for target in desk.targets.values() {
        let (target, changed, usual) =
            (Arc::clone(target), Arc::clone(&changed), settings.limits.probe_interval);
        tokio::spawn(async move { target.watch(usual, || changed.notify_one()).await });
    }
    tokio::spawn(pause_without_archives(Arc::clone(&desk), valve.clone(), changed));
    let serving = Serving {
        stop,
        valve,
        permits: settings.deliver_jobs,
        drain_deadline: settings.drain,
        limit: None,
        fatal: Mutex::new(None),
    };
    let ended = Arc::new(serving).run(Box::new(intake), Arc::new(Orders { desk })).await;
    if !watcher.closed(CLOSING_PATIENCE).await {
        tracing::warn!("the broker session did not close in time; what it had not read comes again");
    }
    Ok(ended)
}

/// Takes nothing while no archive takes anything: what waits lies in its queue, in nobody's hand.
async fn pause_without_archives(desk: Arc<Desk>, valve: Valve, changed: Arc<Notify>) {
    let mut held: Option<Pause> = None;
    loop {
        changed.notified().await;
        let why = desk.no_archive();
        // The old one goes when the new one is there, so that nothing is taken between them.
        let pause = why.map(|why| valve.pause(PauseReason::Archives, why));
        drop(std::mem::replace(&mut held, pause));
    }
}

/// Carries out orders.
struct Orders {
    desk: Arc<Desk>,
}

#[async_trait]
impl Handler for Orders {
    type InFlight = metrics::InFlight;

    fn taken(&self, _message: &Message) -> metrics::InFlight {
        metrics::InFlight::begun()
    }

    async fn decide(&self, message: &Message) -> Decided {
        let disposition = self.desk.serve(message).await;
        metrics::message_settled(&disposition);
        (disposition, Vec::new())
    }

    fn of_panic(&self) -> Disposition {
        let error = JobError::new(Stage::Deliver, ErrorCode::Internal, "a delivery panicked");
        let disposition = Disposition::DeadLetter { error };
        metrics::message_settled(&disposition);
        disposition
    }
}
