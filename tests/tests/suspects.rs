//! What was handed out twice and not finished is set aside on a real broker, and handed out singly from there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nightread::adapters::queue::rabbitmq::{DeadLetters, Publisher, RabbitIntake, RabbitOptions, topology};
use nightread_domain::message::Attributes;
use nightread_domain::{Delivery, Disposition, ErrorCode, Intake, JobError, Lane, Message, Stage};
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;

async fn next(intake: &mut RabbitIntake) -> Delivery {
    let next = tokio::time::timeout(wait::patience(), intake.next()).await.expect("a delivery in time");
    next.expect("a session").expect("a delivery")
}

/// An intake on a declared virtual host with these messages already among the suspects.
async fn suspecting(rabbit: &Rabbit, bodies: &[&str], lane: Lane) -> (RabbitOptions, RabbitIntake, Observer) {
    let mut options = rabbit.declared().await;
    options.permits = 8;
    let publisher = Arc::new(Publisher::new(options.clone()));
    for body in bodies {
        let attributes = Attributes { message_id: Some((*body).to_owned()), ..Attributes::for_lane(lane) };
        let message = Message { body: Bytes::from((*body).to_owned()), attributes };
        publisher.announce(&message).await.expect("confirmed");
    }
    let mut intake = RabbitIntake::start(options.clone(), publisher);
    let mut held = Vec::new();
    for _ in bodies {
        held.push(next(&mut intake).await);
    }
    for delivery in held {
        assert!(!delivery.message.attributes.suspect);
        delivery.settlement.settle(Disposition::Suspect).await.expect("set aside");
    }
    let observer = Observer::connect(&options.url).await;
    (options, intake, observer)
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_come_one_at_a_time_and_only_a_start_is_counted() {
    let Some(rabbit) = Rabbit::shared("suspects_come_one_at_a_time_and_only_a_start_is_counted").await else {
        return;
    };
    let (options, mut intake, observer) = suspecting(rabbit, &["first", "second"], Lane::Bulk).await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Bulk), 0).await;
    for start in 0..3 {
        let first = next(&mut intake).await;
        assert_eq!(first.message.body, "first");
        let attributes = &first.message.attributes;
        assert_eq!((attributes.suspect, attributes.lane), (true, Lane::Bulk), "it remembers its lane");
        assert_eq!(attributes.delivery_count, start);
        let another = tokio::time::timeout(Duration::from_millis(300), intake.next()).await;
        assert!(another.is_err(), "the second waits for the first: {another:?}");
        drop(first);
    }
    next(&mut intake).await.settlement.settle(Disposition::Done).await.expect("settled");
    let second = next(&mut intake).await;
    assert_eq!(second.message.body, "second");
    assert_eq!(second.message.attributes.delivery_count, 0, "it was never blamed for the first");
    second.settlement.settle(Disposition::Done).await.expect("settled");
    observer.wait_for_depth(topology::SUSPECT_QUEUE, 0).await;
    assert_eq!(DeadLetters::open(&options).await.expect("opened").count().await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_only_failed_goes_back_to_its_lane_and_one_that_is_given_up_keeps_its_lane() {
    let test = "a_suspect_that_only_failed_goes_back_to_its_lane_and_one_that_is_given_up_keeps_its_lane";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let (options, mut intake, observer) = suspecting(rabbit, &["scan"], Lane::Fmri).await;
    let error = || JobError::new(Stage::Fetch, ErrorCode::StorageUnavailable, "away");
    let delay = Duration::from_secs(1);
    let suspect = next(&mut intake).await;
    suspect.settlement.settle(Disposition::RetryAfter { delay, error: error() }).await.expect("settled");
    let retried = next(&mut intake).await;
    let attributes = &retried.message.attributes;
    assert_eq!((attributes.lane, attributes.suspect, attributes.attempt), (Lane::Fmri, false, 1));
    retried.settlement.settle(Disposition::Suspect).await.expect("settled");
    let suspect = next(&mut intake).await;
    assert_eq!(suspect.message.attributes.attempt, 1, "real failures are remembered");
    suspect.settlement.settle(Disposition::DeadLetter { error: error() }).await.expect("settled");
    observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let letters = DeadLetters::open(&options).await.expect("opened").peek(1).await.expect("peeked");
    assert_eq!(letters[0].message.attributes.lane, Lane::Fmri);
    assert_eq!(letters[0].message.attributes.message_id.as_deref(), Some("scan"));
}
