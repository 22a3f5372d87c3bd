//! A proxy before Azurite that fails like a network: per request, by seeded chance, or altogether; and that is as slow
//! as it is told.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
pub use hyper::Method;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HOST};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Shares of requests that meet each fault, each from 0 to 1; what is left over passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Answered `503 ServerBusy`, never forwarded.
    pub busy: f64,
    /// Answered `500`, never forwarded.
    pub broken: f64,
    /// Accepted and never answered.
    pub silent: f64,
    /// The connection is reset before the request is forwarded.
    pub reset_before: f64,
    /// The request is carried out, and the answer is lost: the worst of them.
    pub reset_after: f64,
    /// The answer breaks off in its middle.
    pub cut: f64,
    /// Answered `401`, never forwarded.
    pub unauthorized: f64,
}

impl Faults {
    /// Something of everything, adding up to `share` of the requests.
    pub fn mixed(share: f64) -> Self {
        let each = share / 6.0;
        Self {
            busy: each,
            broken: each,
            silent: each,
            reset_before: each,
            reset_after: each,
            cut: each,
            unauthorized: 0.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Busy,
    Broken,
    Silent,
    ResetBefore,
    ResetAfter,
    Cut,
    Unauthorized,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    faults: Mutex<(Faults, StdRng)>,
    outage: AtomicBool,
    requests: AtomicU64,
    faulted: AtomicU64,
    client: Client<HttpConnector, Full<Bytes>>,
    silence: Duration,
    gates: Mutex<Vec<Gate>>,
    delays: Mutex<HashMap<String, Duration>>,
}

/// Requests of one method to paths that hold a text wait here until it opens.
#[derive(Clone, Debug)]
pub struct Gate {
    method: Method,
    text: String,
    waiting: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Waits until this many requests have come.
    pub async fn reached(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached =
            tokio::time::timeout(crate::wait::patience(), waiting.wait_for(|waiting| *waiting >= count));
        let _ = reached.await.expect("a request at the gate in time").expect("a gate");
    }

    /// Lets everything through, now and from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Before `target`, on a free port, without faults. The same seed brings the same sequence of fates.
    pub async fn start(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target,
            faults: Mutex::new((Faults::default(), StdRng::seed_from_u64(seed))),
            outage: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            // Azurite closes idle connections after a few seconds; a stale one would be a fault nobody ordered.
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(2))
                .build_http(),
            silence: Duration::from_mins(1),
            gates: Mutex::default(),
            delays: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Holds requests of `method` whose path contains `text`.
    pub fn gate(&self, method: Method, text: &str) -> Gate {
        let (waiting, open) = (watch::Sender::new(0), watch::Sender::new(false));
        let gate = Gate { method, text: text.to_owned(), waiting, open };
        self.state.gates.lock().unwrap_or_else(PoisonError::into_inner).push(gate.clone());
        gate
    }

    /// Holds each download of a blob of this name (the last part of its path) for so long, from now on.
    pub fn delay(&self, blob: &str, time: Duration) {
        self.state.delays.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.to_owned(), time);
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).0 = faults;
    }

    /// While it lasts, connections are accepted and dropped.
    pub fn set_outage(&self, outage: bool) {
        self.state.outage.store(outage, Ordering::SeqCst);
    }

    /// Requests so far, and how many of them met a fault.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.requests.load(Ordering::SeqCst), self.state.faulted.load(Ordering::SeqCst))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if state.outage.load(Ordering::SeqCst) {
            continue;
        }
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| serve(request, Arc::clone(&state)));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error here makes hyper drop the connection, which is what a reset looks like from outside.
async fn serve(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Broken> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    pass_gates(&request, &state).await;
    if let Some(time) = delay(&request, &state) {
        tokio::time::sleep(time).await;
    }
    let fate = fate(&state);
    if fate != Fate::Pass {
        state.faulted.fetch_add(1, Ordering::SeqCst);
    }
    match fate {
        Fate::Busy => return Ok(refusal(503, "ServerBusy")),
        Fate::Broken => return Ok(refusal(500, "InternalError")),
        Fate::Unauthorized => return Ok(refusal(401, "InvalidAuthenticationInfo")),
        Fate::ResetBefore => return Err("reset before".into()),
        Fate::Silent => {
            tokio::time::sleep(state.silence).await;
            return Err("silence".into());
        }
        Fate::Pass | Fate::ResetAfter | Fate::Cut => {}
    }
    let (head, body) = forward(request, &state).await?;
    if fate == Fate::ResetAfter {
        return Err("reset after".into());
    }
    let body = if fate == Fate::Cut && body.len() > 1 {
        let half = body.slice(..body.len() / 2);
        let frames = [Ok(Frame::data(half)), Err(std::io::Error::other("cut"))];
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    } else {
        Full::new(body).map_err(never).boxed_unsync()
    };
    Ok(Response::from_parts(head, body))
}

async fn pass_gates(request: &Request<Incoming>, state: &State) {
    let gates = state.gates.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for gate in gates {
        if request.method() == gate.method && request.uri().path().contains(&gate.text) {
            gate.waiting.send_modify(|waiting| *waiting += 1);
            let _ = gate.open.subscribe().wait_for(|open| *open).await;
        }
    }
}

fn delay(request: &Request<Incoming>, state: &State) -> Option<Duration> {
    let name = request.uri().path().rsplit('/').next().filter(|_| request.method() == Method::GET)?;
    state.delays.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
}

async fn forward(
    request: Request<Incoming>,
    state: &State,
) -> Result<(hyper::http::response::Parts, Bytes), Broken> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = format!("http://{}{path}", state.target).parse::<Uri>()?;
    head.headers.remove(HOST);
    head.headers.remove(CONNECTION);
    let body = body.collect().await?.to_bytes();
    let answer = state.client.request(Request::from_parts(head, Full::new(body))).await?;
    let (head, body) = answer.into_parts();
    Ok((head, body.collect().await?.to_bytes()))
}

fn fate(state: &State) -> Fate {
    if state.outage.load(Ordering::SeqCst) {
        return Fate::ResetBefore;
    }
    let (faults, chance) = &mut *state.faults.lock().unwrap_or_else(PoisonError::into_inner);
    let mut roll: f64 = chance.random();
    for (share, fate) in [
        (faults.busy, Fate::Busy),
        (faults.broken, Fate::Broken),
        (faults.silent, Fate::Silent),
        (faults.reset_before, Fate::ResetBefore),
        (faults.reset_after, Fate::ResetAfter),
        (faults.cut, Fate::Cut),
        (faults.unauthorized, Fate::Unauthorized),
    ] {
        if roll < share {
            return fate;
        }
        roll -= share;
    }
    Fate::Pass
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>ordered</Message></Error>");
    Response::builder()
        .status(status)
        .header("x-ms-error-code", code)
        .body(Full::new(Bytes::from(body)).map_err(never).boxed_unsync())
        .expect("a sound response")
}

fn never(infallible: Infallible) -> std::io::Error {
    match infallible {}
}
