//! The models of a registry, before anything is opened.

use nightread_domain::JobError;

use super::vitals::ServiceVitals;
use crate::app;
use crate::pipeline::serving::{RunEnd, Stop};
use crate::settings::Settings;

/// Waits until every pinned model is on this machine: not ready, said loudly. What cannot pass by itself, a wrong digest above all,
/// ends the worker. `None` to go on.
pub(super) async fn are_here(settings: &Settings, vitals: &ServiceVitals, stop: &Stop) -> Option<RunEnd> {
    let registry = settings.registry.as_ref()?;
    loop {
        let fetched = tokio::select! {
            () = stop.drain.cancelled() => return Some(RunEnd::Drained),
            fetched = app::fetched(settings, registry, None) => fetched,
        };
        match fetched {
            Ok(_) => {
                vitals.models_are_away(None);
                return None;
            }
            Err(error) if error.is_transient() => away(&error, vitals),
            Err(error) => return Some(RunEnd::Fatal(error)),
        }
        tokio::select! {
            () = stop.drain.cancelled() => return Some(RunEnd::Drained),
            () = tokio::time::sleep(settings.limits.probe_interval) => {}
        }
    }
}

fn away(error: &JobError, vitals: &ServiceVitals) {
    tracing::error!(%error, "not ready: the models' registry does not let this worker in");
    vitals.models_are_away(Some(error.in_full()));
}
