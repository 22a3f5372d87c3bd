//! `nightread deliver`: from a stored result to archives, scripted and real.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::float_cmp)] // counts are whole numbers

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nightread::adapters::amqp::topology;
use nightread_domain::{ErrorCode, Lane};
use nightread_tests::archive::{Way, WebArchive, instances, secured};
use nightread_tests::bench::Bench;
use nightread_tests::delivering::{BRIGHT, STUDY, Site, dead_deliveries};
use nightread_tests::images::grey;
use nightread_tests::orthanc::Orthanc;
use nightread_tests::parts::root;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::radiographs::radiograph;
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

async fn counts(deliver: &Worker, outcome: &str, count: usize) {
    let label = format!("outcome=\"{outcome}\"");
    wait::until(&format!("{count} {outcome}"), || async {
        let found = deliver.metric("nightread_deliveries_total", &label).await;
        (found == count as f64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_goes_to_its_archive_once_for_each_content() {
    let Some(mut site) = Site::new("a_result_goes_to_its_archive_once_for_each_content").await else {
        return;
    };
    let archive = WebArchive::start(Way::Stores).await;
    site.with("NIGHTREAD_DELIVER_ARCHIVE", &archive.url());
    std::fs::write(site.path("incoming/a.dcm"), radiograph(STUDY, BRIGHT)).unwrap();
    let (worker, mut deliver) = (Worker::start(&site.settings, site.folder.path()), site.deliver());
    deliver.ready().await;

    // Three announcements and a forced reading with the same scores: one report and one picture.
    site.announce("a.dcm", false).await;
    counts(&deliver, "delivered", 1).await;
    assert_eq!((archive.instances(), archive.posts()), (2, 1));
    let report = instances(&archive.last()).pop().unwrap();
    for force in [false, false, true] {
        site.announce("a.dcm", force).await;
    }
    counts(&deliver, "known", 3).await;
    assert_eq!((archive.instances(), archive.posts()), (2, 1), "equal content is not sent again");
    assert_eq!(worker.metric("nightread_jobs_total", "outcome=\"read\"").await, 2.0);

    // Another threshold is another content, and its report names the one before.
    let mut document = site.document("a.dcm").unwrap();
    document["findings"][0]["threshold"] = json!(0.25);
    std::fs::write(site.result("a.dcm"), document.to_string()).unwrap();
    site.announce("a.dcm", false).await;
    counts(&deliver, "delivered", 2).await;
    assert_eq!((archive.instances(), archive.posts()), (4, 2));
    let sent = archive.last();
    assert!(!instances(&sent).contains(&report) && sent.contains(&report), "the predecessor is named");
    let records = site.records();
    assert_eq!(records.len(), 2);
    for record in records {
        let text = std::fs::read_to_string(record).unwrap();
        assert!(!text.contains("Doe") && !text.contains(STUDY), "{text}");
    }

    // What has no identity has no DICOM result; a source that is another than the one that was read sends nothing.
    std::fs::write(site.path("incoming/b.png"), grey(200, 64, 1)).unwrap();
    site.announce("b.png", false).await;
    counts(&deliver, "nothing", 1).await;
    let errors = "nightread_delivery_errors_total";
    assert_eq!(deliver.metric(errors, "code=\"no_dicom_identity\"").await, 1.0);
    std::fs::write(site.path("incoming/a.dcm"), radiograph(STUDY, BRIGHT + 8)).unwrap();
    document["findings"][0]["threshold"] = json!(0.75);
    std::fs::write(site.result("a.dcm"), document.to_string()).unwrap();
    site.order("a.dcm", "archive").await;
    site.order("a.dcm", "nowhere").await;
    site.publish(b"no order", "archive").await;
    site.observer.wait_for_depth(topology::DELIVERIES_DEAD, 3).await;
    let dead = site.dead().await;
    let told = [("", "message_unparseable"), ("archive", "source_changed"), ("nowhere", "unknown_target")];
    assert_eq!(dead, told.map(|(target, code)| (target.to_owned(), code.to_owned())));
    assert_eq!(archive.posts(), 2, "nothing was sent");
    let listed =
        site.settings.command(&["dead", "list", "--deliveries", "--format", "json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["count"], 3);

    let checked = site.settings.command(&["check", "--for", "deliver", "--format", "json"]).output().unwrap();
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["problems"], json!([]), "{checked:#}");
    assert!(
        checked["outside"]["archive archive"].as_str().unwrap().contains("cannot be known"),
        "{checked:#}"
    );

    deliver.terminate();
    assert!(deliver.ended().await.success());
    let log = deliver.log();
    assert_eq!(log.matches("\"audit\":true").count(), 2, "one line for each sending: {log}");
    assert!(!log.contains("Doe") && !log.contains(STUDY), "{log}");
}

/// A source that refuses is asked for a while, and then has a dead letter that can be redriven; it holds nobody else up.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_source_refuses_is_given_up_in_time() {
    let Some(bench) = Bench::shared("an_order_whose_source_refuses_is_given_up_in_time").await else {
        return;
    };
    let archive = WebArchive::start(Way::Stores).await;
    let settings = bench
        .settings()
        .with("NIGHTREAD_DELIVER_ARCHIVE", &archive.url())
        .with("NIGHTREAD_STORAGE_RETRY_SECONDS", "1")
        .with("NIGHTREAD_LIMITS_REFUSED_SECONDS", "4");
    bench.upload("a.dcm", radiograph(STUDY, BRIGHT).into()).await;
    bench.announce(Lane::Ingest, "a.dcm").await;
    let worker = bench.start_with(&settings);
    let observer = bench.observer().await;
    observer.wait_for_depth(topology::DELIVERIES, 1).await;
    drop(worker);

    bench.proxy.refuse(Some(&bench.incoming), 403, "AuthorizationPermissionMismatch", "");
    let deliver = Worker::start_as(&["deliver"], &settings, bench.folder.path());
    observer.wait_for_depth(topology::DELIVERIES_DEAD, 1).await;
    assert!(deliver.metric("nightread_messages_total", "postponed").await >= 1.0, "not at once");
    let letter = dead_deliveries(&bench.options).await.swap_remove(0);
    assert_eq!(letter.code, ErrorCode::StorageForbidden);
    let reason = letter.reason.unwrap();
    assert!(reason.contains("nobody has mended this for 1 minutes: storage does not let us"), "{reason}");

    bench.proxy.let_in();
    let redriven =
        settings.command(&["dead", "redrive", "--deliveries", "--all", "--format", "json"]).output().unwrap();
    assert!(redriven.status.success(), "{}", String::from_utf8_lossy(&redriven.stderr));
    counts(&deliver, "delivered", 1).await;
    observer.wait_for_depth(topology::DELIVERIES_DEAD, 0).await;
    assert_eq!(archive.posts(), 1);
}

/// Objects without codes stay in an archive: none is made of a model whose manifest cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_manifest_read_waits_and_nothing_goes_without_its_codes() {
    let test = "what_a_broken_manifest_read_waits_and_nothing_goes_without_its_codes";
    let Some(mut site) = Site::new(test).await else { return };
    let archive = WebArchive::start(Way::Stores).await;
    let (from, models) = (root().join("tests/fixtures/models/one-node"), site.path("models"));
    std::fs::create_dir_all(models.join("one-node")).unwrap();
    for file in ["README.md", "model.onnx"] {
        std::fs::copy(from.join(file), models.join("one-node").join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(from.join("manifest.toml")).unwrap();
    let coded = "threshold = 0.5\ncode = { value = \"371244009\", scheme = \"SCT\", meaning = \"Bright\" }\n";
    let coded = manifest.replace("threshold = 0.5\n", coded);
    let mended = models.join("one-node/manifest.toml");
    std::fs::write(&mended, coded.replace("meaning =", "meanning =")).unwrap();
    site.with("NIGHTREAD_MODELS_DIR", models.to_str().unwrap());
    site.with("NIGHTREAD_DELIVER_ARCHIVE", &archive.url());
    site.with("NIGHTREAD_LIMITS_REFUSED_SECONDS", "4");
    site.reading("a.dcm", STUDY, 0.5).await;

    let checked = site.settings.command(&["check", "--for", "deliver", "--format", "json"]).output().unwrap();
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked["problems"].to_string().contains("meanning"), "{checked:#}");
    let deliver = site.deliver();
    deliver.ready().await;
    site.order("a.dcm", "archive").await;
    site.observer.wait_for_depth(topology::DELIVERIES_DEAD, 1).await;
    assert!(deliver.metric("nightread_messages_total", "postponed").await >= 1.0, "not at once");
    let letter = dead_deliveries(&site.options).await.swap_remove(0);
    assert_eq!(letter.code, ErrorCode::ModelMismatch);
    let reason = letter.reason.unwrap();
    assert!(
        reason.contains("the codes of the labels of one-node") && reason.contains("meanning"),
        "{reason}"
    );
    assert_eq!(archive.posts(), 0, "nothing was sent without codes");
    drop(deliver);

    std::fs::write(&mended, coded).unwrap();
    let deliver = site.deliver();
    let redrive = ["dead", "redrive", "--deliveries", "--all", "--format", "json"];
    assert!(site.settings.command(&redrive).output().unwrap().status.success());
    counts(&deliver, "delivered", 1).await;
    assert!(archive.last().contains("371244009"), "the code is there");
}

/// Results that wait for an archive that is away.
#[derive(Clone, Copy, Debug)]
struct Storm {
    results: usize,
    /// How often a worker is killed while it reads; and what delivers, while the archive is away and again when it is back.
    kills: usize,
    /// How long the archive stays away beside that.
    away: Duration,
    /// How long the broker lets a delivery be in somebody's hand.
    consumer_timeout: Duration,
}

impl Storm {
    /// The long one when `NIGHTREAD_TEST_LONG_STORM` asks for it.
    fn asked_for() -> Self {
        if std::env::var("NIGHTREAD_TEST_LONG_STORM").is_err() {
            let consumer_timeout = Duration::from_secs(10);
            return Self { results: 30, kills: 4, away: Duration::ZERO, consumer_timeout };
        }
        let (away, consumer_timeout) = (Duration::from_mins(10), Duration::from_mins(1));
        Self { results: 100, kills: 20, away, consumer_timeout }
    }

    /// Has all studies read by workers that die in the middle of it. The last one, and each document as it was when it was seen
    /// first.
    async fn read(self, site: &Site, names: &[String]) -> (Worker, BTreeMap<String, Vec<u8>>) {
        let mut worker = Worker::start(&site.settings, site.folder.path());
        let mut read = BTreeMap::new();
        for some in names.chunks(self.results.div_ceil(self.kills)) {
            for name in some {
                site.announce(name, false).await;
            }
            wait::until("a result of these", || async { site.document(&some[0]) }).await;
            see(site, names, &mut read);
            worker.kill();
            worker = Worker::start(&site.settings, site.folder.path());
        }
        for name in names {
            wait::until(&format!("the result of {name}"), || async { site.document(name) }).await;
        }
        see(site, names, &mut read);
        (worker, read)
    }
}

/// Keeps what was not seen before.
fn see(site: &Site, names: &[String], read: &mut BTreeMap<String, Vec<u8>>) {
    for name in names.iter().filter(|name| site.document(name).is_some()) {
        read.entry(name.clone()).or_insert_with(|| std::fs::read(site.result(name)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_holds_no_reading_up_and_gets_each_result_once() {
    let test = "an_archive_that_is_away_holds_no_reading_up_and_gets_each_result_once";
    let Some(mut site) = Site::new(test).await else { return };
    let storm = Storm::asked_for();
    let Storm { results, kills, .. } = storm;
    let patience = storm.consumer_timeout.as_secs();
    if storm.away > Duration::ZERO {
        let set = format!("application:set_env(rabbit, consumer_timeout, {}).", patience * 1000);
        Rabbit::shared(test).await.expect("it is there").control(&["eval", &set]).await;
    }
    site.with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", &patience.to_string());
    let archive = WebArchive::start(Way::Says(503)).await;
    let (began, away) = (Instant::now(), storm.away);
    site.with("NIGHTREAD_DELIVER_ARCHIVE", &archive.url());
    let names: Vec<_> = (0..results).map(|number| format!("{number}.dcm")).collect();
    for (number, name) in names.iter().enumerate() {
        let study = format!("{STUDY}.{}", number + 1);
        std::fs::write(site.path("incoming").join(name), radiograph(&study, BRIGHT)).unwrap();
    }
    let mut deliver = site.deliver();
    let (worker, read) = storm.read(&site, &names).await;
    let orders = results as u32;
    wait::until("every order to wait in nobody's hand", || async {
        let lane = site.observer.depth(&topology::lane_queue(Lane::Ingest)).await;
        // One that was delivered twice to the workers has two orders.
        (lane == 0 && site.waiting().await >= orders).then_some(())
    })
    .await;
    deliver.says("archives").await;
    // Longer than the broker has patience with what is in somebody's hand.
    for killed in 1..=kills {
        tokio::time::sleep((away * killed as u32 / kills as u32).saturating_sub(began.elapsed())).await;
        deliver.kill();
        deliver = site.deliver();
        deliver.says("archives").await;
        wait::until("nothing to be in flight", || async {
            (deliver.metric("nightread_jobs_in_flight", "").await == 0.0).then_some(())
        })
        .await;
    }
    assert_eq!((archive.instances(), site.records().len(), site.dead().await.len()), (0, 0, 0));
    assert!(began.elapsed() >= away);
    archive.does(Way::Stores);
    let back = Instant::now();
    for killed in 1..=kills {
        let some = results * killed / (kills + 2);
        wait::until(&format!("{some} results in the archive"), || async {
            (archive.instances() >= 2 * some).then_some(())
        })
        .await;
        deliver.kill();
        deliver = site.deliver();
    }
    wait::until("a record of each result", || async { (site.records().len() == results).then_some(()) })
        .await;
    wait::until("no order left", || async { (site.waiting().await == 0).then_some(()) }).await;
    assert_eq!(archive.instances(), 2 * results, "a report and a picture of each, and none twice");
    assert_eq!(site.dead().await, Vec::new());
    let again = read.iter().filter(|(name, before)| std::fs::read(site.result(name)).unwrap() != **before);
    let again: Vec<_> = again.map(|(name, _)| name).collect();
    assert_eq!((again, read.len()), (Vec::new(), results), "read again");
    println!(
        "{results} results, archive away for {:.0} s, {kills} kills of workers and {} of what delivers: {} objects in the archive in {} \
         sendings, 0 twice, 0 dead letters, 0 read again, all there {:.0} s after it came back",
        (back - began).as_secs_f64(),
        2 * kills,
        archive.instances(),
        archive.posts(),
        back.elapsed().as_secs_f64()
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_archive_says_has_a_code_and_others_go_on() {
    let Some(mut site) = Site::new("what_an_archive_says_has_a_code_and_others_go_on").await else { return };
    site.with("NIGHTREAD_LIMITS_ATTEMPTS", "2");
    site.with("NIGHTREAD_DELIVER_SECONDS", "1");
    site.with("NIGHTREAD_DELIVER_JOBS", "8");
    // What is refused for good, or was tried often enough, is a dead letter; what tells of the archive waits.
    let refused = [
        ("refuses", Way::Fails(409, 0xA900), "delivery_refused"),
        ("cannot", Way::Fails(400, 0xC000), "delivery_refused"),
        ("no-class", Way::Fails(409, 0x0122), "delivery_unsupported"),
        ("elsewhere", Way::Says(404), "delivery_unsupported"),
        ("redirects", Way::Says(302), "delivery_refused"),
        ("forgets", Way::Forgets, "delivery_unconfirmed"),
    ];
    let away = [
        ("full", Way::Fails(409, 0xA700), "delivery_no_room"),
        ("forbids", Way::Says(401), "delivery_forbidden"),
        ("breaks", Way::Says(500), "delivery_unavailable"),
        ("hangs", Way::Hangs, "delivery_timeout"),
    ];
    let stores = [("stores", Way::Stores, ""), ("coerces", Way::Fails(202, 0xB000), "")];
    site.reading("a.dcm", STUDY, 0.5).await;
    let (mut archives, mut settings) = (BTreeMap::new(), String::new());
    for (name, way, _) in refused.into_iter().chain(away).chain(stores) {
        let archive = WebArchive::start(way).await;
        let row = ["[[targets]]\nname = \"", name, "\"\narchive = \"", &archive.url(), "\"\n"];
        settings.extend(row);
        archives.insert(name, archive);
    }
    let deliver = site.deliver_to(&settings);
    deliver.ready().await;
    for name in archives.keys() {
        site.order("a.dcm", name).await;
    }
    site.observer.wait_for_depth(topology::DELIVERIES_DEAD, refused.len() as u32).await;
    let mut expected: Vec<_> =
        refused.iter().map(|(name, _, code)| ((*name).to_owned(), (*code).to_owned())).collect();
    expected.sort();
    assert_eq!(site.dead().await, expected);
    for (name, _, code) in away {
        let label = format!("target=\"{name}\"");
        wait::until(&format!("{name} to be told"), || async {
            let errors = deliver.get("/metrics").await?;
            let row = format!("nightread_delivery_errors_total{{target=\"{name}\",code=\"{code}\"}} ");
            let told = errors.lines().any(|line| line.starts_with(&row) && !line.ends_with(" 0"));
            (told && deliver.metric("nightread_delivery_target_up", &label).await == 0.0).then_some(())
        })
        .await;
    }
    counts(&deliver, "delivered", stores.len()).await;
    assert_eq!(archives["stores"].instances(), 2);
    // What waited goes out when they are well again, and no attempt was counted.
    for (name, _, _) in away {
        archives[name].does(Way::Stores);
    }
    counts(&deliver, "delivered", stores.len() + away.len()).await;
    assert_eq!(site.dead().await, expected);
    assert_eq!(deliver.metric("nightread_messages_total", "disposition=\"retried\"").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn orthanc_has_one_of_each_kind_by_stow_and_by_associations_over_tls() {
    let test = "orthanc_has_one_of_each_kind_by_stow_and_by_associations_over_tls";
    let Some(mut orthanc) = Orthanc::start(test).await else { return };
    let Some(mut site) = Site::new(test).await else { return };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let port = secured(made.cert.der().clone(), key, orthanc.dicom_address()).await;
    let authority = site.path("authority.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    site.with("NIGHTREAD_LIMITS_ATTEMPTS", "1");
    site.reading("a.dcm", STUDY, 0.5).await;
    orthanc.stop();
    let web = format!("[[targets]]\nname = \"web\"\narchive = \"{}\"\n", orthanc.web());
    let tls = format!("[[targets]]\nname = \"tls\"\narchive = \"dicom+tls://ARCHIVE@localhost:{port}\"\n");
    let known = format!("{web}{tls}ca_file = {:?}\n", authority.display().to_string());
    let deliver = site.deliver_to(&known);
    deliver.ready().await;
    for _ in 0..3 {
        site.order("a.dcm", "web").await;
        site.order("a.dcm", "tls").await;
    }
    deliver.says("archives").await;
    orthanc.resume().await;
    counts(&deliver, "delivered", 2).await;
    wait::until("all orders to be done", || async { (site.waiting().await == 0).then_some(()) }).await;
    let found = orthanc.instances(STUDY).await;
    let kinds: Vec<_> = found.iter().map(|(modality, _)| modality.as_str()).collect();
    assert_eq!(kinds, ["OT", "SR"], "one of each, whoever brought it");
    deliver.kill();
    // An authority that nobody knows: nothing is said to such an archive.
    site.reading("a.dcm", STUDY, 0.6).await;
    let deliver = site.deliver_to(&tls);
    site.order("a.dcm", "tls").await;
    let why = deliver.says("archives").await;
    assert!(why.contains("tls") && why.contains("delivery_unavailable"), "{why}");
    assert_eq!(orthanc.instances(STUDY).await.len(), 2);
}
