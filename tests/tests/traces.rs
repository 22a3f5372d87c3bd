//! Traces of a real worker at a scripted collector. Built with the feature `otlp` only: `make test-traces`.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_domain::{Attributes, Lane, Message};
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::server::{Answer, ScriptedServer};
use nightread_tests::wait;
use serde_json::json;

/// What hexadecimal digits stand for is text here, so that it can be found in what is sent.
const TRACE: &str = "one trace id 016";
const PARENT: &str = "parent 8";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_with_the_announcers_trace_and_names_no_blob() {
    let test = "a_job_goes_on_with_the_announcers_trace_and_names_no_blob";
    let Some(bench) = Bench::shared(test).await else { return };
    let collector = ScriptedServer::start(|_| Answer::new(200, "")).await;
    let settings = bench
        .settings()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with("OTEL_BSP_SCHEDULE_DELAY", "200");
    let mut worker = bench.start_with(&settings);
    worker.ready().await;
    let name = "Doe^Jane 1970.png";
    bench.upload(name, grey(7, 64, 0)).await;
    let mut attributes = Attributes::for_lane(Lane::Ingest);
    attributes.message_id = Some("the announcement".to_owned());
    attributes.traceparent = Some(format!("00-{}-{}-01", hex::encode(TRACE), hex::encode(PARENT)));
    let body = json!({"blob": format!("{}/{name}", bench.incoming)}).to_string().into();
    bench.publisher.announce(&Message { body, attributes }).await.expect("confirmed");
    assert_eq!(bench.wait_for_result(name).await["status"], "ok");
    let sent = || collector.asked_by("POST").into_iter().filter(|asked| asked.path == "/v1/traces");
    wait::until("the span to be sent", || async {
        sent().any(|asked| asked.body.contains("the announcement")).then_some(())
    })
    .await;
    worker.terminate();
    assert!(worker.ended().await.success(), "a collector holds nobody up");
    let span = sent().find(|asked| asked.body.contains("the announcement")).expect("seen above");
    for part in [TRACE, PARENT, "nightread", "job", "ingest"] {
        assert!(span.body.contains(part), "{part} is not in the span");
    }
    for asked in sent() {
        for secret in ["Doe", "Jane", bench.incoming.as_str(), "SharedAccessSignature", "sig="] {
            assert!(!asked.body.contains(secret), "{secret} was told to the collector");
        }
    }
}
