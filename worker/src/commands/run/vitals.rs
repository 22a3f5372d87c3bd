//! What the service tells of itself: readiness, metrics, result events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use nightread_domain::{Disposition, JobError};
use sha2::{Digest, Sha256};

use crate::adapters::queue::rabbitmq::{Publisher, ResultData, ResultEvent};
use crate::pipeline::intake::Observer;
use crate::pipeline::process::{Outcome, Report, Tools};
use crate::telemetry::health::Vitals;
use crate::telemetry::metrics;

/// Latches that `/ready` waits for.
#[derive(Debug)]
pub(super) struct ServiceVitals {
    prometheus: PrometheusHandle,
    tools: OnceLock<Arc<Tools>>,
    storage: AtomicBool,
    broker: AtomicBool,
}

impl ServiceVitals {
    pub fn new(prometheus: PrometheusHandle) -> Self {
        let no = || AtomicBool::new(false);
        Self { prometheus, tools: OnceLock::new(), storage: no(), broker: no() }
    }

    pub fn models_are_warm(&self, tools: Arc<Tools>) {
        // Set once, by the start; a second call would bring the same tools.
        let _first = self.tools.set(tools);
    }

    pub fn storage_answers(&self, yes: bool) {
        self.storage.store(yes, Ordering::Relaxed);
    }

    pub fn broker_session(&self, up: bool) {
        self.broker.store(up, Ordering::Relaxed);
    }
}

impl Vitals for ServiceVitals {
    fn alive(&self) -> Result<(), String> {
        self.tools.get().and_then(|tools| tools.models.failure()).map_or(Ok(()), Err)
    }

    fn ready(&self) -> Result<(), String> {
        let waiting: Vec<_> = [
            (self.tools.get().is_some(), "models"),
            (self.storage.load(Ordering::Relaxed), "storage"),
            (self.broker.load(Ordering::Relaxed), "broker"),
        ]
        .into_iter()
        .filter_map(|(up, what)| (!up).then_some(what))
        .collect();
        if waiting.is_empty() { self.alive() } else { Err(waiting.join(", ")) }
    }

    fn metrics(&self) -> String {
        if let Some(tools) = self.tools.get() {
            let (items, batches) = tools.models.computed();
            metrics::engine_totals(items, batches);
        }
        self.prometheus.render()
    }
}

/// Counts endings, and tells of results before their deliveries are settled.
#[derive(Debug)]
pub(super) struct ServiceObserver {
    teller: Option<Arc<Publisher>>,
    vitals: Arc<ServiceVitals>,
}

impl ServiceObserver {
    pub fn new(teller: Option<Arc<Publisher>>, vitals: Arc<ServiceVitals>) -> Self {
        Self { teller, vitals }
    }
}

#[async_trait]
impl Observer for ServiceObserver {
    async fn job_ended(&self, report: &Report, disposition: &Disposition) -> Result<(), JobError> {
        if let (Some(teller), Some(event)) = (&self.teller, event_of(report)) {
            teller.tell(&event).await?;
        }
        metrics::job_ended(report, disposition);
        Ok(())
    }

    fn message_settled(&self, disposition: &Disposition) {
        metrics::message_settled(disposition);
    }

    fn event_ignored(&self, event_type: &str) {
        metrics::event_ignored(event_type == "own_result");
    }

    fn delivery_taken(&self) {
        metrics::delivery_taken();
    }

    fn delivery_left(&self) {
        metrics::delivery_left();
    }

    fn outage(&self, open: bool) {
        metrics::storage_outage(open);
        self.vitals.storage_answers(!open);
    }
}

/// The event of a document that stands; none for one that a newer document overtook, whose writer tells of it.
fn event_of(report: &Report) -> Option<ResultEvent> {
    if matches!(report.outcome, Outcome::Superseded | Outcome::Unfinished(_)) {
        return None;
    }
    let (document, path) = (report.document.as_ref()?, report.path.as_ref()?);
    let etag = document.source.etag.as_ref().map_or("", |etag| etag.0.as_str());
    // The same reading has the same id, however often it is told.
    let id = Sha256::digest(format!("{path}\n{etag}\n{}", document.read_at));
    let data = ResultData {
        status: document.status,
        result: path.to_string(),
        source: report.job.source.to_string(),
        model: document.model.name.clone(),
        version: document.model.version.clone(),
        code: document.error.as_ref().map(|error| error.code),
        correlation_id: report.job.correlation_id.clone(),
    };
    Some(ResultEvent::new(hex::encode(&id[..16]), document.read_at, data))
}
