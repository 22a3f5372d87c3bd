//! How to reach the broker.

use std::fmt;
use std::time::Duration;

use nightread_domain::lanes::PermitShares;
use nightread_domain::{Lane, PerLane};

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
    /// Jobs the worker may have in flight; the lanes share them.
    pub permits: usize,
    /// The lanes to take from; empty: all.
    pub lanes: Vec<Lane>,
    /// Takes the results that are to be sent to archives, and no lane.
    pub deliveries: bool,
    /// Shares of the permits.
    pub weights: PerLane<u64>,
    /// No more of the lane `volumes` in hand than this, where the shares allow more.
    pub most_volumes: Option<usize>,
    /// The longest wait between two tries to connect.
    pub longest_backoff: Duration,
    /// How long the broker lets a delivery of a lane be unacknowledged: its `consumer_timeout`, or what a policy gives the queue.
    /// What cannot be settled is recorded before half of it.
    pub consumer_timeout: PerLane<Duration>,
}

impl RabbitOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            more_hosts: Vec::new(),
            ca_pem: None,
            connection_name: "nightread".to_owned(),
            permits: 8,
            lanes: Vec::new(),
            deliveries: false,
            weights: PerLane { ingest: 6, bulk: 3, volumes: 1 },
            most_volumes: None,
            longest_backoff: Duration::from_secs(15),
            consumer_timeout: PerLane::from_fn(|_| Duration::from_mins(30)),
        }
    }

    /// Who gets the next permit.
    pub(super) fn shares(&self) -> PermitShares {
        PermitShares::new(self.permits, self.weights).with_volumes(self.most_volumes.unwrap_or(usize::MAX))
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
