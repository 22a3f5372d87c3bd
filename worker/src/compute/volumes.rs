//! The networks that go over volumes, on a thread of their own.

use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{Health, PatchEngine, PatchOptions, Runtime, VerifiedModel};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::flow::outlook::Outlook;
use crate::flow::sweep::SweepProgress;

/// One thread for all networks of volumes: a volume takes all the cores that it is given, so two at once would gain nothing.
#[derive(Debug)]
pub struct VolumeNetworks {
    runtime: Runtime,
    models: Vec<VerifiedModel>,
    options: PatchOptions,
    engine: OnceCell<PatchEngine>,
    progress: Arc<SweepProgress>,
    outlook: Outlook,
}

impl VolumeNetworks {
    /// Opened by the first study, or before it by [`VolumeNetworks::open`].
    pub fn new(runtime: Runtime, models: Vec<VerifiedModel>, options: PatchOptions) -> Self {
        Self {
            runtime,
            models,
            options,
            engine: OnceCell::new(),
            progress: Arc::default(),
            outlook: Outlook::default(),
        }
    }

    /// Opens them now, where there are any: for the service, whose first study should not wait, nor find out that they cannot
    /// run.
    ///
    /// # Errors
    /// As [`PatchEngine::start`].
    pub async fn open(&self) -> Result<(), JobError> {
        if !self.models.is_empty() {
            self.engine().await?;
        }
        Ok(())
    }

    /// What runs them. The first study waits here until they are open.
    ///
    /// # Errors
    /// As [`PatchEngine::start`].
    pub async fn engine(&self) -> Result<&PatchEngine, JobError> {
        self.engine.get_or_try_init(|| self.started()).await
    }

    async fn started(&self) -> Result<PatchEngine, JobError> {
        let (runtime, models, options) = (self.runtime.clone(), self.models.clone(), self.options);
        let started = spawn_blocking(move || PatchEngine::start(&runtime, models, options)).await;
        started.unwrap_or_else(|error| {
            let text = "opening the networks of volumes was broken off";
            Err(JobError::new(Stage::Start, ErrorCode::EngineFailed, text).with_source(error))
        })
    }

    /// How far the volume in turn is.
    pub fn progress(&self) -> &Arc<SweepProgress> {
        &self.progress
    }

    /// What is left of the volumes in hand.
    pub fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// Why what is computed can no longer be trusted, if so.
    pub fn failure(&self) -> Option<String> {
        match self.engine.get()?.health() {
            Health::Failed(reason) => Some(reason),
            Health::Ready | Health::Draining | Health::Closed => None,
        }
    }
}
