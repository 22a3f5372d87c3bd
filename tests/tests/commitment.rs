//! Storage commitment of a real archive: a result is delivered when the archive commits itself to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_tests::delivering::{STUDY, Site};
use nightread_tests::orthanc::Orthanc;
use nightread_tests::wait;
use serde_json::Value;

/// The one record that there is.
fn record(site: &Site) -> Value {
    let records = site.records();
    let [record] = records.as_slice() else { panic!("one record is expected: {records:?}") };
    serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_delivered_when_orthanc_commits_itself_to_it() {
    let test = "a_result_is_delivered_when_orthanc_commits_itself_to_it";
    let Some(orthanc) = Orthanc::start(test).await else { return };
    let Some(mut site) = Site::new(test).await else { return };
    site.with("NIGHTREAD_DELIVER_ARCHIVE", &orthanc.associations("ARCHIVE"));
    site.with("NIGHTREAD_DELIVER_SECONDS", "2");
    site.with("NIGHTREAD_DELIVER_COMMITMENT_SECONDS", "3");
    site.with("NIGHTREAD_LIMITS_ATTEMPTS", "2");
    site.reading("a.dcm", STUDY, 0.5).await;

    // Orthanc reports by an association of its own, for which nobody listens: asked again, then a dead letter. What it stored is there.
    let mut deliver = site.deliver();
    deliver.ready().await;
    site.order("a.dcm", "archive").await;
    wait::until("a dead letter", || async { (!site.dead().await.is_empty()).then_some(()) }).await;
    assert_eq!(site.dead().await, [("archive".to_owned(), "commitment_timeout".to_owned())]);
    let failed = record(&site);
    assert_eq!(failed["commitment"]["outcome"], "commitment_failed", "{failed:#}");
    let codes: Vec<_> =
        failed["objects"].as_array().unwrap().iter().map(|object| &object["commitment_code"]).collect();
    assert_eq!(codes, ["commitment_timeout"; 2]);
    assert_eq!(orthanc.instances(STUDY).await.len(), 2);
    deliver.terminate();
    assert!(deliver.ended().await.success());
    let log = deliver.log();
    assert_eq!(log.matches("\"outcome\":\"commitment_timeout\"").count(), 2, "one line for each try: {log}");

    // With a port for its reports: the same request, the same objects, and a record that says so in the place of the former.
    site.with("NIGHTREAD_DELIVER_COMMITMENT_LISTEN", &orthanc.reports_to().to_string());
    let mut deliver = site.deliver();
    deliver.ready().await;
    for _ in 0..2 {
        site.order("a.dcm", "archive").await;
    }
    for outcome in ["delivered", "known"] {
        let label = format!("outcome=\"{outcome}\"");
        wait::until(outcome, || async {
            (deliver.metric("nightread_deliveries_total", &label).await >= 1.0).then_some(())
        })
        .await;
    }
    let committed = record(&site);
    assert_eq!(committed["commitment"]["outcome"], "committed", "{committed:#}");
    assert_eq!(committed["commitment"]["transaction_uid"], failed["commitment"]["transaction_uid"]);
    assert!(committed["objects"][0].get("commitment_code").is_none(), "{committed:#}");
    assert_eq!(orthanc.instances(STUDY).await.len(), 2, "one of each kind");
    let text = committed.to_string();
    assert!(!text.contains("Doe") && !text.contains(STUDY), "{text}");

    let checked = site.settings.command(&["check", "--for", "deliver", "--format", "json"]).output().unwrap();
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let said = checked["outside"]["archive archive"].as_str().unwrap();
    assert!(said.contains("takes requests for storage commitment"), "{checked:#}");
    deliver.terminate();
    assert!(deliver.ended().await.success());
    let log = deliver.log();
    let line = log.lines().rfind(|line| line.contains("\"audit\":true")).unwrap();
    assert!(line.contains("\"outcome\":\"committed\"") && line.contains("\"committed\":2"), "{line}");
    assert!(!log.contains("Doe") && !log.contains(STUDY), "{log}");
}
