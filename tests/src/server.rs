//! An HTTP server that answers from a script and keeps what it was asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, rustls};

/// One request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// One answer, after a while.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub after: Duration,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), after: Duration::ZERO }
    }
}

/// Only a limit on hanging: a loaded machine is slow.
const ONE_ANSWER: Duration = Duration::from_secs(20);

type Script = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The server, on a free port; it ends when it is dropped.
pub struct ScriptedServer {
    /// Scheme and host.
    place: &'static str,
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedServer").field("port", &self.port).finish_non_exhaustive()
    }
}

impl ScriptedServer {
    pub async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, true, script).await
    }

    /// One that does not keep what it was asked: for many large requests.
    pub async fn forgetful(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, false, script).await
    }

    /// Over TLS, with this certificate and its key.
    pub async fn start_secured(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), true, script).await
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        keeps: bool,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let place = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), keeps.then(|| Arc::clone(&asked)));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (script, log, tls) = (Arc::clone(&script), log.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| serve(request, Arc::clone(&script), log.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            drop(http.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                });
            }
        });
        Self { place, port, asked, accepting }
    }

    pub fn url(&self) -> String {
        format!("{}:{}", self.place, self.port)
    }

    /// Everything so far, in the order in which it came.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of one method.
    pub fn asked_by(&self, method: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.method == method).collect()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The answer to a plain `GET` of `http://host:port/path`, head and body, if anybody answers.
pub async fn get(url: &str) -> Option<String> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let ask = async {
        let mut stream = TcpStream::connect(host).await.ok()?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    tokio::time::timeout(ONE_ANSWER, ask).await.ok().flatten()
}

async fn serve(
    request: Request<Incoming>,
    script: Arc<Script>,
    log: Option<Arc<Mutex<Vec<Asked>>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let asked =
        Asked { method: head.method.to_string(), path, headers: headers.collect(), body: text(&body) };
    let answer = script(&asked);
    if let Some(log) = log {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
    tokio::time::sleep(answer.after).await;
    let response = Response::builder().status(answer.status).header("retry-after", "0");
    Ok(response.body(Full::new(answer.body)).expect("a sound response"))
}
