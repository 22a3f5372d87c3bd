//! The small form of the soak: a storm that fits into a test run. `make soak` runs the long one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use nightread_tests::chaos::{self, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled() {
    let plan = Plan {
        seed: 5,
        blobs: 200,
        workers: 2,
        kills: 6,
        broker_restarts: 1,
        faults: 0.06,
        longest_life: Duration::from_secs(4),
        patience: Duration::from_mins(10),
    };
    let Some(account) = chaos::run("nothing_is_lost_and_nothing_doubled", plan).await else { return };
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
    assert_eq!((account.kills, account.broker_restarts), (6, 1));
    assert_eq!((account.read, account.undecodable, account.missing, account.garbage), (186, 10, 4, 2));
    assert!(account.faulted > 0);
}
