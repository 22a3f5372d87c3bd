//! Series through the worker: a set and a prefix are closed sets, read as one study; a slice on its own is part of one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use nightread_domain::study::{Member, Series};
use nightread_domain::{BlobRef, BlobStore, ETag, ErrorCode, Lane, WriteCondition, WriteOutcome};
use nightread_tests::announcing::{announce, summary};
use nightread_tests::assembling::Assembly;
use nightread_tests::images::grey;
use nightread_tests::slices::Slice;
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::{Value, json};

async fn upload(assembly: &Assembly, folder: &str, uid: &str, numbers: std::ops::Range<u16>) -> Vec<Member> {
    let mut members = Vec::new();
    for number in numbers {
        let name = format!("{folder}/{number}.dcm");
        let etag = assembly.upload(&name, Slice::new(uid, number).bytes()).await;
        members.push(Member { blob: assembly.bench.blob(&name), etag });
    }
    members
}

/// Writes a set document over whatever is there.
async fn write_set(assembly: &Assembly, document: &BlobRef, name: &str, uid: &str, members: &[Member]) {
    let instances: Vec<_> =
        members.iter().map(|member| json!({"name": member.blob.name(), "etag": member.etag})).collect();
    let body = json!({"schema": "nightread.set.v1", "name": format!("{}/{name}", assembly.bench.incoming),
        "series_uid": uid, "instances": instances});
    let store = &assembly.bench.direct;
    let seen = store.read(document, 1 << 20).await.expect("storage answers").map(|(_, etag)| etag);
    let condition = seen.map_or(WriteCondition::IfAbsent, WriteCondition::IfMatch);
    let written = store.write(document, body.to_string().into(), &BTreeMap::new(), condition).await;
    assert!(matches!(written, Ok(WriteOutcome::Written(_))));
}

fn version(assembly: &Assembly, name: &str, members: &[Member]) -> ETag {
    Series::new(assembly.bench.blob(name), members.to_vec()).expect("a series").version()
}

/// The document of a series in this version.
async fn read(assembly: &Assembly, name: &str, version: &ETag) -> Value {
    wait::until(&format!("the document of {name}"), || async {
        let document = assembly.bench.result(name).await?;
        (document["study"]["version"] == json!(version)).then_some(document)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_and_a_prefix_are_read_as_one_study_each() {
    let Some(assembly) = Assembly::new("a_set_and_a_prefix_are_read_as_one_study_each", 1).await else {
        return;
    };
    let bench = &assembly.bench;
    let worker = Worker::start(&assembly.settings, bench.folder.path());
    worker.ready().await;
    let mut members = upload(&assembly, "ct/drop", "1.2.1", 0..5).await;
    upload(&assembly, "ct/drop", "1.2.2", 5..6).await;
    let document = BlobRef::new(bench.results.as_str(), format!("_series/{}/ct/1.2.1.json", bench.incoming));
    let document = document.expect("a name");
    write_set(&assembly, &document, "ct/1.2.1", "1.2.1", &members).await;
    let set = json!({"series": {"set": document.to_string()}, "model": "one-node", "correlation_id": "c-1"})
        .to_string();
    bench.publish(Lane::Volumes, "set", set.clone()).await;
    let found = read(&assembly, "ct/1.2.1", &version(&assembly, "ct/1.2.1", &members)).await;
    let bytes: usize = (0..5).map(|number| Slice::new("1.2.1", number).bytes().len()).sum();
    assert_eq!(found["study"]["kind"], "series", "{found}");
    assert_eq!(
        (&found["study"]["container"], &found["study"]["name"]),
        (&json!(bench.incoming), &json!("ct/1.2.1"))
    );
    assert_eq!(
        (&found["study"]["bytes"], &found["study"]["media"]),
        (&json!(bytes), &json!("dicom")),
        "{found}"
    );
    assert_eq!(found["error"]["code"], "wrong_modality", "no model here reads a series: {found}");

    // A late file makes another set, whose result goes over the older one's, and an old announcement finds it done.
    members.extend(upload(&assembly, "ct/other", "1.2.1", 9..10).await);
    write_set(&assembly, &document, "ct/1.2.1", "1.2.1", &members).await;
    bench.publish(Lane::Volumes, "set 2", set.clone()).await;
    let newer = read(&assembly, "ct/1.2.1", &version(&assembly, "ct/1.2.1", &members)).await;
    assert_ne!(newer["study"]["sha256"], found["study"]["sha256"]);
    bench.publish(Lane::Volumes, "set", set.clone()).await;
    wait::until("the repeat to be found done", || async {
        let failed = worker.metric("nightread_jobs_total", "outcome=\"failed\"").await;
        (failed >= 3.0).then_some(())
    })
    .await;
    assert_eq!(bench.result("ct/1.2.1").await.expect("there")["read_at"], newer["read_at"], "not read again");

    let alone = upload(&assembly, "ct/1.2.7", "1.2.7", 0..3).await;
    let prefix = format!("{}/ct/1.2.7/", bench.incoming);
    bench
        .publish(
            Lane::Volumes,
            "prefix",
            json!({"series": prefix, "model": "one-node", "instances": 3}).to_string(),
        )
        .await;
    let found = read(&assembly, "ct/1.2.7", &version(&assembly, "ct/1.2.7", &alone)).await;
    assert_eq!(
        (&found["study"]["kind"], &found["error"]["code"]),
        (&json!("series"), &json!("wrong_modality"))
    );
    assert!(bench.dead().await.is_empty());
}

/// Blobs that are kept in files: a series has room for all of them at once, or is refused; none waits for itself or another.
#[tokio::test(flavor = "multi_thread")]
async fn series_whose_blobs_are_spooled_have_room_for_all_of_them_or_for_none() {
    let test = "series_whose_blobs_are_spooled_have_room_for_all_of_them_or_for_none";
    let Some(assembly) = Assembly::new(test, 1).await else { return };
    let bench = &assembly.bench;
    let slice = Slice::new("1.2.1", 0).bytes().len();
    let settings = assembly
        .settings
        .clone()
        .with("NIGHTREAD_LIMITS_MEMORY_BYTES", "100")
        .with("NIGHTREAD_LIMITS_SPOOL_BYTES", &(2 * slice + slice / 2).to_string());
    let worker = Worker::start(&settings, bench.folder.path());
    worker.ready().await;
    let mut waiting = Vec::new();
    for (uid, count) in [("1.2.1", 2), ("1.2.2", 2), ("1.2.3", 2), ("1.2.4", 3)] {
        let members = upload(&assembly, &format!("ct/{uid}"), uid, 0..count).await;
        let body = json!({"series": format!("{}/ct/{uid}/", bench.incoming), "model": "one-node", "instances": count});
        bench.publish(Lane::Volumes, uid, body.to_string()).await;
        waiting.push((format!("ct/{uid}"), members));
    }
    for (name, members) in waiting {
        let found = read(&assembly, &name, &version(&assembly, &name, &members)).await;
        // No model here reads a series that was fetched.
        let code = if members.len() == 2 { "wrong_modality" } else { "blob_too_large" };
        assert_eq!(found["error"]["code"], code, "{found}");
        if members.len() > 2 {
            let told = found["error"]["message"].as_str().expect("words");
            assert!(told.contains("[limits] spool_bytes"), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_closed_set_is_refused_with_its_code() {
    let Some(assembly) = Assembly::new("what_is_no_closed_set_is_refused_with_its_code", 1).await else {
        return;
    };
    let bench = &assembly.bench;
    let settings = assembly.settings.clone().with("NIGHTREAD_LIMITS_ATTEMPTS", "1");
    let worker = Worker::start(&settings, bench.folder.path());
    worker.ready().await;
    // A prefix that holds two series, one that holds something else, one with more and one with fewer than were said, none.
    upload(&assembly, "ct/two", "1.2.1", 0..2).await;
    upload(&assembly, "ct/two", "1.2.2", 2..3).await;
    upload(&assembly, "ct/mixed", "1.2.3", 0..2).await;
    assembly.upload("ct/mixed/notes.txt", "text".into()).await;
    upload(&assembly, "ct/more", "1.2.4", 0..3).await;
    upload(&assembly, "ct/fewer", "1.2.5", 0..2).await;
    for (folder, instances, code) in [
        ("two", None, "not_one_series"),
        ("mixed", None, "not_one_series"),
        ("more", Some(2), "not_one_series"),
        ("fewer", Some(3), "attempts_exhausted"),
        ("none", None, "blob_not_found"),
    ] {
        let body = json!({"series": format!("{}/ct/{folder}/", bench.incoming), "instances": instances});
        bench.publish(Lane::Volumes, folder, body.to_string()).await;
        let found = bench.wait_for_result(&format!("ct/{folder}")).await;
        assert_eq!(
            (&found["error"]["code"], &found["study"]["kind"]),
            (&json!(code), &json!("series")),
            "{found}"
        );
    }
    let fewer = bench.result("ct/fewer").await.expect("there");
    assert!(fewer["error"]["message"].as_str().expect("words").contains("2 blobs lie below"), "{fewer}");

    // Sets that name what they must not, or are not there: dead letters, and no document.
    let set = |name: &str| {
        BlobRef::new(bench.results.as_str(), format!("_series/{}/{name}.json", bench.incoming))
            .expect("a name")
    };
    let foreign = Member { blob: bench.blob("ct/two/0.dcm"), etag: ETag("1".to_owned()) };
    for (name, body) in [
        (
            "foreign",
            json!({"schema": "nightread.set.v1", "name": format!("{}/x", bench.results), "series_uid": "1.2",
            "instances": [{"name": "one-node/1.0.0-fp32/secret.json", "etag": "1"}]})
            .to_string(),
        ),
        ("torn", "{\"schema\": \"nightread.set.v1\", ".to_owned()),
    ] {
        let none = BTreeMap::new();
        let written = bench.direct.write(&set(name), body.into(), &none, WriteCondition::IfAbsent).await;
        assert!(matches!(written, Ok(WriteOutcome::Written(_))));
    }
    let elsewhere = format!("{}/one-node/secret.json", bench.results);
    for (id, named) in [
        ("foreign", set("foreign").to_string()),
        ("torn", set("torn").to_string()),
        ("gone", set("gone").to_string()),
        ("elsewhere", elsewhere),
    ] {
        bench.publish(Lane::Volumes, id, json!({"series": {"set": named}}).to_string()).await;
    }
    let dead = wait::until("four dead letters", || async {
        let dead = bench.dead().await;
        (dead.iter().filter(|letter| letter.code != ErrorCode::AttemptsExhausted).count() == 4)
            .then_some(dead)
    })
    .await;
    let codes: BTreeMap<_, _> = dead
        .iter()
        .filter_map(|letter| Some((letter.message.attributes.message_id.clone()?, letter.code)))
        .collect();
    for (id, code) in [
        ("foreign", ErrorCode::SourceNotAllowed),
        ("torn", ErrorCode::SetInvalid),
        ("gone", ErrorCode::SetMissing),
        ("elsewhere", ErrorCode::SourceNotAllowed),
    ] {
        assert_eq!(codes.get(id), Some(&code), "{codes:?}");
    }
    // The announcement of the series is in its letter as it was.
    let letter = dead.iter().find(|letter| letter.message.attributes.message_id.as_deref() == Some("gone"));
    let body: Value = serde_json::from_slice(&letter.expect("there").message.body).expect("JSON");
    assert_eq!(body, json!({"series": {"set": set("gone").to_string()}}));

    // A blob that was replaced since: never read as the series that it was of.
    write_set(&assembly, &set("changed"), "ct/changed", "1.2.1", &[foreign]).await;
    bench
        .publish(Lane::Volumes, "changed", json!({"series": {"set": set("changed").to_string()}}).to_string())
        .await;
    let found = bench.wait_for_result("ct/changed").await;
    assert_eq!(found["error"]["code"], "attempts_exhausted");
    assert!(found["error"]["message"].as_str().expect("words").contains("replaced"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_slice_is_part_of_a_series_and_no_failed_study() {
    let Some(assembly) = Assembly::new("a_lone_slice_is_part_of_a_series_and_no_failed_study", 1).await
    else {
        return;
    };
    let bench = &assembly.bench;
    let worker = Worker::start(&assembly.settings, bench.folder.path());
    worker.ready().await;
    assembly.upload("ct/1.dcm", Slice::new("1.2.1", 1).bytes()).await;
    assembly.upload("xray/1.dcm", Slice::new("1.2.1", 1).bytes()).await;
    assembly.upload("ct/image.png", grey(9, 64, 1)).await;
    for name in ["ct/1.dcm", "xray/1.dcm", "ct/image.png"] {
        bench.announce(Lane::Ingest, name).await;
    }
    // Where no route carries series a slice is a study that nobody reads, and other files are read on any route.
    assert_eq!(bench.wait_for_result("xray/1.dcm").await["error"]["code"], "wrong_modality");
    assert_eq!(bench.wait_for_result("ct/image.png").await["status"], "ok");
    wait::until("the slice to be counted", || async {
        (worker.metric("nightread_jobs_total", "outcome=\"part_of_series\"").await > 0.5).then_some(())
    })
    .await;
    bench.settled(&[&worker], wait::patience()).await;
    assert_eq!(bench.result("ct/1.dcm").await, None);
    assert!(bench.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_announced_again_where_their_newest_version_has_no_result() {
    let test = "sets_are_announced_again_where_their_newest_version_has_no_result";
    let Some(assembly) = Assembly::new(test, 1).await else { return };
    let bench = &assembly.bench;
    for (folder, uid) in [("a", "1.2.1"), ("b", "1.2.2")] {
        for member in upload(&assembly, &format!("ct/{folder}"), uid, 0..3).await {
            assembly.tell(member.blob.name()).await;
        }
    }
    let child = assembly.start(&assembly.settings);
    assembly.queue_is_empty().await;
    assembly.settled().await;
    assert_eq!(assembly.announced().await.len(), 2);
    let run = |more: &[&str]| {
        let output =
            announce(&assembly.settings, &[&["--sets", "--skip-done", "--model", "one-node"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        summary(&output)
    };
    let told = run(&[]);
    assert_eq!((&told["announced"], &told["done"]), (&json!(2), &json!(0)), "{told}");
    let worker = Worker::start(&assembly.settings, bench.folder.path());
    worker.ready().await;
    for name in ["ct/1.2.1", "ct/1.2.2"] {
        bench.wait_for_result(name).await;
    }
    bench.settled(&[&worker], wait::patience()).await;
    worker.kill();
    assert_eq!(run(&[])["done"], 2);
    // A later file of one of them.
    for member in upload(&assembly, "ct/a", "1.2.1", 7..8).await {
        assembly.tell(member.blob.name()).await;
    }
    assembly.queue_is_empty().await;
    assembly.settled().await;
    assert_eq!(assembly.announced().await.len(), 1);
    let told = run(&["--dry-run"]);
    assert_eq!((&told["announced"], &told["done"]), (&json!(1), &json!(1)), "{told}");
    let mut child = child;
    child.kill().expect("killed");
    child.wait().expect("a child");
}
