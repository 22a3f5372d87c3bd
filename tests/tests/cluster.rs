//! Three brokers in a cluster, on real nodes that can be cut apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bytes::Bytes;
use nightread::adapters::amqp::{Publisher, RabbitOptions};
use nightread_domain::message::Attributes;
use nightread_domain::{Lane, Message};
use nightread_tests::cluster::{Cluster, Minority};
use nightread_tests::cluster_storm::{self, Plan, Weather};
use nightread_tests::parts::Ending;
use nightread_tests::wait;

/// The small form of the storm. `make soak SOAK=cluster` runs the long one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_a_storm_loses_nothing_and_doubles_nothing() {
    let seconds = Duration::from_secs;
    let plan = Plan {
        seed: 3,
        blobs: 200,
        workers: 2,
        kills: 6,
        longest_life: seconds(6),
        heartbeat: 5,
        weather: vec![
            Weather::Isolated(seconds(12)),
            Weather::TwoLost(seconds(3)),
            Weather::MemoryAlarm(seconds(3)),
            Weather::DiskAlarm(seconds(3)),
        ],
        patience: Duration::from_mins(10),
    };
    let test = "a_cluster_in_a_storm_loses_nothing_and_doubles_nothing";
    let Some(account) = cluster_storm::run(test, plan).await else { return };
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
    assert_eq!((account.kills, account.weather.len()), (6, 4));
    assert_eq!((account.read, account.undecodable, account.missing, account.garbage), (186, 10, 4, 2));
}

fn message() -> Message {
    Message { body: Bytes::from_static(b"x"), attributes: Attributes::for_lane(Lane::Ingest) }
}

async fn publishes(publisher: &Publisher) {
    let confirmed = || async { publisher.announce(&message()).await.ok() };
    wait::until("a message to be confirmed", confirmed).await;
}

/// One cluster for all of these: forming it takes longer than they do.
#[tokio::test(flavor = "multi_thread")]
async fn any_broker_of_the_cluster_will_do() {
    let Some(mut cluster) = Cluster::start("any_broker_of_the_cluster_will_do", Minority::Stays).await else {
        return;
    };
    let options = cluster.declared(20).await;

    // The one that the address names is gone, and says so or says nothing.
    cluster.pause(0, Ending::Kill);
    let only = RabbitOptions { more_hosts: Vec::new(), ..options.clone() };
    Publisher::new(only).announce(&message()).await.expect_err("nobody is there");
    for _ in 0..8 {
        publishes(&Publisher::new(options.clone())).await;
    }
    cluster.resume(0).await;
    cluster.isolate(0);
    for _ in 0..8 {
        publishes(&Publisher::new(options.clone())).await;
    }
    cluster.rejoin(0);
    cluster.serves(0).await;

    // Cut off from the others it still answers its clients, and confirms nothing: they leave it.
    let publishers: Vec<_> = (0..24).map(|_| Publisher::new(options.clone())).collect();
    for publisher in &publishers {
        publishes(publisher).await;
    }
    cluster.cut(2);
    futures::future::join_all(publishers.iter().map(publishes)).await;
    cluster.mend(2);
}
