//! A scripted archive with DICOMweb: it stores, and keeps count of what it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::server::{Answer, Asked, ScriptedServer};

/// What an archive does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Keeps it, and says so.
    Stores,
    /// Answers with this status and nothing else.
    Says(u16),
    /// Answers with this HTTP status and this failure reason for each object.
    Fails(u16, u16),
    /// Says that all is well, and names nothing.
    Forgets,
    /// Answers too late.
    Hangs,
}

#[derive(Debug, Default)]
struct Kept {
    /// How often each instance came, by its UID.
    instances: BTreeMap<String, usize>,
    /// The last body.
    last: String,
    posts: usize,
}

/// The archive, on a free port; gone when it is dropped.
#[derive(Debug)]
pub struct WebArchive {
    server: ScriptedServer,
    way: Arc<Mutex<Way>>,
    kept: Arc<Mutex<Kept>>,
}

impl WebArchive {
    pub async fn start(way: Way) -> Self {
        let (way, kept) = (Arc::new(Mutex::new(way)), Arc::new(Mutex::new(Kept::default())));
        let (shown, noted) = (Arc::clone(&way), Arc::clone(&kept));
        let server = ScriptedServer::start(move |asked| {
            let way = *shown.lock().unwrap_or_else(PoisonError::into_inner);
            answer(way, asked, &mut noted.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await;
        Self { server, way, kept }
    }

    /// One that says that it stores, and keeps nothing.
    pub async fn forgetful() -> Self {
        let server =
            ScriptedServer::forgetful(|asked| answer(Way::Stores, asked, &mut Kept::default())).await;
        Self { server, way: Arc::new(Mutex::new(Way::Stores)), kept: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("{}/dicom-web", self.server.url())
    }

    /// From now on.
    pub fn does(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Distinct instances that it has.
    pub fn instances(&self) -> usize {
        self.kept().instances.len()
    }

    /// How often it was sent something.
    pub fn posts(&self) -> usize {
        self.kept().posts
    }

    /// The last thing that it was sent, as text.
    pub fn last(&self) -> String {
        self.kept().last.clone()
    }
}

fn answer(way: Way, asked: &Asked, kept: &mut Kept) -> Answer {
    if asked.method != "POST" {
        return match way {
            Way::Says(status) => Answer::new(status, ""),
            _ => Answer::new(200, "[]"),
        };
    }
    kept.posts += 1;
    kept.last.clone_from(&asked.body);
    let names = instances(&asked.body);
    match way {
        Way::Stores => {
            for name in &names {
                *kept.instances.entry(name.clone()).or_default() += 1;
            }
            Answer::new(200, referenced("00081199", &names, None).to_string())
        }
        Way::Says(status) => Answer::new(status, ""),
        Way::Fails(status, reason) => {
            Answer::new(status, referenced("00081198", &names, Some(reason)).to_string())
        }
        Way::Forgets => Answer::new(200, "{}"),
        Way::Hangs => Answer { after: Duration::from_secs(30), ..Answer::new(200, "{}") },
    }
}

fn referenced(tag: &str, names: &[String], reason: Option<u16>) -> Value {
    let items = names.iter().map(|name| {
        let mut item = json!({"00081155": {"vr": "UI", "Value": [name]}});
        if let Some(reason) = reason {
            item["00081197"] = json!({"vr": "US", "Value": [reason]});
        }
        item
    });
    json!({ tag: {"vr": "SQ", "Value": items.collect::<Vec<_>>()} })
}

/// The SOP Instance UIDs of the files in a body, which are in explicit VR little endian.
pub fn instances(body: &str) -> Vec<String> {
    let found = body.split("\u{8}\0\u{18}\0UI").skip(1);
    found.map(|rest| rest.chars().skip(2).take_while(|c| c.is_ascii_digit() || *c == '.').collect()).collect()
}

/// A port of this machine that speaks TLS, and hands on to `to` what it hears. It listens as long as the test runs.
pub async fn secured(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    to: SocketAddr,
) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut secured) = acceptor.accept(stream).await else { return };
                let Ok(mut behind) = TcpStream::connect(to).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut secured, &mut behind).await;
            });
        }
    });
    port
}
