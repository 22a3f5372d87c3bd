//! A broker behind TLS, and brokers that are not what they should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{AMQPClass, connection};
use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::{BrokerVersion, Publisher, RabbitIntake, topology};
use nightread_domain::message::Attributes;
use nightread_domain::{Disposition, ErrorCode, Intake, Lane, Message};
use nightread_tests::parts::skipped;
use nightread_tests::rabbit::{Rabbit, Tls, options};
use nightread_tests::wait;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_reached_over_tls_and_only_when_its_certificate_is_known() {
    let test = "the_broker_is_reached_over_tls_and_only_when_its_certificate_is_known";
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.pem();
    let tls = Tls { certificate: certificate.clone(), key: made.signing_key.serialize_pem() };
    let Some(rabbit) = Rabbit::start(Some(tls)).await else { return skipped(test, "RabbitMQ") };
    let url = rabbit.tls_url().expect("a TLS listener");
    let error = topology::declare(&options(&url)).await.expect_err("an unknown certificate");
    assert_eq!(error.code, ErrorCode::BrokerUnavailable);
    let mut options = options(&url);
    options.ca_pem = Some(certificate);
    topology::declare(&options).await.expect("declared over TLS");
    let publisher = Arc::new(Publisher::new(options.clone()));
    let mut intake = RabbitIntake::start(options, Arc::clone(&publisher));
    let message = Message { body: Bytes::from_static(b"x"), attributes: Attributes::for_lane(Lane::Ingest) };
    publisher.announce(&message).await.expect("confirmed");
    let next = tokio::time::timeout(wait::patience(), intake.next()).await.expect("in time");
    let delivery = next.expect("a session").expect("a delivery");
    delivery.settlement.settle(Disposition::Done).await.expect("settled");
}

/// Greets once with these bytes.
async fn greeter(greeting: Vec<u8>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(&greeting).await.expect("written");
        stream.shutdown().await.expect("shut");
    });
    format!("amqp://guest:guest@127.0.0.1:{port}/x")
}

fn greeting(version: &str) -> Vec<u8> {
    let mut server_properties = FieldTable::default();
    server_properties.insert("product".into(), AMQPValue::LongString("RabbitMQ".into()));
    server_properties.insert("version".into(), AMQPValue::LongString(version.into()));
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    };
    let frame = AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Start(start)));
    gen_frame(&frame)(WriteContext::from(Vec::new())).expect("a frame").into_inner().0
}

#[tokio::test]
async fn brokers_that_are_too_old_or_no_brokers_are_refused() {
    for (version, sound) in
        [("3.9.29", false), ("3.8.2", false), ("3.10.0", true), ("4.1.4", true), ("new", false)]
    {
        let url = greeter(greeting(version)).await;
        let checked = BrokerVersion::check(&options(&url)).await;
        assert_eq!(checked.is_ok(), sound, "{version}: {checked:?}");
        if let Err(error) = checked {
            assert_eq!(error.code, ErrorCode::BrokerRejected);
            assert!(error.message.contains("3.10"), "{error}");
        }
    }
    for noise in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Vec::new(), vec![0xff; 100_000]] {
        let url = greeter(noise).await;
        let error = BrokerVersion::check(&options(&url)).await.expect_err("no broker");
        assert_eq!(error.code, ErrorCode::BrokerUnavailable, "{error}");
    }
}
