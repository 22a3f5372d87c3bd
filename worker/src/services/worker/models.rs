//! The models of a registry, before anything is opened.

use nightread_domain::JobError;
use nightread_engine::Catalogue;

use super::vitals::ServiceVitals;
use crate::app;
use crate::pipeline::serving::{RunEnd, Stop};
use crate::settings::{RegistrySettings, Settings};

/// Waits until every pinned model is on this machine: not ready, said loudly. The error is how the worker ends instead: what cannot
/// pass by itself, a wrong digest above all, ends it.
pub(super) async fn fetched(
    settings: &Settings,
    from: &RegistrySettings,
    vitals: &ServiceVitals,
    stop: &Stop,
) -> Result<Catalogue, RunEnd> {
    loop {
        let fetched = tokio::select! {
            () = stop.drain.cancelled() => return Err(RunEnd::Drained),
            fetched = app::fetched(settings, from) => fetched,
        };
        match fetched {
            Ok(catalogue) => {
                vitals.models_are_away(None);
                return Ok(catalogue);
            }
            Err(error) if error.is_transient() => away(&error, vitals),
            Err(error) => return Err(RunEnd::Fatal(error)),
        }
        tokio::select! {
            () = stop.drain.cancelled() => return Err(RunEnd::Drained),
            () = tokio::time::sleep(settings.limits.probe_interval) => {}
        }
    }
}

fn away(error: &JobError, vitals: &ServiceVitals) {
    tracing::error!(%error, "not ready: the models cannot be fetched");
    vitals.models_are_away(Some(error.in_full()));
}
