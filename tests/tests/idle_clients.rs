//! Clients that connect and say nothing, or half of something, more of them than a process has descriptors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::time::{Duration, Instant};

use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::free_port;
use nightread_tests::queues::serve;
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::server::get;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const DESCRIPTORS: u32 = 1024;
const CLIENTS: usize = 1100;
const JOBS: usize = 100;
const TOKEN: &str = "a-token-for-the-tests-only";

/// This many connections: a third silent, a third with half a head, a third with a head whose body never ends.
async fn idle(port: u16, body_path: &str) -> Vec<TcpStream> {
    // The test needs descriptors too.
    let this = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &this, "--nofile=4096:"]).status();
    assert!(raised.is_ok_and(|status| status.success()), "the test may have 4096 descriptors");
    let mut clients = Vec::with_capacity(CLIENTS);
    let half = format!("POST {body_path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n");
    let whole = format!("{half}Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{{");
    for number in 0..CLIENTS {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        // One that was closed already, to make room, is fine.
        let _closed = match number % 3 {
            0 => Ok(()),
            1 => client.write_all(half.as_bytes()).await,
            _ => client.write_all(whole.as_bytes()).await,
        };
        clients.push(client);
    }
    clients
}

/// The median time of an answer beside idle clients.
async fn answers(url: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        let answer = get(url).await.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        times.push(started.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_and_works_beside_idle_clients() {
    let Some(bench) = Bench::shared("a_worker_answers_and_works_beside_idle_clients").await else { return };
    let worker = bench.start_with(&bench.settings().descriptors(DESCRIPTORS));
    worker.ready().await;
    let clients = idle(worker.port(), "/healthz").await;
    let median = answers(&format!("http://127.0.0.1:{}/healthz", worker.port())).await;
    println!("/healthz beside {CLIENTS} idle clients: {median:?}");
    for number in 0..JOBS {
        let name = format!("{number}.png");
        bench.upload(&name, grey(number as u8, 64, number)).await;
        bench.announce(Lane::Ingest, &name).await;
    }
    wait::until("all to be read", || async {
        (worker.metric("nightread_jobs_total", r#"outcome="read""#).await as usize == JOBS).then_some(())
    })
    .await;
    assert_eq!(worker.metric("nightread_messages_total", r#"disposition="retried""#).await as u32, 0);
    assert_eq!(worker.metric("nightread_messages_total", r#"disposition="done""#).await as usize, JOBS);
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_takes_events_beside_idle_clients() {
    let test = "the_webhook_takes_events_beside_idle_clients";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let port = free_port();
    let settings = WorkerSettings::new(&options.url)
        .with("NIGHTREAD_WEBHOOK_TOKEN", TOKEN)
        .with("NIGHTREAD_WEBHOOK_LISTEN", &format!("127.0.0.1:{port}"))
        .descriptors(DESCRIPTORS);
    let mut child = serve(&settings, "webhook");
    wait::until("the webhook to listen", || async { TcpStream::connect(("127.0.0.1", port)).await.ok() })
        .await;
    let clients = idle(port, "/events").await;
    for number in 0..JOBS {
        let body = format!("{{\"blob\": \"incoming/{number}.png\"}}");
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let head = format!(
            "POST /events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut client, &mut answer).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
    }
    drop(clients);
    let observer = Observer::connect(&options.url).await;
    assert_eq!(observer.drain(&topology::lane_queue(Lane::Ingest)).await.len(), JOBS);
    let _ = child.kill();
    let _ = child.wait();
}
