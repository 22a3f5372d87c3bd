//! The result event: the first of what is done with a stored document.

use async_trait::async_trait;
use nightread_domain::JobError;
use nightread_domain::ports::{Notice, Sink, Standing};
use sha2::{Digest, Sha256};

use crate::adapters::amqp::{ResultData, ResultEvent};

/// Tells whoever listens of each document, once its settlement does.
#[derive(Debug)]
pub(super) struct ResultEvents;

#[async_trait]
impl Sink for ResultEvents {
    async fn take(&self, standing: Standing<'_>) -> Result<Vec<Notice>, JobError> {
        Ok(vec![event_of(standing).notice()?])
    }
}

fn event_of(Standing { job, document, path }: Standing<'_>) -> ResultEvent {
    let etag = document.study.version.as_ref().map_or("", |etag| etag.0.as_str());
    // The same reading has the same id, however often it is told.
    let id = Sha256::digest(format!("{path}\n{etag}\n{}", document.read_at));
    let data = ResultData {
        status: document.status,
        result: path.to_string(),
        source: job.study.name().to_string(),
        model: document.model.name.clone(),
        version: document.model.version_in_paths(),
        code: document.error.as_ref().map(|error| error.code),
        correlation_id: job.correlation_id.clone(),
    };
    ResultEvent::new(hex::encode(&id[..16]), document.read_at, data)
}
