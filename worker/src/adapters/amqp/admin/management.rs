//! Counts of messages from the management plug-in. AMQP tells only what is ready, so that a queue whose messages are all
//! being worked on would look empty, and a fleet would be sent home in the middle of its work.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::adapters::tls;

/// The plug-in answers from memory.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A queue that was just declared, or whose broker just started, has no counts for some seconds.
const TRIES: u32 = 12;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// One queue as the plug-in counts it; up to five seconds old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCount {
    pub ready: u64,
    /// Handed out and not yet settled.
    pub unacknowledged: u64,
    pub consumers: u64,
}

impl QueueCount {
    pub fn messages(self) -> u64 {
        self.ready + self.unacknowledged
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    name: String,
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
    consumers: Option<u64>,
}

/// The plug-in of one broker.
pub struct Management {
    client: Client,
    /// `.../api`, with user and password; never shown.
    api: Url,
    virtual_host: String,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("host", &self.api.host_str()).finish_non_exhaustive()
    }
}

impl Management {
    /// `url` is `http[s]://user:password@host:port`, `virtual_host` the one that the AMQP address names. Contacts nobody.
    pub fn new(url: &str, virtual_host: &str, ca_pem: Option<&str>) -> Result<Self, JobError> {
        let invalid = |what: &str| JobError::new(Stage::Start, ErrorCode::SettingsInvalid, what);
        // The parser's words would quote the password.
        let mut api = Url::parse(url).map_err(|_| {
            invalid("[backlog] management_url: http[s]://user:password@host:port is expected")
        })?;
        api.path_segments_mut()
            .map_err(|()| invalid("[backlog] management_url: http[s]://user:password@host:port is expected"))?
            .pop_if_empty()
            .push("api");
        let own = tls::certificates(ca_pem.unwrap_or_default())
            .map_err(|_| invalid("[broker] ca_file: PEM certificates are expected"))?;
        let client = tls::client_trusting(own, Client::builder().timeout(TIMEOUT).no_proxy())?;
        Ok(Self { client, api, virtual_host: virtual_host.to_owned() })
    }

    /// Counts of these queues. Waits while one has none yet; `broker_rejected` when one is missing or the login is refused.
    pub async fn counts(&self, names: &[String]) -> Result<BTreeMap<String, QueueCount>, JobError> {
        let mut tries = 1;
        loop {
            let answers: Vec<Answer> =
                self.ask("queues", "name,messages_ready,messages_unacknowledged,consumers").await?;
            match counted(names, &answers)? {
                Some(counts) => return Ok(counts),
                None if tries < TRIES => tokio::time::sleep(BETWEEN_TRIES).await,
                None => return Err(away("the broker has no counts of its queues yet")),
            }
            tries += 1;
        }
    }

    /// All there is of a kind in the virtual host.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        kind: &str,
        columns: &str,
    ) -> Result<Vec<T>, JobError> {
        let url = self.address(kind, columns)?;
        // Its errors name the address, and the address holds the password.
        let sent = self.client.get(url).send().await.map_err(reqwest::Error::without_url);
        let response = sent.map_err(|error| {
            away(format!("the management plug-in{} does not answer", self.place())).with_source(error)
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(JobError::new(
                    Stage::Report,
                    ErrorCode::BrokerRejected,
                    format!(
                        "the management plug-in says {}: is it this user's virtual host?",
                        response.status()
                    ),
                ));
            }
            other => return Err(away(format!("the management plug-in says {other}"))),
        }
        let body = response.bytes().await.map_err(reqwest::Error::without_url);
        let body =
            body.map_err(|error| away("the management plug-in stopped answering").with_source(error))?;
        serde_json::from_slice(&body)
            .map_err(|error| away("the management plug-in's answer is not a list").with_source(error))
    }
}

impl Management {
    /// ` at host:port`, of an address that must not be shown.
    fn place(&self) -> String {
        let (host, port) = (self.api.host_str(), self.api.port_or_known_default());
        host.zip(port).map_or_else(String::new, |(host, port)| format!(" at {host}:{port}"))
    }

    fn address(&self, kind: &str, columns: &str) -> Result<Url, JobError> {
        let mut url = self.api.clone();
        url.path_segments_mut()
            .map_err(|()| away("the management plug-in has no base address"))?
            .extend([kind, &self.virtual_host]);
        url.query_pairs_mut().append_pair("columns", columns);
        Ok(url)
    }
}

fn counted(names: &[String], answers: &[Answer]) -> Result<Option<BTreeMap<String, QueueCount>>, JobError> {
    let mut counts = BTreeMap::new();
    for name in names {
        let Some(answer) = answers.iter().find(|answer| answer.name == *name) else {
            return Err(JobError::new(
                Stage::Report,
                ErrorCode::BrokerRejected,
                format!("the broker lacks queue {name}; `nightread topology` declares it"),
            ));
        };
        let (Some(ready), Some(unacknowledged)) = (answer.messages_ready, answer.messages_unacknowledged)
        else {
            return Ok(None);
        };
        let consumers = answer.consumers.unwrap_or_default();
        counts.insert(name.clone(), QueueCount { ready, unacknowledged, consumers });
    }
    Ok(Some(counts))
}

fn away(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::BrokerUnavailable, message).with_class(ErrorClass::Transient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_counts_is_not_an_empty_queue() {
        let names = ["a".to_owned(), "b".to_owned()];
        let parse = |text: &str| serde_json::from_str::<Vec<Answer>>(text).expect("answers");
        let early = parse(r#"[{"name":"a","messages_ready":1,"messages_unacknowledged":2},{"name":"b"}]"#);
        assert_eq!(counted(&names, &early).expect("both are there"), None);
        let missing = parse(r#"[{"name":"a","messages_ready":1,"messages_unacknowledged":2}]"#);
        assert_eq!(counted(&names, &missing).expect_err("b is missing").code, ErrorCode::BrokerRejected);
        let there = counted(&names[..1], &missing).expect("a is there").expect("counted");
        assert_eq!(there["a"], QueueCount { ready: 1, unacknowledged: 2, consumers: 0 });
    }

    #[test]
    fn the_address_is_built_of_segments_and_never_shown() {
        let management = Management::new("https://monitor:HUSH@host:15671/", "/", None).expect("an address");
        let address = management.address("queues", "name").expect("an address");
        assert_eq!((address.path(), address.query()), ("/api/queues/%2F", Some("columns=name")));
        assert!(!format!("{management:?}").contains("HUSH"));
        let error = Management::new("https//HUSH", "/", None).expect_err("no address");
        assert!(!format!("{error:?}").contains("HUSH"));
    }
}
