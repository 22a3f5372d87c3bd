//! How every command starts: sound settings, the broker, and signals that stop it.

use std::fmt;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{compose, settings};
use crate::adapters::amqp::RabbitOptions;
use crate::cli::Common;
use crate::settings::{Problems, Settings};

/// What was typed, or set, cannot be done. Its words are for whoever typed it; the program ends with the status of wrong use.
#[derive(Debug)]
pub(crate) struct WrongUse(pub String);

impl fmt::Display for WrongUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Settings in which no problem was found; otherwise every problem.
pub(crate) fn sound(settings: Option<Settings>, problems: &Problems) -> Result<Settings, WrongUse> {
    settings.filter(|_| problems.is_empty()).ok_or_else(|| WrongUse(problems.to_string()))
}

/// Settings that are sound and in which `require` misses nothing; otherwise every problem.
pub(crate) fn sound_settings(
    common: &Common,
    require: impl FnOnce(&Settings, &mut Problems),
) -> Result<Settings, WrongUse> {
    let (_, settings, mut problems) = settings::settings(common, &[]);
    if let Some(settings) = &settings {
        require(settings, &mut problems);
    }
    sound(settings, &problems)
}

pub(crate) fn require_broker(settings: &Settings, problems: &mut Problems) {
    if settings.broker.is_none() {
        problems.add("[broker] url is missing (NIGHTREAD_BROKER_URL)");
    }
}

/// Settings and how to reach the broker; [`WrongUse`] with every problem when they are not sound.
pub(crate) fn broker_of(common: &Common) -> anyhow::Result<(Settings, RabbitOptions)> {
    let settings = sound_settings(common, require_broker)?;
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let options = compose::rabbit(broker, &settings.limits)?;
    Ok((settings, options))
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
