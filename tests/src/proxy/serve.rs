//! One request on its way through the proxy.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST};
use hyper::http::HeaderValue;
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, Uri};

use super::State;
use super::fate::{self, Fate, fitting};
use super::refusal::refusal;

pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Broken = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Answer = (Parts, Bytes);

/// An error here makes hyper drop the connection, which is what a reset looks like from outside.
pub(super) async fn serve(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Broken> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    *state.by_path.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += 1;
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

pub(super) fn is_listing(method: &Method, target: &Uri) -> bool {
    *method == Method::GET && target.query().is_some_and(|query| query.contains("comp=list"))
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
    refusals.iter().find_map(|refusal| refusal.of(request))
}

async fn pass_gates(request: &Request<Incoming>, state: &State) {
    let gates = state.gates.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for gate in gates {
        gate.pass(request).await;
    }
}

fn fate(state: &State) -> Fate {
    if state.outage.load(Ordering::SeqCst) {
        return Fate::ResetBefore;
    }
    let (faults, chance) = &mut *state.faults.lock().unwrap_or_else(PoisonError::into_inner);
    fate::next(faults, chance)
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

pub(super) fn never(infallible: Infallible) -> std::io::Error {
    match infallible {}
}
