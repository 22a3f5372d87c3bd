//! `nightread announce --finish-by` at a real broker: what is left in the lane at its hour is parked, and comes back; nothing is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use nightread::adapters::amqp::{Parking, topology};
use nightread_domain::Lane;
use nightread_tests::announcing::{Announced, announce, start, summary};
use nightread_tests::parts::skipped;
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use tempfile::TempDir;

const FILES: u32 = 40;

fn bulk() -> String {
    topology::lane_queue(Lane::Bulk)
}

/// A declared virtual host, and a folder of files in `incoming`.
async fn folder(rabbit: &Rabbit) -> (TempDir, WorkerSettings, Observer) {
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("incoming")).expect("a folder");
    for number in 0..FILES {
        std::fs::write(folder.path().join(format!("incoming/{number}.png")), b"x").expect("a file");
    }
    let settings = WorkerSettings::new(&options.url).folder(folder.path());
    let observer = Observer::connect(&options.url).await;
    (folder, settings, observer)
}

/// The time of day in so long, by minutes.
fn clock_in(minutes: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let minute = (now.as_secs() / 60 + minutes) % (24 * 60);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_the_hour_is_parked_and_the_next_night_brings_it_back() {
    let test = "what_is_left_at_the_hour_is_parked_and_the_next_night_brings_it_back";
    if !Worker::is_built(test) {
        return;
    }
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let (folder, settings, observer) = folder(rabbit).await;
    let checkpoint = folder.path().join("night.json").display().to_string();
    let flags = ["--checkpoint", &checkpoint, "--finish-by"];

    // Nobody works; the hour is a minute or two away.
    let night = announce(&settings, &[&flags[..], &[&clock_in(2)]].concat());
    let account = summary(&night);
    assert_eq!(night.status.code(), Some(3), "{account:#}");
    assert_eq!((account["announced"].as_u64(), account["parked"].as_u64()), (Some(40), Some(40)));
    assert_eq!((account["finished"].as_bool(), observer.depth(&bulk()).await), (Some(false), 0));
    observer.wait_for_depth(topology::PARKED, FILES).await;

    // The next one, whose workers empty the lane before its hour.
    let child = start(&settings, &[&flags[..], &[&clock_in(12 * 60)]].concat());
    observer.wait_for_depth(&bulk(), FILES).await;
    let back = observer.drain(&bulk()).await;
    assert!(back.iter().all(|delivery| delivery.routing_key.as_str() == "job.bulk"));
    assert_eq!(Announced::of(&back).names().len(), FILES as usize, "each once");
    let night = child.wait_with_output().expect("it ends");
    let account = summary(&night);
    assert_eq!(night.status.code(), Some(0), "{account:#}");
    assert_eq!((account["announced_now"].as_u64(), account["brought_back"].as_u64()), (Some(0), Some(40)));
    assert!(!std::path::Path::new(&checkpoint).exists(), "all is done");
    assert_eq!(observer.depth(topology::PARKED).await, 0);
}

/// Headers, body and key survive, and another lane is left alone; what comes back begins to wait anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_back_as_it_was() {
    let Some(rabbit) = Rabbit::shared("a_message_comes_back_as_it_was").await else { return };
    let options = rabbit.declared().await;
    let observer = Observer::connect(&options.url).await;
    let mut headers = FieldTable::default();
    headers.insert("attempt".into(), AMQPValue::LongUInt(3));
    let properties = BasicProperties::default()
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_headers(headers);
    for key in ["job.bulk.of-a-ward", "job.ingest"] {
        let sent = observer.channel().basic_publish(
            topology::JOBS.into(),
            key.into(),
            BasicPublishOptions::default(),
            b"{}",
            properties.clone(),
        );
        sent.await.expect("published").await.expect("taken");
    }
    observer.wait_for_depth(&bulk(), 1).await;
    let parking = Parking::new(options.clone());
    assert_eq!(parking.waiting().await.expect("a count"), 1);
    assert_eq!(parking.park().await.expect("parked"), 1);
    assert_eq!(parking.park().await.expect("nothing to park"), 0);
    observer.wait_for_depth(topology::PARKED, 1).await;
    assert_eq!(observer.depth(&bulk()).await, 0);
    assert_eq!(observer.depth(&topology::lane_queue(Lane::Ingest)).await, 1);
    assert_eq!(parking.bring_back().await.expect("brought back"), 1);
    let back = observer.take(&bulk()).await;
    assert_eq!((back.routing_key.as_str(), back.data.as_slice()), ("job.bulk.of-a-ward", &b"{}"[..]));
    assert_eq!(back.properties.message_id().as_ref().map(ShortString::as_str), Some("m"));
    let attempt =
        back.properties.headers().as_ref().and_then(|headers| headers.inner().get("attempt").cloned());
    assert_eq!(attempt, Some(AMQPValue::LongUInt(3)));
    let stamped = Duration::from_secs(back.properties.timestamp().expect("a time"));
    assert!(stamped > Duration::from_secs(1_700_000_000), "it waits anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_carried_there_and_back_and_none_is_lost() {
    let Some(rabbit) = Rabbit::shared("many_are_carried_there_and_back_and_none_is_lost").await else {
        return;
    };
    let options = rabbit.declared().await;
    let observer = Observer::connect(&options.url).await;
    let names = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(names.path().join("incoming")).expect("a folder");
    for number in 0..3_000 {
        std::fs::write(names.path().join(format!("incoming/{number}.png")), b"x").expect("a file");
    }
    let announced = announce(&WorkerSettings::new(&options.url).folder(names.path()), &[]);
    assert!(announced.status.success());
    observer.wait_for_depth(&bulk(), 3_000).await;
    // An end in the middle: what was on its way is there twice at worst.
    let parking = Parking::new(options);
    tokio::select! {
        carried = parking.park() => drop(carried.expect("parked")),
        () = async { while observer.depth(topology::PARKED).await < 200 {} } => {}
    }
    // The broker gives back what was in flight when it has seen the connection go.
    wait::until("an empty lane", || async {
        parking.park().await.expect("the rest");
        (observer.depth(&bulk()).await == 0 && observer.depth(topology::PARKED).await >= 3_000).then_some(())
    })
    .await;
    let parked = observer.drain(topology::PARKED).await;
    assert_eq!(Announced::of(&parked).names().len(), 3_000, "each of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_park_is_told_so_before_anything_is_announced() {
    let test = "a_login_that_may_not_park_is_told_so_before_anything_is_announced";
    let Some(rabbit) = Rabbit::shared(test).await.filter(|rabbit| rabbit.release().is_some()) else {
        return skipped(test, "a RabbitMQ of our own");
    };
    let (_folder, settings, observer) = folder(rabbit).await;
    let virtual_host = settings.broker_url().rsplit('/').next().expect("a virtual host").to_owned();
    let user = format!("worker-{virtual_host}");
    let url = settings.broker_url().replace("guest:guest", &format!("{user}:secret"));
    rabbit.control(&["set_permissions", "-p", &virtual_host, &user, "^$", "^nightread$", "^$"]).await;
    let refused = announce(&settings.with("NIGHTREAD_BROKER_URL", &url), &["--finish-by", &clock_in(600)]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("ACCESS_REFUSED") && told.contains("nightread.jobs.parked"), "{told}");
    assert_eq!(observer.depth(&bulk()).await, 0);
}
