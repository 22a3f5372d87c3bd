//! `nightread webhook`: CloudEvents and Event Grid events over HTTP, for development and on-premises use.

mod events;
mod server;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::server::Webhook;
use super::events::vitals::RelayVitals;
use crate::adapters::amqp::Publisher;
use crate::adapters::http::{self, Bounds};
use crate::app;
use crate::app::{require_broker, stop_on_signals};
use crate::services::health::HealthServer;
use crate::services::writing::Writing;
use crate::settings::{Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// Takes events until it is told to stop, and gives how many were published; `runtime` ends with it.
///
/// # Errors
/// Whatever kept it from beginning.
pub(crate) fn run(settings: &Settings, runtime: Runtime) -> Result<u64> {
    let prometheus = metrics::install(Teller::Webhook).context("the metrics recorder does not start")?;
    let vitals = Arc::new(RelayVitals::new(prometheus));
    // It has no queue to wait for.
    vitals.queue(true);
    let writing = Writing::of(settings, Teller::Webhook)?;
    let _health = HealthServer::start(settings.listen, Arc::<RelayVitals>::clone(&vitals), writing)
        .with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?;
    let published = runtime.block_on(serve(settings, vitals))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(published)
}

pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.webhook.is_none() {
        problems.add("[webhook] token is missing (NIGHTREAD_WEBHOOK_TOKEN): the webhook is off without one");
    }
}

async fn serve(settings: &Settings, vitals: Arc<RelayVitals>) -> Result<u64> {
    let webhook = settings.webhook.clone().context("a token was required above")?;
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let publisher = Arc::new(Publisher::new(app::rabbit(broker, &settings.limits)?));
    vitals.publishes_by(Arc::clone(&publisher));
    let listener = tokio::net::TcpListener::bind(webhook.listen)
        .await
        .with_context(|| format!("cannot listen on {} ([webhook] listen)", webhook.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, "taking events");
    let stop = CancellationToken::new();
    stop_on_signals([stop.clone()])?;
    let webhook = Arc::new(Webhook::new(webhook, publisher));
    let watched = tokio::spawn(watch(Arc::clone(&webhook), vitals, stop.clone()));
    let bounds = Bounds { stop_patience: server::PATIENCE, ..Bounds::new(server::MAX_CONNECTIONS) };
    http::serve(listener, server::router(Arc::clone(&webhook)), bounds, stop).await;
    watched.await?;
    Ok(webhook.published())
}

/// Keeps `/ready` true to the broker.
async fn watch(webhook: Arc<Webhook>, vitals: Arc<RelayVitals>, stop: CancellationToken) {
    loop {
        let up = webhook.is_ready().await;
        if vitals.broker(up) {
            metrics::broker_session(up);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}
