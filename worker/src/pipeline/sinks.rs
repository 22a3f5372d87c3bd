//! What is stored goes on to the sinks before its delivery is settled.

use std::sync::Arc;
use std::time::Duration;

use nightread_domain::ports::Sink;
use nightread_domain::{Disposition, Notice};

use crate::flow::report::JobReport;

/// Until a document is taken to a sink again that could not take it.
const AGAIN: Duration = Duration::from_secs(30);

/// Takes the documents that stand to every sink, in their order. What is to be told, and what becomes of the delivery: as it was
/// decided, or, where a sink may take a document later, another try that finds it stored.
pub(super) async fn deliver(
    sinks: &[Arc<dyn Sink>],
    reports: &[JobReport],
    decided: Disposition,
) -> (Disposition, Vec<Notice>) {
    let mut notices = Vec::new();
    for standing in reports.iter().filter_map(JobReport::standing) {
        for sink in sinks {
            match sink.take(standing).await {
                Ok(more) => notices.extend(more),
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, code = %error.code, "a stored result was not taken further; it is tried again");
                    let delay = error.retry_after.unwrap_or(AGAIN);
                    return match decided {
                        Disposition::Done | Disposition::DeadLetter { .. } | Disposition::Split(_) => {
                            (Disposition::Postpone { delay, error, refused_since: None }, Vec::new())
                        }
                        // It comes again anyhow.
                        other => (other, Vec::new()),
                    };
                }
                Err(error) => {
                    tracing::error!(%error, code = %error.code, "a stored result is not taken further");
                }
            }
        }
    }
    (decided, notices)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use nightread_domain::ports::{Audience, Standing};
    use nightread_domain::result::ResultDocument;
    use nightread_domain::{BlobRef, ErrorClass, ErrorCode, Job, JobError, Lane, Stage};
    use serde_json::json;

    use super::*;
    use crate::flow::report::Outcome;

    /// Gives a notice of its own, or fails so.
    #[derive(Debug)]
    struct Says(&'static str, Option<ErrorClass>);

    #[async_trait]
    impl Sink for Says {
        async fn take(&self, standing: Standing<'_>) -> Result<Vec<Notice>, JobError> {
            if let Some(class) = self.1 {
                return Err(
                    JobError::new(Stage::Report, ErrorCode::BrokerUnavailable, "no").with_class(class)
                );
            }
            Ok(vec![Notice {
                audience: Audience::Listeners,
                id: format!("{} of {}", self.0, standing.path),
                topic: String::new(),
                correlation_id: None,
                content_type: "text/plain",
                body: Bytes::new(),
            }])
        }
    }

    async fn delivered(sinks: Vec<Says>) -> (Disposition, Vec<String>) {
        delivered_as(sinks, Disposition::Done).await
    }

    async fn delivered_as(sinks: Vec<Says>, decided: Disposition) -> (Disposition, Vec<String>) {
        delivered_of(Outcome::Read, sinks, decided).await
    }

    async fn delivered_of(
        outcome: Outcome,
        sinks: Vec<Says>,
        decided: Disposition,
    ) -> (Disposition, Vec<String>) {
        let blob = BlobRef::new("incoming", "a.png").expect("a name");
        let job = Job::of(blob.clone());
        let document: ResultDocument = serde_json::from_value(json!({
            "schema": "nightread.result.v2", "status": "failed", "notice": "", "task": "radiograph",
            "study": {"kind": "blob", "container": "incoming", "name": "a.png", "version": null,
                "last_modified": null, "bytes": null, "sha256": null, "media": null},
            "model": {"name": "m", "version": "1", "precision": "fp32", "weights_sha256": "",
                "execution_provider": "cpu", "preprocessing": ""},
            "artefacts": [], "warnings": [], "timing_ms": {},
            "worker": {"version": "", "runtime": ""}, "read_at": "2026-01-01T00:00:00Z",
        }))
        .expect("a document");
        let sinks: Vec<Arc<dyn Sink>> =
            sinks.into_iter().map(|sink| -> Arc<dyn Sink> { Arc::new(sink) }).collect();
        let report = JobReport {
            outcome,
            document: Some(Arc::new(document)),
            path: Some(blob),
            ..JobReport::of(&job, Lane::Ingest, Duration::ZERO)
        };
        let (disposition, notices) = deliver(&sinks, &[report], decided).await;
        (disposition, notices.into_iter().map(|notice| notice.id).collect())
    }

    #[tokio::test]
    async fn every_sink_takes_it_and_one_that_never_will_holds_nobody_up() {
        let (disposition, told) = delivered(vec![
            Says("first", None),
            Says("never", Some(ErrorClass::Permanent)),
            Says("last", None),
        ])
        .await;
        assert!(matches!(disposition, Disposition::Done));
        assert_eq!(told, ["first of incoming/a.png", "last of incoming/a.png"]);
    }

    /// Its writer may be gone, and this delivery the last that knows of it.
    #[tokio::test]
    async fn a_document_that_stands_is_taken_further_whoever_wrote_it() {
        for outcome in [Outcome::AlreadyDone, Outcome::Superseded, Outcome::Failed(ErrorCode::NotAnImage)] {
            let (_, told) = delivered_of(outcome, vec![Says("first", None)], Disposition::Done).await;
            assert_eq!(told, ["first of incoming/a.png"], "{outcome:?}");
        }
        let unfinished = Outcome::Unfinished(ErrorCode::StorageTimeout);
        assert_eq!(
            delivered_of(unfinished, vec![Says("first", None)], Disposition::Done).await.1,
            [""; 0],
            "nothing stands"
        );
    }

    #[tokio::test]
    async fn a_sink_that_is_away_has_the_delivery_come_again_untold() {
        let (disposition, told) =
            delivered(vec![Says("first", None), Says("away", Some(ErrorClass::Transient))]).await;
        let Disposition::Postpone { delay, error, .. } = disposition else { panic!("{disposition:?}") };
        assert_eq!((delay, error.code), (AGAIN, ErrorCode::BrokerUnavailable));
        assert_eq!(told, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_comes_again_anyhow_comes_as_it_was_to() {
        let error = JobError::new(Stage::Infer, ErrorCode::StorageTimeout, "late");
        let decided = Disposition::RetryAfter { delay: AGAIN, error };
        let away = vec![Says("away", Some(ErrorClass::Transient))];
        let (disposition, told) = delivered_as(away, decided).await;
        assert!(matches!(disposition, Disposition::RetryAfter { .. }), "{disposition:?}");
        assert!(told.is_empty());
    }
}
