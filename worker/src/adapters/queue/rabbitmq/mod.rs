//! RabbitMQ. The session loop is owned here: connect, declare nothing, consume; on any error drop everything, back
//! off, begin again. Nothing of a client library's recovery is trusted with acknowledgements.

mod audit;
mod backoff;
mod bulk;
mod connect;
mod courier;
mod dead;
mod death;
mod intake;
pub(crate) mod lanes;
mod management;
mod outbox;
mod properties;
mod publisher;
mod reports;
mod results;
mod rights;
mod session;
mod settlement;
pub mod topology;
mod version;

use std::fmt;
use std::time::Duration;

use nightread_domain::JobError;

pub use self::bulk::{BulkLink, Sent};
pub use self::courier::Courier;
pub use self::dead::{DeadLetter, DeadLetters, Swept, Verdict};
pub use self::intake::{RabbitIntake, SessionWatcher};
pub use self::management::{Management, QueueCount};
pub use self::outbox::Outbox;
pub use self::publisher::Publisher;
pub use self::reports::{Report, recent_reports};
pub use self::results::{ResultData, ResultEvent};
pub use self::rights::Rights;
pub use self::version::BrokerVersion;

/// How to reach the broker, and how much to take from it.
#[derive(Clone)]
pub struct RabbitOptions {
    /// `amqps://user:password@host:5671/vhost`; holds a secret.
    pub url: String,
    /// Further brokers of the cluster, `host` or `host:port`: reached as the address says, and tried in turn with its host.
    pub more_hosts: Vec<String>,
    /// Certificate authority of the broker, PEM, beside the system's own.
    pub ca_pem: Option<String>,
    /// Shown in the broker's connection list.
    pub connection_name: String,
    /// Jobs the worker may have in hand; the lanes share them.
    pub permits: usize,
    /// Shares of ingest, bulk and fmri.
    pub weights: [u64; 3],
    /// The longest wait between two tries to connect.
    pub longest_backoff: Duration,
    /// How long the broker lets a delivery be unacknowledged (`consumer_timeout`). What cannot be settled is recorded before
    /// half of it.
    pub consumer_timeout: Duration,
}

impl RabbitOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            more_hosts: Vec::new(),
            ca_pem: None,
            connection_name: "nightread".to_owned(),
            permits: 8,
            weights: [6, 3, 1],
            longest_backoff: Duration::from_secs(15),
            consumer_timeout: Duration::from_mins(30),
        }
    }
}

impl RabbitOptions {
    /// The virtual host that the address names.
    pub fn virtual_host(&self) -> Result<String, JobError> {
        connect::address(self).map(|uri| uri.vhost)
    }

    /// `host:port` of every broker that is named, for errors.
    pub fn hosts(&self) -> String {
        connect::hosts(self)
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("url", &"[redacted]")
            .field("connection_name", &self.connection_name)
            .field("permits", &self.permits)
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

/// Whether a session with the broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Down,
    /// Without consumers: at its start, or during a pause.
    Up,
    /// With a consumer on every queue.
    Consuming,
}

impl SessionState {
    pub fn is_up(self) -> bool {
        self != Self::Down
    }
}
