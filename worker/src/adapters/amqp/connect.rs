//! One connection, TCP or TLS, to one broker of the cluster, and what its errors mean.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_rs::Runtime;
use lapin::options::ConfirmSelectOptions;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ErrorKind};
use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};
use rand::seq::SliceRandom;

use super::options::RabbitOptions;
use super::wire::{self, Kit, Trust, Wire};

/// A dead peer is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 20;

/// TCP, TLS and the AMQP handshake together, with one broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// TCP alone, where there is another address to try: a machine that is gone says nothing, for minutes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a broker may take to open channels and consumers. One that lost its cluster accepts clients and never answers.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// A broker at one of its addresses.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Names the host by which its certificate is judged.
    pub uri: AMQPUri,
    at: SocketAddr,
    /// How long it may take to answer at all.
    patience: Duration,
}

/// The address, checked. Its text is not quoted in errors: it holds a password.
pub(super) fn address(options: &RabbitOptions) -> Result<AMQPUri, JobError> {
    let mut uri: AMQPUri = options.url.parse().map_err(|_| {
        JobError::new(
            Stage::Start,
            ErrorCode::SettingsInvalid,
            "the broker's address is amqp[s]://user:password@host:port/vhost",
        )
    })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// The virtual host that the address names.
pub fn virtual_host(options: &RabbitOptions) -> Result<String, JobError> {
    address(options).map(|uri| uri.vhost)
}

/// The address with each host of the cluster in it.
fn addresses(options: &RabbitOptions) -> Result<Vec<AMQPUri>, JobError> {
    let first = address(options)?;
    let mut all = vec![first.clone()];
    for host in &options.more_hosts {
        // Its own parser knows the port that goes with the scheme, and brackets.
        let other: AMQPUri = format!("{}://{host}", first.scheme).parse().map_err(|_| {
            JobError::new(
                Stage::Start,
                ErrorCode::SettingsInvalid,
                format!("a further host of the broker is host or host:port, not {host:?}"),
            )
        })?;
        let mut uri = first.clone();
        uri.authority.host = other.authority.host;
        uri.authority.port = other.authority.port;
        all.push(uri);
    }
    Ok(all)
}

/// `host:port` of every broker that the settings name, for errors.
pub fn hosts(options: &RabbitOptions) -> String {
    let mut hosts = Vec::new();
    for AMQPUri { authority, .. } in addresses(options).unwrap_or_default() {
        hosts.push(format!("{}:{}", authority.host, authority.port));
    }
    hosts.join(", ")
}

/// Where brokers are to be found: every host of the settings, and every address that its name has, in random order, so
/// that a fleet spreads over the cluster and no machine that is gone stands before the others for good.
pub(super) async fn places(options: &RabbitOptions) -> Result<Vec<Place>, JobError> {
    let mut found = Vec::new();
    let mut failed = None;
    for uri in addresses(options)? {
        let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
        match tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await {
            Ok(addresses) => {
                found.extend(addresses.map(|at| Place { uri: uri.clone(), at, patience: DIAL_TIMEOUT }));
            }
            Err(error) => {
                let error =
                    unavailable(format!("the broker's host {host}:{port} has no address")).with_source(error);
                failed = Some(worse(failed, error));
            }
        }
    }
    found.sort_by_key(|place| place.at);
    found.dedup_by_key(|place| place.at);
    if let [only] = found.as_mut_slice() {
        only.patience = CONNECT_TIMEOUT;
    }
    found.shuffle(&mut rand::rng());
    match (found.is_empty(), failed) {
        (true, failed) => Err(failed.unwrap_or_else(|| unavailable("the broker's host has no address"))),
        (false, failed) => {
            if let Some(error) = failed {
                tracing::warn!(%error, "a broker is passed over");
            }
            Ok(found)
        }
    }
}

/// Of what several brokers answered the one to go by, the other told: a refusal is the cluster's only when all refuse.
pub(super) fn worse(before: Option<JobError>, error: JobError) -> JobError {
    let Some(before) = before else { return error };
    let (kept, passed) =
        if error.code == ErrorCode::BrokerRejected { (before, error) } else { (error, before) };
    tracing::warn!(error = %passed, "a broker is passed over");
    kept
}

impl Place {
    /// Whom it is, for errors.
    pub fn host(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    /// A stream to it, with TLS where its scheme says so.
    pub async fn dial(&self, trust: &Trust) -> io::Result<Wire> {
        let connected = tokio::time::timeout(self.patience, wire::connect(self.at)).await;
        let plain = connected.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nobody answers"))??;
        match self.uri.scheme {
            AMQPScheme::AMQP => Ok(wire::plain(plain)),
            AMQPScheme::AMQPS => wire::secured(plain, &self.uri.authority.host, trust).await,
        }
    }
}

pub(super) fn trust(options: &RabbitOptions) -> Trust {
    Trust::new(options.ca_pem.clone())
}

/// `purpose` tells the two connections of a worker apart in the broker's list.
pub(super) async fn connect(options: &RabbitOptions, purpose: &str) -> Result<Connection, JobError> {
    let name = format!("{} {purpose}", options.connection_name);
    let mut failed = None;
    for place in places(options).await.map_err(|error| error.at_stage(Stage::Start))? {
        match connect_at(place, trust(options), name.clone()).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = Some(worse(failed, error.at_stage(Stage::Start))),
        }
    }
    Err(failed.unwrap_or_else(|| unavailable("no broker is named")))
}

async fn connect_at(place: Place, trust: Trust, name: String) -> Result<Connection, JobError> {
    let host = place.host();
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let uri = place.uri.clone();
    let dial = async move |_: AMQPUri, _: Runtime<Kit>| Ok(AsyncTcpStream::Plain(place.dial(&trust).await?));
    let connecting = Connection::connector(uri, wire::runtime(), dial, properties);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => {
            connected.map_err(|error| classified(&format!("cannot connect to the broker at {host}"), error))
        }
        Err(_) => Err(unavailable(format!("the broker at {host} did not answer in time"))),
    }
}

/// What the broker does not open in time it may open elsewhere in its cluster, where the next session may be.
pub(super) async fn in_time<T>(
    what: &str,
    opening: impl Future<Output = Result<T, JobError>>,
) -> Result<T, JobError> {
    match tokio::time::timeout(OPENING_PATIENCE, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unavailable(format!("the broker did not open its {what} in time"))),
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Settle, ErrorCode::BrokerUnavailable, message)
}

/// A channel on which every message is confirmed.
pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, JobError> {
    let channel = connection.create_channel().await.map_err(no_channel_for_publishing)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(no_channel_for_publishing)?;
    Ok(channel)
}

pub(super) fn no_channel_for_publishing(error: lapin::Error) -> JobError {
    classified("the broker opens no channel for publishing", error)
}

/// What the broker refuses (login, missing queue, other arguments) is not cured by connecting again; all else is.
pub(super) fn classified(what: &str, error: lapin::Error) -> JobError {
    let refusal = match error.kind() {
        ErrorKind::ProtocolError(refusal) if matches!(refusal.get_id(), 402..=406 | 530) => {
            Some(refusal.get_message().to_string())
        }
        _ => None,
    };
    match refusal {
        // A connection too many is one of a moment: others end.
        Some(said) if said.contains("limit") => unavailable(format!("{what}: {said}")),
        Some(said) => JobError::new(Stage::Settle, ErrorCode::BrokerRejected, format!("{what}: {said}")),
        None => unavailable(what),
    }
    .with_source(error)
}

/// A refusal that may pass: once a session has stood, the broker's state is in flux rather than wrong.
pub(super) fn forgiving(error: JobError) -> JobError {
    error.with_class(ErrorClass::Transient)
}
