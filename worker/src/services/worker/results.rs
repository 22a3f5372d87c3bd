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

#[cfg(test)]
mod tests {
    use nightread_domain::result::{Parsed, ResultDocument};
    use nightread_domain::{BlobRef, Job};
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::services::worker::orders::DeliveryOrders;

    /// Whoever met the document tells the same as whoever made it: listeners and archives have it once.
    #[tokio::test]
    async fn what_two_hands_tell_of_one_document_has_one_id() {
        let mut made: ResultDocument = serde_json::from_value(json!({
            "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
            "study": {"kind": "blob", "container": "incoming", "name": "a.png", "version": "\"0x8D\"", "last_modified": null,
                "bytes": 1, "sha256": "ab", "media": "png"},
            "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "w",
                "execution_provider": "cpu", "preprocessing": "p"},
            "findings": [], "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"}))
        .expect("a document");
        let path = BlobRef::parse("results/m/a.png.json").expect("a name");
        let job = Job::of(BlobRef::parse("incoming/a.png").expect("a name"));
        let sinks: [&dyn Sink; 2] =
            [&ResultEvents, &DeliveryOrders { targets: vec!["pacs".to_owned(), "vna".to_owned()] }];
        let told = async |document: &ResultDocument| {
            let mut told = Vec::new();
            for sink in sinks {
                told.extend(sink.take(Standing { job: &job, document, path: &path }).await.expect("told"));
            }
            told
        };
        // Nanoseconds, with and without zeros at their end.
        for nanoseconds in [0, 1, 120_000_000, 123_456_789] {
            made.read_at = OffsetDateTime::from_unix_timestamp_nanos(1_767_225_600_000_000_000 + nanoseconds)
                .expect("a time");
            let body = serde_json::to_vec_pretty(&made).expect("JSON");
            let Parsed::Document(met) = ResultDocument::parse(&body) else { panic!("a document") };
            let (first, second) = (told(&made).await, told(&met).await);
            assert_eq!(first.len(), 3);
            assert_eq!(first, second);
        }
    }
}
