//! One archive: how it is reached, and whether it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nightread_archive::Object;
use nightread_domain::{BlobRef, ErrorCode, JobError};
use tokio::sync::Notify;

use super::reach::{Reach, tells_of_archive};
use crate::adapters::dicom::{Archive, ObjectVerdict, Reports, Sending};
use crate::services::dicom::send::{archive, audited};
use crate::settings::DeliverSettings;
use crate::telemetry::metrics;

#[derive(Debug)]
pub(super) struct Target {
    pub settings: DeliverSettings,
    archive: Archive,
    reach: Mutex<Reach>,
    /// It closed, or it is open again.
    changed: Notify,
}

impl Target {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// `settings_invalid`.
    pub fn new(settings: &DeliverSettings, threshold: u32, reports: &Arc<Reports>) -> Result<Self, JobError> {
        Ok(Self {
            settings: settings.clone(),
            archive: archive(settings, reports)?,
            reach: Mutex::new(Reach::new(&settings.name, threshold)),
            changed: Notify::new(),
        })
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Reach) -> T) -> T {
        ask(&mut self.reach.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why nothing is sent to it, while nothing is.
    pub fn why_closed(&self) -> Option<JobError> {
        self.with(|reach| reach.why_closed().cloned())
    }

    /// Sends the objects of one result; one verdict each. Leaves a line for the audit.
    pub async fn send(&self, objects: &[Object]) -> Sending {
        let sending = self.archive.send(objects).await;
        audited(&self.settings, objects, &sending);
        sending
    }

    /// Notes how a sending ended. Whether the archive is to blame for its failure.
    pub fn saw(&self, result: &BlobRef, failed: Option<&JobError>) -> bool {
        let Some(error) = failed.filter(|error| tells_of_archive(error.code)) else {
            self.with(Reach::answered);
            return false;
        };
        let blamed = self.with(|reach| reach.failed(result, error));
        if blamed {
            self.changed.notify_one();
        }
        blamed
    }

    /// Probes it while it is closed, `usual` apart or longer. `tell` hears of every change. Ends never.
    pub async fn watch(&self, usual: Duration, tell: impl Fn()) {
        metrics::target_up(self.name(), true);
        loop {
            self.changed.notified().await;
            let Some(why) = self.why_closed() else { continue };
            tracing::error!(delivery_target = self.name(), error = %why, code = %why.code, "an archive is away; its results wait");
            metrics::target_up(self.name(), false);
            tell();
            while !self.probe(self.with(|reach| reach.wait(usual))).await {}
            tracing::info!(delivery_target = self.name(), "an archive answers again");
            metrics::target_up(self.name(), true);
            tell();
        }
    }

    async fn probe(&self, wait: Duration) -> bool {
        tokio::time::sleep(wait).await;
        match self.archive.answers().await {
            Err(error) if tells_of_archive(error.code) => {
                tracing::warn!(%error, delivery_target = self.name(), "an archive still does not answer");
                false
            }
            // Some take objects and answer no questions: that is an answer.
            Ok(_) | Err(_) => {
                self.with(Reach::probe_passed);
                true
            }
        }
    }
}

/// What of several verdicts decides: that the archive is away, else what was refused for good, else what may pass.
pub(super) fn worst(verdicts: &[ObjectVerdict]) -> Option<&JobError> {
    let failed = || verdicts.iter().filter_map(ObjectVerdict::error);
    let away = failed().find(|error| tells_of_archive(error.code));
    away.or_else(|| failed().find(|error| !error.is_transient())).or_else(|| failed().next())
}

/// An order for an archive that nobody named.
pub(super) fn unknown(name: &str) -> JobError {
    let text = format!("the settings name no archive {name:?}");
    JobError::new(nightread_domain::Stage::Deliver, ErrorCode::UnknownTarget, text)
}
