//! `nightread deliver` with CT series of several blobs: read by the worker, sent to a scripted archive and to a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::float_cmp)] // counts are whole numbers

use std::path::Path;
use std::process::Command;

use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::archive::{Way, WebArchive, instances};
use nightread_tests::delivering::Site;
use nightread_tests::orthanc::Orthanc;
use nightread_tests::parts::root;
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::{Value, json};

const MODEL: &str = "ct-organs-demo";
const SET: &str = "results/_series/incoming/ct/demo.json";

/// A site whose worker reads series below `ct/` with the demonstration's model, and the names of the series' slices, none of which
/// lies there yet.
async fn site(test: &str) -> Option<(Site, Vec<String>)> {
    let mut site = Site::new(test).await?;
    let models = site.path("models");
    std::fs::create_dir(&models).unwrap();
    std::os::unix::fs::symlink(root().join("models").join(MODEL), models.join(MODEL)).unwrap();
    site.with("NIGHTREAD_MODELS_DIR", models.to_str().unwrap());
    site.with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", "600");
    let slices = site.path("slices");
    std::fs::create_dir(&slices).unwrap();
    let archive = root().join("models").join(MODEL).join("sample.zip");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(archive).arg(&slices);
    assert!(unzip.status().unwrap().success());
    let mut names: Vec<_> = std::fs::read_dir(&slices)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    std::fs::create_dir_all(site.path("incoming/ct/drop")).unwrap();
    std::fs::create_dir_all(site.path(SET).parent().unwrap()).unwrap();
    Some((site, names))
}

/// The set document of these slices, all of which lie there then.
async fn write_set(site: &Site, names: &[String]) {
    let mut instances = Vec::new();
    for name in names {
        let place = site.path("incoming/ct/drop").join(name);
        if !place.exists() {
            std::fs::copy(site.path("slices").join(name), &place).unwrap();
        }
        let name = format!("ct/drop/{name}");
        instances.push(json!({"etag": site.version(&name).await, "name": name}));
    }
    let set = json!({"schema": "nightread.set.v1", "name": "incoming/ct/demo", "series_uid": "1.2.3", "instances": instances});
    std::fs::write(site.path(SET), set.to_string()).unwrap();
}

fn announced() -> Value {
    json!({"series": {"set": SET}})
}

fn targets(archives: &[(&str, String)]) -> String {
    let rows = archives.iter().map(|(name, url)| {
        format!("[[targets]]\nname = \"{name}\"\narchive = \"{url}\"\nread_back = {}\n", *name == "orthanc")
    });
    rows.collect()
}

/// A worker that orders for these archives.
fn worker(site: &Site, targets: &str) -> Worker {
    let config = site.path("worker.toml");
    let route = format!(
        "[[routes]]\ncontainer = \"incoming\"\nprefix = \"ct/\"\ntask = \"segmentation\"\nmodel = \"{MODEL}\"\ninstances = true\n"
    );
    std::fs::write(&config, format!("{route}{targets}")).unwrap();
    Worker::start_as(&["run", "--config", config.to_str().unwrap()], &site.settings, site.folder.path())
}

async fn counts(of: &Worker, metric: &str, label: &str, count: usize) {
    wait::until_within(wait::patience() * 4, &format!("{count} of {metric} {label}"), || async {
        assert!(!of.is_gone(), "{}", of.log());
        (of.metric(metric, label).await == count as f64).then_some(())
    })
    .await;
}

async fn read(worker: &Worker, count: usize) {
    counts(worker, "nightread_jobs_total", "outcome=\"read\"", count).await;
}

async fn delivered(deliver: &Worker, outcome: &str, count: usize) {
    counts(deliver, "nightread_deliveries_total", &format!("outcome=\"{outcome}\""), count).await;
}

/// How many objects of each kind the archive has of the series' study.
async fn kinds(orthanc: &Orthanc, slices: &Path) -> [usize; 3] {
    let mut dump = Command::new("dcmdump");
    let dumped = dump.args(["+P", "StudyInstanceUID"]).arg(slices.join("001.dcm")).output().unwrap();
    let study = String::from_utf8(dumped.stdout).unwrap().split(['[', ']']).nth(1).unwrap().to_owned();
    let listed = orthanc.instances(&study).await;
    ["SEG", "OT", "SR"].map(|kind| listed.iter().filter(|(modality, _)| modality == kind).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_is_delivered_and_a_late_slice_makes_another_one() {
    let test = "a_series_is_delivered_and_a_late_slice_makes_another_one";
    let Some((site, names)) = site(test).await else { return };
    let archive = WebArchive::start(Way::Stores).await;
    let orthanc = Orthanc::start(test).await;
    let mut archives = vec![("scripted", archive.url())];
    archives.extend(orthanc.as_ref().map(|orthanc| ("orthanc", orthanc.web())));
    let (targets, count) = (targets(&archives), archives.len());
    let (worker, deliver) = (worker(&site, &targets), site.deliver_to(&targets));
    worker.ready().await;

    // Segmentation, two pictures, report; announced twice, once in the archive.
    write_set(&site, &names[..names.len() - 2]).await;
    site.tell(Lane::Volumes, &announced()).await;
    delivered(&deliver, "delivered", count).await;
    assert_eq!((archive.instances(), archive.posts()), (4, 1));
    let report = instances(&archive.last()).pop().unwrap();
    site.tell(Lane::Volumes, &announced()).await;
    delivered(&deliver, "known", count).await;
    if let Some(orthanc) = &orthanc {
        assert_eq!(kinds(orthanc, &site.path("slices")).await, [1, 2, 1]);
    }
    assert_eq!(archive.posts(), 1, "equal content is not sent again");

    // A slice comes late, and another one while the order of its reading waits: that reading is none of the series as it is.
    deliver.kill();
    write_set(&site, &names[..names.len() - 1]).await;
    site.tell(Lane::Volumes, &announced()).await;
    read(&worker, 2).await;
    wait::until("the orders", || async { (site.waiting().await == count as u32).then_some(()) }).await;
    write_set(&site, &names).await;
    let deliver = site.deliver_to(&targets);
    site.observer.wait_for_depth(topology::DELIVERIES_DEAD, count as u32).await;
    let dead = site.dead().await;
    assert!(dead.iter().all(|(_, code)| code == "source_changed"), "{dead:?}");
    assert_eq!(archive.posts(), 1, "nothing was sent");
    site.tell(Lane::Volumes, &announced()).await;
    delivered(&deliver, "delivered", count).await;
    assert_eq!((archive.instances(), archive.posts()), (8, 2));
    let sent = archive.last();
    assert!(!instances(&sent).contains(&report) && sent.contains(&report), "the predecessor is named");
    if let Some(orthanc) = &orthanc {
        assert_eq!(kinds(orthanc, &site.path("slices")).await, [2, 4, 2]);
    }

    // The same files by a prefix are another result of the same content: the archive has its objects, but for the report, which
    // replaces none.
    site.tell(Lane::Volumes, &json!({"series": "incoming/ct/drop/", "instances": names.len()})).await;
    delivered(&deliver, "delivered", 2 * count).await;
    assert_eq!((archive.instances(), archive.posts()), (9, 3));
    if let Some(orthanc) = &orthanc {
        assert_eq!(kinds(orthanc, &site.path("slices")).await, [2, 4, 3]);
    }

    // An order of the time before, which does not tell of the blobs, is no silence.
    let document = format!("{MODEL}/1.0.0-fp32/incoming/ct/demo.json");
    let order = json!({"schema": "nightread.delivery-order.v1", "result": format!("results/{document}"), "target": "scripted"});
    for record in site.records() {
        std::fs::remove_file(record).unwrap();
    }
    site.publish(order.to_string().as_bytes(), "scripted").await;
    site.observer.wait_for_depth(topology::DELIVERIES_DEAD, count as u32 + 1).await;
    let dead = site.dead().await;
    assert!(dead.contains(&("scripted".to_owned(), "message_unparseable".to_owned())), "{dead:?}");
}
