//! `nightread backlog`: how much work waits, in seconds for each worker.

mod estimate;
mod show;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use nightread_domain::JobError;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

pub(crate) use self::estimate::Backlog;
use self::estimate::{Seen, WINDOW_SECONDS, estimate};
use crate::adapters::amqp::{
    Management, Publisher, RabbitOptions, WorkReport, certificate_ends_at, recent_reports, topology,
    virtual_host,
};
use crate::adapters::azure::monitor::AzureMonitor;
use crate::adapters::azure::queue::StorageQueue;
use crate::app;
use crate::app::WrongUse;
use crate::services::health::{HealthServer, Vitals};
use crate::services::writing::Writing;
use crate::settings::{BacklogSettings, Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// What `--publish` sends to Azure Monitor.
pub(crate) const PUBLISHED: [&str; 5] = [
    "BacklogSecondsPerWorker",
    "DeadLetters",
    "OldestJobAgeSeconds",
    "StorageQueueDepth",
    "BrokerCertificateDays",
];

const SECONDS_OF_A_DAY: f64 = 86_400.0;

pub(super) fn require(settings: &Settings, problems: &mut Problems) {
    if settings.backlog.management_url.is_none() {
        problems.add("[backlog] management_url is missing (NIGHTREAD_BACKLOG_MANAGEMENT_URL)");
    }
}

/// Everything that a look needs.
pub(crate) struct BacklogWatch {
    options: RabbitOptions,
    settings: BacklogSettings,
    publisher: Publisher,
    management: Management,
    monitor: Option<AzureMonitor>,
    queue: Option<StorageQueue>,
    /// Who is told of every look.
    writing: Option<Writing>,
    /// What the last look concluded; at the broker where that is published, for whoever looks next.
    last: Mutex<Option<WorkReport>>,
}

impl BacklogWatch {
    /// [`WrongUse`] when a setting is missing, with every such problem.
    pub fn new(settings: &Settings, options: RabbitOptions, publish: bool) -> Result<Self> {
        let backlog = &settings.backlog;
        let mut missing = Problems::default();
        require(settings, &mut missing);
        if publish && backlog.metrics.is_none() {
            missing.add("--publish needs [backlog] resource_id and region");
        }
        let (true, Some(url)) = (missing.is_empty(), &backlog.management_url) else {
            return Err(WrongUse(missing.to_string()).into());
        };
        let management = Management::new(url.reveal(), &virtual_host(&options)?, options.ca_pem.as_deref())?;
        let metrics = backlog.metrics.as_ref().filter(|_| publish);
        let monitor = metrics.map(|to| AzureMonitor::new(to, settings.client_id.as_deref())).transpose()?;
        let queue = match &settings.relay {
            Some(relay) => {
                let (account, name) = app::queue_account(relay, settings)?;
                Some(StorageQueue::with_poison(account, name.as_deref())?.0)
            }
            None => None,
        };
        let publisher = Publisher::new(options.clone());
        let writing = Writing::of(settings, Teller::Backlog)?;
        let (settings, last) = (backlog.clone(), Mutex::default());
        Ok(Self { options, settings, publisher, management, monitor, queue, writing, last })
    }

    /// One look. What was counted is returned also when it could not be published.
    pub async fn once(&self) -> Result<(Backlog, Result<(), JobError>), JobError> {
        let counts = self.management.counts(&counted_queues()).await?;
        let window = Duration::from_secs(WINDOW_SECONDS);
        let mut reports = match recent_reports(&self.options, &self.publisher, window).await {
            Ok(reports) => reports,
            Err(error) => {
                tracing::warn!(%error, "what workers told cannot be read; the settings stand in");
                Vec::new()
            }
        };
        reports.extend(self.last.lock().unwrap_or_else(PoisonError::into_inner).take());
        let now = OffsetDateTime::now_utc();
        let at = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let storage_queue = self.before_the_broker().await;
        let seen = Seen { at, counts: &counts, reports: &reports, storage_queue };
        let (backlog, conclusion) = estimate(&seen, &self.settings);
        let published = self.publish(now, &backlog, &conclusion).await;
        if self.monitor.is_none() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(conclusion);
        }
        Ok((backlog, published))
    }

    /// The broker's figures are worth publishing also when storage does not answer.
    async fn before_the_broker(&self) -> Option<u64> {
        match self.queue.as_ref()?.depth().await {
            Ok(messages) => Some(messages),
            Err(error) => {
                tracing::warn!(%error, "the Storage queue was not counted");
                None
            }
        }
    }

    async fn publish(
        &self,
        now: OffsetDateTime,
        backlog: &Backlog,
        next: &WorkReport,
    ) -> Result<(), JobError> {
        let Some(monitor) = &self.monitor else { return Ok(()) };
        if let Err(error) = self.publisher.report(next).await {
            tracing::warn!(%error, "the next look will not know of this one");
        }
        // The reports were read over a connection of this look, so that the broker has just shown it.
        let certificate =
            certificate_ends_at().map(|end| (end - now.unix_timestamp()) as f64 / SECONDS_OF_A_DAY);
        monitor.publish(now, &backlog.metrics(certificate)).await
    }

    /// One look for whoever asked, told to the receiver of metrics as well.
    ///
    /// # Errors
    /// When it could not count.
    pub async fn single(&self) -> Result<(Backlog, Result<(), JobError>)> {
        let (backlog, published) = self.once().await?;
        let Some(writing) = &self.writing else { return Ok((backlog, published)) };
        let vitals = WatchVitals::telling()?;
        vitals.saw(&backlog);
        let written = writing.once(&vitals.metrics()).await;
        Ok((backlog, published.and(written)))
    }

    /// Looks `every` so often until it is told to stop, and gives each `Backlog` to `tell`; serves metrics at `serve`.
    ///
    /// # Errors
    /// When it cannot serve, or when `tell` fails. A look that fails is logged, and the next one taken.
    pub async fn go_on(
        &self,
        every: Duration,
        serve: Option<SocketAddr>,
        mut tell: impl FnMut(&Backlog) -> Result<()>,
    ) -> Result<()> {
        let is_told = serve.is_some() || self.writing.is_some();
        let vitals = Arc::new(if is_told { WatchVitals::telling()? } else { WatchVitals::new() });
        let _server = match serve {
            Some(address) => {
                // Written after each look, and not between two.
                let server = HealthServer::start(address, Arc::<WatchVitals>::clone(&vitals), None);
                let server = server.with_context(|| format!("cannot listen on {address}"))?;
                tracing::info!(address = %server.address(), "serving");
                Some(server)
            }
            None => None,
        };
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = tick.tick() => {}
            }
            let looked = self.once().await;
            match looked {
                Ok((backlog, published)) => {
                    vitals.saw(&backlog);
                    tell(&backlog)?;
                    if let Err(error) = published {
                        tracing::error!(%error, "the backlog was not published");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the backlog could not be counted");
                    vitals.saw_nothing(&error);
                }
            }
            if let Some(writing) = &self.writing
                && let Err(error) = writing.once(&vitals.metrics()).await
            {
                tracing::warn!(%error, "the backlog was not written to the receiver of metrics");
            }
        }
    }
}

/// All but the reports, which are no work, and deliveries, which are none of a worker's.
fn counted_queues() -> Vec<String> {
    let others = [topology::REPORTS, topology::DELIVERIES, topology::DELIVERIES_DEAD];
    topology::queues().into_iter().filter(|queue| !others.contains(&queue.as_str())).collect()
}

impl Backlog {
    /// The custom metrics of Azure Monitor. A Storage queue that nobody named has no depth, and a broker without TLS no
    /// days of a certificate.
    fn metrics(&self, certificate_days: Option<f64>) -> Vec<(&'static str, f64)> {
        let values = [
            Some(self.seconds_per_worker),
            Some(self.dead_letters as f64),
            Some(self.oldest_job_age_seconds as f64),
            self.storage_queue.map(|depth| depth as f64),
            certificate_days,
        ];
        PUBLISHED.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn by_queue(&self, value: fn(&estimate::QueueWork) -> f64) -> BTreeMap<String, f64> {
        self.queues.iter().map(|queue| (queue.queue.clone(), value(queue))).collect()
    }

    /// The same for Prometheus.
    fn figures(&self) -> metrics::BacklogFigures {
        metrics::BacklogFigures {
            ready: self.by_queue(|queue| queue.ready as f64),
            unacknowledged: self.by_queue(|queue| queue.unacknowledged as f64),
            seconds_each: self.by_queue(|queue| queue.seconds_each),
            seconds_per_worker: self.seconds_per_worker,
            workers: self.workers,
            dead_letters: self.dead_letters,
            oldest_job_age_seconds: self.oldest_job_age_seconds,
            storage_queue: self.storage_queue,
        }
    }
}

/// What the last look found. Ready while it could count.
#[derive(Debug)]
struct WatchVitals {
    prometheus: OnceLock<PrometheusHandle>,
    last: Mutex<LastLook>,
}

#[derive(Debug)]
struct LastLook {
    /// The figures as text, or why there are none.
    figures: Result<String, String>,
    /// When a look last could count, or when we began.
    succeeded: Instant,
}

impl WatchVitals {
    fn new() -> Self {
        let last = LastLook { figures: Err("broker: not asked yet".to_owned()), succeeded: Instant::now() };
        Self { prometheus: OnceLock::new(), last: Mutex::new(last) }
    }

    /// With the recorder of this process, which there is once.
    fn telling() -> Result<Self> {
        let vitals = Self::new();
        let prometheus = metrics::install(Teller::Backlog).context("the metrics recorder does not start")?;
        // Set once, here.
        let _first = vitals.prometheus.set(prometheus);
        Ok(vitals)
    }

    fn last(&self) -> MutexGuard<'_, LastLook> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, backlog: &Backlog) {
        *self.last() =
            LastLook { figures: Ok(metrics::backlog(&backlog.figures())), succeeded: Instant::now() };
    }

    fn saw_nothing(&self, error: &JobError) {
        self.last().figures = Err(format!("broker: {}", error.message));
    }
}

impl Vitals for WatchVitals {
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        self.last().figures.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn metrics(&self) -> String {
        let Some(prometheus) = self.prometheus.get() else { return String::new() };
        let last = self.last();
        metrics::backlog_seen(last.succeeded.elapsed());
        // What nobody can see now is not told.
        metrics::render(prometheus) + last.figures.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::backlog::pause;

    #[test]
    fn pauses_are_read() {
        assert_eq!(pause("60s"), Ok(Duration::from_mins(1)));
        assert_eq!(pause("5m"), Ok(Duration::from_mins(5)));
        for wrong in ["60", "s", "0s", "-1s", "1d", "é", "99999999999999999999h", "5124095576030432h"] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }
}
