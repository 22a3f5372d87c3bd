//! How every command starts: sound settings, the broker, and signals that stop it.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{compose, settings};
use crate::adapters::amqp::RabbitOptions;
use crate::cli::Common;
use crate::console::say;
use crate::settings::{Problems, Settings};

/// Settings that are sound and in which `require` misses nothing; `None` otherwise, and then every problem has been told.
pub(crate) fn sound_settings(
    common: &Common,
    require: impl FnOnce(&Settings, &mut Problems),
) -> Option<Settings> {
    let (_, settings, mut problems) = settings::settings(common, &[]);
    if let Some(settings) = &settings {
        require(settings, &mut problems);
    }
    let sound = settings.filter(|_| problems.is_empty());
    if sound.is_none() {
        say(&problems.to_string());
    }
    sound
}

pub(crate) fn require_broker(settings: &Settings, problems: &mut Problems) {
    if settings.broker.is_none() {
        problems.add("[broker] url is missing (NIGHTREAD_BROKER_URL)");
    }
}

/// Settings and how to reach the broker; `None` when they are not sound, and then every problem has been told.
pub(crate) fn broker_of(common: &Common) -> anyhow::Result<Option<(Settings, RabbitOptions)>> {
    let Some(settings) = sound_settings(common, require_broker) else { return Ok(None) };
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let options = compose::rabbit(broker, &settings.limits)?;
    Ok(Some((settings, options)))
}

/// The first SIGTERM or SIGINT cancels the first of `stops`, the second the next.
pub(crate) fn stop_on_signals<const N: usize>(stops: [CancellationToken; N]) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for stop in stops {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop");
            stop.cancel();
        }
    });
    Ok(())
}
