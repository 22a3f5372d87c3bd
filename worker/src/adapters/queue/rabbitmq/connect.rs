//! One connection, TCP or TLS, and what its errors mean.

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, DefaultConnectionBuilder, ErrorKind};
use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};

use super::RabbitOptions;
use crate::adapters::tls;

/// A dead peer is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 20;

/// TCP, TLS and the AMQP handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

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
    uri.query.connection_timeout.get_or_insert(CONNECT_TIMEOUT.as_millis() as u64);
    Ok(uri)
}

pub(super) fn tls_config(options: &RabbitOptions) -> OwnedTLSConfig {
    tls::install_provider();
    OwnedTLSConfig { identity: None, cert_chain: options.ca_pem.clone() }
}

/// Whom an address names, for errors.
pub(super) fn place(uri: &AMQPUri) -> String {
    format!("{}:{}", uri.authority.host, uri.authority.port)
}

/// `purpose` tells the two connections of a worker apart in the broker's list.
pub(super) async fn connect(options: &RabbitOptions, purpose: &str) -> Result<Connection, JobError> {
    let name = format!("{} {purpose}", options.connection_name);
    let uri = address(options)?;
    let host = place(&uri);
    let at_start = |error: JobError| error.at_stage(Stage::Start);
    let builder = DefaultConnectionBuilder::new()
        .map_err(|error| at_start(classified("no runtime for the broker's connection", error)))?
        .with_uri(uri)
        .with_tls_config(tls_config(options))
        .with_properties(ConnectionProperties::default().with_connection_name(name.into()));
    match tokio::time::timeout(CONNECT_TIMEOUT, builder.connect()).await {
        Ok(connected) => connected
            .map_err(|error| at_start(classified(&format!("cannot connect to the broker at {host}"), error))),
        Err(_) => Err(at_start(unavailable(format!("the broker at {host} did not answer in time")))),
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Settle, ErrorCode::BrokerUnavailable, message)
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
