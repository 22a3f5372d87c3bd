//! A proxy before Azurite that fails like a network: per request, by seeded chance, or altogether; and that is as slow
//! as it is told.

use std::collections::{BTreeMap, HashMap};
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
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST};
use hyper::http::HeaderValue;
pub use hyper::http::response::Parts;
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

/// The account that every Azurite has, which begins each path.
const ACCOUNT: &str = "devstoreaccount1";

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
    /// Answered `403`, never forwarded.
    pub forbidden: f64,
    /// Answered `429`, never forwarded.
    pub throttled: f64,
    /// Answered `503` with a `Retry-After` of a day, never forwarded.
    pub busy_for_a_day: f64,
    /// Half of the body, and a length that says so.
    pub short: f64,
    /// One byte of the body is another; its MD5 is still the right one.
    pub spoilt: f64,
    /// The answer has another ETag.
    pub another_etag: f64,
    /// A page of a listing is the page before once more.
    pub page_again: f64,
    /// A page of a listing is left out.
    pub page_skipped: f64,
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
            ..Self::default()
        }
    }

    /// Storage that lies: answers that are refusals, halves, spoilt or of another version, adding up to `share`. What is
    /// busy for a day keeps its job in the longest delay.
    pub fn lies(share: f64, busy_for_a_day: f64) -> Self {
        let each = (share - busy_for_a_day) / 8.0;
        Self {
            busy: each,
            busy_for_a_day,
            throttled: each,
            cut: each,
            short: each,
            spoilt: each,
            another_etag: each,
            page_again: each,
            page_skipped: each,
            ..Self::default()
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
    Forbidden,
    Throttled,
    BusyForADay,
    Short,
    Spoilt,
    AnotherEtag,
    PageAgain,
    PageSkipped,
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
    refusals: Mutex<Vec<Refusal>>,
    scripts: Mutex<Vec<Script>>,
    /// The page that each listing gave last.
    pages: Mutex<HashMap<String, Answer>>,
    /// Names on a page of a listing; the service's own number for 0.
    names_on_a_page: AtomicU64,
    by_fate: Mutex<BTreeMap<&'static str, u64>>,
}

/// Whatever goes to paths that begin so is refused.
#[derive(Clone, Debug)]
struct Refusal {
    path: String,
    status: u16,
    code: String,
    detail: String,
}

/// Changes answers of one method to paths that hold a text.
struct Script {
    method: Method,
    text: String,
    change: Change,
}

type Answer = (Parts, Bytes);
type Change = Box<dyn Fn(&mut Parts, &mut Bytes) + Send + Sync>;

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.text)
    }
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
            refusals: Mutex::default(),
            scripts: Mutex::default(),
            pages: Mutex::default(),
            names_on_a_page: AtomicU64::new(0),
            by_fate: Mutex::default(),
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

    /// Refuses whatever goes to this container, or to the whole account when none is named, as the service would.
    /// `code` may be empty; `detail` is what the service tells of an authentication that failed.
    pub fn refuse(&self, container: Option<&str>, status: u16, code: &str, detail: &str) {
        let path = container.map_or_else(|| "/".to_owned(), |name| format!("/{ACCOUNT}/{name}"));
        let refusal = Refusal { path, status, code: code.to_owned(), detail: detail.to_owned() };
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
    if let Some(refusal) = refused(&request, &state) {
        state.faulted.fetch_add(1, Ordering::SeqCst);
        return Ok(refusal);
    }
    let fate = fitting(fate(&state), &request);
    if fate != Fate::Pass {
        state.faulted.fetch_add(1, Ordering::SeqCst);
        let mut counts = state.by_fate.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(fate.as_str()).or_default() += 1;
    }
    match fate {
        Fate::Forbidden => return Ok(refusal(403, "AuthorizationFailure")),
        Fate::Throttled => return Ok(refusal(429, "TooManyRequests")),
        Fate::BusyForADay => {
            let mut answer = refusal(503, "ServerBusy");
            answer.headers_mut().insert("retry-after", HeaderValue::from_static("86400"));
            return Ok(answer);
        }
        Fate::Busy => return Ok(refusal(503, "ServerBusy")),
        Fate::Broken => return Ok(refusal(500, "InternalError")),
        Fate::Unauthorized => return Ok(refusal(401, "InvalidAuthenticationInfo")),
        Fate::ResetBefore => return Err("reset before".into()),
        Fate::Silent => {
            tokio::time::sleep(state.silence).await;
            return Err("silence".into());
        }
        _ => {}
    }
    let (method, target) = (request.method().clone(), request.uri().clone());
    let is_listing = is_listing(&method, &target);
    let (mut head, mut body) = forward(request, &state).await?;
    if is_listing {
        (head, body) = listed(fate, &target, (head, body), &state).await?;
    }
    match fate {
        Fate::Short => body = body.slice(..body.len() / 2),
        Fate::Spoilt if !body.is_empty() => {
            let mut bytes = body.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            body = bytes.into();
        }
        Fate::AnotherEtag => {
            head.headers.insert("etag", HeaderValue::from_static("\"0x8DAAAAAAAAAAAAA\""));
        }
        _ => {}
    }
    {
        let scripts = state.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        for script in scripts.iter().filter(|script| script.fits(&method, &target)) {
            (script.change)(&mut head, &mut body);
        }
    }
    // The length of HEAD is the blob's, not the answer's.
    if method != Method::HEAD {
        head.headers.remove(CONTENT_LENGTH);
    }
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

impl Script {
    fn fits(&self, method: &Method, target: &Uri) -> bool {
        *method == self.method && target.path().contains(&self.text)
    }
}

fn is_listing(method: &Method, target: &Uri) -> bool {
    *method == Method::GET && target.query().is_some_and(|query| query.contains("comp=list"))
}

/// Only what the fault can be told by: bodies of blobs, versions of blobs, pages.
fn fitting(fate: Fate, request: &Request<Incoming>) -> Fate {
    let is_listing = is_listing(request.method(), request.uri());
    let is_blob = request.uri().path().split('/').filter(|part| !part.is_empty()).count() > 2;
    let fits = match fate {
        Fate::PageAgain | Fate::PageSkipped => is_listing,
        Fate::Short | Fate::Spoilt => *request.method() == Method::GET && is_blob,
        Fate::AnotherEtag => matches!(*request.method(), Method::HEAD | Method::GET) && is_blob,
        _ => true,
    };
    if fits { fate } else { Fate::Pass }
}

/// A page of a listing as the fate has it: the one before, or the one after.
async fn listed(fate: Fate, target: &Uri, page: Answer, state: &State) -> Result<Answer, Broken> {
    let prefix = target.query().unwrap_or_default().split('&').find(|pair| pair.starts_with("prefix="));
    let key = format!("{}?{}", target.path(), prefix.unwrap_or_default());
    let before = state.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(key, page.clone());
    let next = std::str::from_utf8(&page.1).ok().and_then(|text| {
        let (_, rest) = text.split_once("<NextMarker>")?;
        rest.split_once("</NextMarker>")
            .map(|(marker, _)| marker.to_owned())
            .filter(|marker| !marker.is_empty())
    });
    match (fate, before, next) {
        (Fate::PageAgain, Some(before), _) => Ok(before),
        (Fate::PageSkipped, _, Some(marker)) => {
            let query =
                target.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("marker="));
            let query: Vec<_> = query.collect();
            let names = state.names_on_a_page.load(Ordering::SeqCst).max(1);
            let query = format!("{}&marker={marker}&maxresults={names}", query.join("&"));
            let uri = format!("http://{}{}?{query}", state.target, target.path());
            let request = Request::get(uri.parse::<Uri>()?).body(Full::default())?;
            let (head, body) = state.client.request(request).await?.into_parts();
            Ok((head, body.collect().await?.to_bytes()))
        }
        _ => Ok(page),
    }
}

fn refused(request: &Request<Incoming>, state: &State) -> Option<Response<Body>> {
    let refusals = state.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    let path = request.uri().path();
    let is_below = |refusal: &&Refusal| {
        path.strip_prefix(refusal.path.as_str())
            .is_some_and(|rest| refusal.path == "/" || rest.is_empty() || rest.starts_with('/'))
    };
    let refusal = refusals.iter().find(is_below)?;
    Some(told(refusal.status, &refusal.code, &refusal.detail, *request.method() == Method::HEAD))
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

async fn forward(request: Request<Incoming>, state: &State) -> Result<Answer, Broken> {
    let is_listing = is_listing(request.method(), request.uri());
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let names = state.names_on_a_page.load(Ordering::SeqCst);
    let cut = if is_listing && names > 0 { format!("&maxresults={names}") } else { String::new() };
    head.uri = format!("http://{}{path}{cut}", state.target).parse::<Uri>()?;
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
        (faults.forbidden, Fate::Forbidden),
        (faults.throttled, Fate::Throttled),
        (faults.busy_for_a_day, Fate::BusyForADay),
        (faults.short, Fate::Short),
        (faults.spoilt, Fate::Spoilt),
        (faults.another_etag, Fate::AnotherEtag),
        (faults.page_again, Fate::PageAgain),
        (faults.page_skipped, Fate::PageSkipped),
    ] {
        if roll < share {
            return fate;
        }
        roll -= share;
    }
    Fate::Pass
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    told(status, code, "", false)
}

/// An answer of the service: with its code in a header and in the body, unless it has none.
fn told(status: u16, code: &str, detail: &str, is_head: bool) -> Response<Body> {
    let mut response = Response::builder().status(status).header("x-ms-request-id", "ordered");
    let mut body = String::new();
    if !code.is_empty() {
        response = response.header("x-ms-error-code", code);
        body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>ordered</Message><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        );
    }
    if is_head {
        body.clear();
    }
    response.body(Full::new(Bytes::from(body)).map_err(never).boxed_unsync()).expect("a sound response")
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::Busy => "503",
            Self::Broken => "500",
            Self::Silent => "never answered",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Cut => "reset in mid-body",
            Self::Unauthorized => "401",
            Self::Forbidden => "403",
            Self::Throttled => "429",
            Self::BusyForADay => "503 with Retry-After of a day",
            Self::Short => "half a body, its length said to be right",
            Self::Spoilt => "bytes that are not those of their MD5",
            Self::AnotherEtag => "another ETag",
            Self::PageAgain => "page of a listing repeated",
            Self::PageSkipped => "page of a listing skipped",
        }
    }
}

fn never(infallible: Infallible) -> std::io::Error {
    match infallible {}
}
