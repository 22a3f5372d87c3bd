//! What may become of a request, and the chance that decides it.

use hyper::body::Incoming;
use hyper::{Method, Request};
use rand::RngExt;
use rand::rngs::StdRng;

use super::serve::is_listing;

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
pub(super) enum Fate {
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

/// The next fate of a sequence.
pub(super) fn next(faults: &Faults, chance: &mut StdRng) -> Fate {
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

/// Only what the fault can be told by: bodies of blobs, versions of blobs, pages.
pub(super) fn fitting(fate: Fate, request: &Request<Incoming>) -> Fate {
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

impl Fate {
    pub(super) const fn as_str(self) -> &'static str {
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
