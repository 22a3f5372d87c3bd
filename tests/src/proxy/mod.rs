//! A proxy before Azurite that fails like a network: per request, by seeded chance, or altogether; and that is as slow
//! as it is told.

mod fate;
mod gate;
mod refusal;
mod serve;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
pub use hyper::Method;
use hyper::Uri;
pub use hyper::http::response::Parts;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::fate::Faults;
pub use self::gate::Gate;
use self::refusal::Refusal;
use self::serve::{Answer, serve};

/// The account that every Azurite has, which begins each path.
const ACCOUNT: &str = "devstoreaccount1";

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
    refusals: Mutex<Vec<Refusal>>,
    scripts: Mutex<Vec<Script>>,
    /// The page that each listing gave last.
    pages: Mutex<HashMap<String, Answer>>,
    /// Names on a page of a listing; the service's own number for 0.
    names_on_a_page: AtomicU64,
    by_fate: Mutex<BTreeMap<&'static str, u64>>,
    by_path: Mutex<BTreeMap<String, u64>>,
}

/// Changes answers of one method to paths that hold a text.
struct Script {
    method: Method,
    text: String,
    change: Change,
}

type Change = Box<dyn Fn(&mut Parts, &mut Bytes) + Send + Sync>;

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.text)
    }
}

impl Script {
    fn fits(&self, method: &Method, target: &Uri) -> bool {
        *method == self.method && target.path().contains(&self.text)
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
            refusals: Mutex::default(),
            scripts: Mutex::default(),
            pages: Mutex::default(),
            names_on_a_page: AtomicU64::new(0),
            by_fate: Mutex::default(),
            by_path: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Holds requests of `method` whose path contains `text`.
    pub fn gate(&self, method: Method, text: &str) -> Gate {
        self.gate_after(0, method, text)
    }

    /// As [`Self::gate`], after so many of these requests have passed.
    pub fn gate_after(&self, first: usize, method: Method, text: &str) -> Gate {
        let gate = Gate::new(method, text, first);
        self.state.gates.lock().unwrap_or_else(PoisonError::into_inner).push(gate.clone());
        gate
    }

    /// Holds each download of a blob of this name (the last part of its path) for so long, from now on.
    pub fn delay(&self, blob: &str, time: Duration) {
        self.state.delays.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.to_owned(), time);
    }

    /// Refuses whatever goes to this container, or to the whole account when none is named, as the service would.
    /// `code` may be empty; `detail` is what the service tells of an authentication that failed.
    pub fn refuse(&self, container: Option<&str>, status: u16, code: &str, detail: &str) {
        let refusal = Refusal::new(container, status, code, detail);
        self.state.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
    }

    /// Refuses nothing more.
    pub fn let_in(&self) {
        self.state.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Changes the answers of one method to paths that hold a text.
    pub fn script(
        &self,
        method: Method,
        text: &str,
        change: impl Fn(&mut Parts, &mut Bytes) + Send + Sync + 'static,
    ) {
        let script = Script { method, text: text.to_owned(), change: Box::new(change) };
        self.state.scripts.lock().unwrap_or_else(PoisonError::into_inner).push(script);
    }

    /// Forgets all scripts.
    pub fn unscript(&self) {
        self.state.scripts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets the scripts of HEAD.
    pub fn unscript_head(&self) {
        let mut scripts = self.state.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.retain(|script| script.method != Method::HEAD);
    }

    /// Cuts listings into pages of so many names.
    pub fn set_page(&self, names: u64) {
        self.state.names_on_a_page.store(names, Ordering::SeqCst);
    }

    /// How many requests met each fault.
    pub fn counts_by_fault(&self) -> BTreeMap<&'static str, u64> {
        self.state.by_fate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests went to paths that hold a text.
    pub fn requests_of(&self, text: &str) -> u64 {
        let counts = self.state.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(path, _)| path.contains(text)).map(|(_, count)| count).sum()
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
