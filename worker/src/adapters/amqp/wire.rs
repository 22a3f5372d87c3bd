//! The stream to a broker: TCP, and where the address asks for it TLS by the stack that every other client here uses. The
//! AMQP library's own would bring another, with readers of key stores that no setting can name.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures::{Stream, TryFutureExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::certificate;
use crate::adapters::tls;

/// A stream in both directions, whatever carries it.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Wire = Compat<Box<dyn Duplex>>;

fn wire(stream: impl Duplex + 'static) -> Wire {
    let stream: Box<dyn Duplex> = Box::new(stream);
    stream.compat()
}

/// Whose certificates are believed: the system's authorities, and these beside them.
#[derive(Clone)]
pub(super) struct Trust {
    ca_pem: Option<String>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("own_authority", &self.ca_pem.is_some()).finish()
    }
}

impl Trust {
    pub fn new(ca_pem: Option<String>) -> Self {
        Self { ca_pem }
    }

    fn config(&self) -> io::Result<ClientConfig> {
        let own = tls::certificates(self.ca_pem.as_deref().unwrap_or_default())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        tls::config(own).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// TCP.
pub(super) async fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The stream as it is.
pub(super) fn plain(stream: TcpStream) -> Wire {
    wire(stream)
}

/// TLS over it, with a peer that can prove to be `host`.
pub(super) async fn secured(stream: TcpStream, host: &str, trust: &Trust) -> io::Result<Wire> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let connector = TlsConnector::from(Arc::new(trust.config()?));
    let secured = connector.connect(name, stream).await?;
    if let Some(shown) = secured.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        certificate::shown(shown);
    }
    Ok(wire(secured))
}

/// Tokio, with these streams in place of its own.
pub(super) type Kit = RuntimeParts<Tokio, Streams>;

/// A runtime bound to the one that this is called in.
pub(super) fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Streams(Tokio::current())))
}

#[derive(Clone, Debug)]
pub(super) struct Streams(Tokio);

impl Reactor for Streams {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// The AMQP library asks for no socket but those that it is given.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        connect(address).map_ok(plain)
    }
}
