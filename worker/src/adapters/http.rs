//! Serving HTTP inside bounds. A silent or slow client holds no descriptor that work needs: connections are capped, and
//! at the cap the one that has kept us waiting longest makes room for the new one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What clients may take of this process.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections, each a descriptor.
    pub connections: usize,
    /// For the head of a request, also of the next one on the same connection.
    pub head_patience: Duration,
    /// For answers under way, once told to stop.
    pub stop_patience: Duration,
}

impl Bounds {
    /// For `connections` at once.
    pub fn new(connections: usize) -> Self {
        Self { connections, head_patience: Duration::from_secs(5), stop_patience: Duration::from_secs(5) }
    }
}

/// Between two tries to accept while the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One connection, as the cap sees it. Every request carries it as an extension.
#[derive(Debug)]
pub struct Connection {
    /// The next word is the client's: it may make room for another.
    waiting: AtomicBool,
    close: CancellationToken,
}

impl Connection {
    fn new() -> Self {
        Self { waiting: AtomicBool::new(true), close: CancellationToken::new() }
    }

    /// A handler that waits for the client, for example for the body, says so.
    pub fn waits(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

/// Serves until told to stop, then lets the answers under way finish.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut open: VecDeque<Arc<Connection>> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A task that has ended holds no other reference.
        open.retain(|connection| Arc::strong_count(connection) > 1);
        if open.len() >= bounds.connections && !make_room(&mut open) {
            continue;
        }
        let connection = Arc::new(Connection::new());
        open.push_back(Arc::clone(&connection));
        tasks.spawn(converse(stream, connection, router.clone(), bounds, stop.clone()));
    }
    tasks.close();
    let _unfinished = tokio::time::timeout(bounds.stop_patience, tasks.wait()).await;
}

/// Closes the connection that has waited for its client the longest.
fn make_room(open: &mut VecDeque<Arc<Connection>>) -> bool {
    let oldest = open.iter().position(|connection| connection.waiting.load(Ordering::Relaxed));
    let Some(oldest) = oldest.and_then(|at| open.remove(at)) else { return false };
    oldest.close.cancel();
    true
}

async fn converse(
    stream: TcpStream,
    connection: Arc<Connection>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let inner = TowerToHyperService::new(router);
    let answering = Arc::clone(&connection);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        answering.waits(false);
        request.extensions_mut().insert(Arc::clone(&answering));
        let answer = hyper::service::Service::call(&inner, request.map(Body::new));
        let answering = Arc::clone(&answering);
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            answering.waits(true);
            answer
        }
    });
    let talk = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_patience)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(talk);
    tokio::select! {
        () = connection.close.cancelled() => {}
        // What a client does wrong is its own affair.
        _ended = &mut talk => {}
        () = stop.cancelled() => {
            talk.as_mut().graceful_shutdown();
            let _ended = talk.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(connections: usize) -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, router, Bounds::new(connections), stop.clone()));
        (address, stop)
    }

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn silent_and_half_said_connections_make_room() {
        let (address, _stop) = start(8).await;
        let mut idle = Vec::new();
        for number in 0..40 {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            if number % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("it reads");
            }
            idle.push(stream);
        }
        assert!(ask(address).await.ends_with("here"));
        // The first ones were closed: their next byte is the end.
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(4), idle[0].read(&mut byte)).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "the oldest made room before its own patience ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_is_not_waited_for() {
        let (address, _stop) = start(8).await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(b"GET / HT").await.expect("it reads");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is closed, with or without a word");
    }

    #[tokio::test]
    async fn a_stop_ends_it_beside_silent_connections() {
        let (address, stop) = start(8).await;
        let _silent = TcpStream::connect(address).await.expect("it listens");
        assert!(ask(address).await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        let mut gone = false;
        for _ in 0..3_000 {
            gone = TcpStream::connect(address).await.is_err();
            if gone {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone, "nobody listens any more");
    }
}
