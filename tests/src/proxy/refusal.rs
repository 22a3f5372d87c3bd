//! Answers that refuse, as the service words them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};

use super::ACCOUNT;
use super::serve::{Body, never};

/// Whatever goes to paths that begin so is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    path: String,
    status: u16,
    code: String,
    detail: String,
}

impl Refusal {
    /// Of this container, or of the whole account.
    pub(super) fn new(container: Option<&str>, status: u16, code: &str, detail: &str) -> Self {
        let path = container.map_or_else(|| "/".to_owned(), |name| format!("/{ACCOUNT}/{name}"));
        Self { path, status, code: code.to_owned(), detail: detail.to_owned() }
    }

    /// The answer to a request that it is for.
    pub(super) fn of(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let rest = request.uri().path().strip_prefix(self.path.as_str())?;
        let is_below = self.path == "/" || rest.is_empty() || rest.starts_with('/');
        is_below.then(|| told(self.status, &self.code, &self.detail, *request.method() == Method::HEAD))
    }
}

/// An answer with a code and no more.
pub(super) fn refusal(status: u16, code: &str) -> Response<Body> {
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
