//! Custom metrics of Azure Monitor, about a resource that need not exist as a machine: the scale set's backlog is told by
//! the brokers, so that it is known also when there is no worker.
//!
//! The form is that of "Ingest custom metrics for an Azure resource using the REST API": one POST for each metric to
//! `https://<region>.monitoring.azure.com/<resource id>/metrics`, values aggregated by the sender.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::Transport;
use nightread_domain::{ErrorCode, JobError, Stage};
use reqwest::{Client, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::adapters::storage::azure::identity;
use crate::adapters::tls;
use crate::settings::MetricsSettings;

/// The audience is `https://monitoring.azure.com/`, with its slash; a scope is an audience and `/.default`.
pub const SCOPE: &str = "https://monitoring.azure.com//.default";

pub const NAMESPACE: &str = "nightread/queue";

const TIMEOUT: Duration = Duration::from_secs(8);
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A minute's value is of no use in the next minute.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// As much of an answer as an error quotes.
const MAX_SAID: usize = 200;

// Fields in the order of the documented example.
#[derive(Serialize)]
struct Document<'a> {
    time: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(rename = "baseData")]
    base_data: BaseData<'a>,
}

#[derive(Serialize)]
struct BaseData<'a> {
    metric: &'a str,
    namespace: &'a str,
    series: [Values; 1],
}

/// One sample: its own minimum, maximum and sum.
#[derive(Serialize)]
struct Values {
    min: f64,
    max: f64,
    sum: f64,
    count: u32,
}

/// The place where metrics of one resource go.
pub struct AzureMonitor {
    client: Client,
    url: String,
    identity: Arc<dyn TokenCredential>,
}

impl fmt::Debug for AzureMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureMonitor").field("url", &self.url).finish_non_exhaustive()
    }
}

impl AzureMonitor {
    /// Contacts nobody yet. `client_id` names a user-assigned managed identity.
    pub fn new(settings: &MetricsSettings, client_id: Option<&str>) -> Result<Self, JobError> {
        let client = tls::client(Client::builder().timeout(TIMEOUT))?;
        let identity = identity::chain(client_id, &Transport::new(Arc::new(client.clone())))?;
        let url = format!("{}{}/metrics", settings.endpoint, settings.resource_id);
        Ok(Self { client, url, identity })
    }

    /// The status with which the service answers when nothing is published, once the identity has a token for it.
    pub async fn answers(&self) -> Result<u16, JobError> {
        let answer = self.client.get(&self.url).send().await;
        let status = answer.map_err(is_away)?.status();
        self.token().await?;
        Ok(status.as_u16())
    }

    async fn token(&self) -> Result<AccessToken, JobError> {
        self.identity.get_token(&[SCOPE], None).await.map_err(|error| {
            unavailable("no identity here gives a token for Azure Monitor").with_source(error)
        })
    }

    /// Publishes each value as the one sample of its minute. Every metric is tried, whatever became of the others; the
    /// first failure is returned.
    pub async fn publish(&self, at: OffsetDateTime, metrics: &[(&str, f64)]) -> Result<(), JobError> {
        let token = self.token().await?;
        let mut failed = None;
        for (metric, value) in metrics {
            if let Err(error) = self.post(token.token.secret(), document(at, metric, *value)?).await {
                tracing::warn!(%error, metric, "a metric was not published");
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn post(&self, token: &str, body: String) -> Result<(), JobError> {
        let mut wait = FIRST_WAIT;
        for last in (0..TRIES).rev() {
            let (error, asked) = match self.post_once(token, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(tried) => tried,
            };
            if last == 0 || !error.is_transient() {
                return Err(error);
            }
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            tokio::time::sleep(asked.unwrap_or(jittered).min(LONGEST_WAIT)).await;
            wait *= 2;
        }
        Ok(())
    }

    /// The error, and how long the service asks to be left alone.
    async fn post_once(&self, token: &str, body: String) -> Result<(), (JobError, Option<Duration>)> {
        let request = self.client.post(&self.url).header("content-type", "application/json").body(body);
        let response = match request.bearer_auth(token).send().await {
            Ok(response) => response,
            Err(error) => return Err((is_away(error), None)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let said: String = response.text().await.unwrap_or_default().chars().take(MAX_SAID).collect();
        let transient = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        let error = if transient {
            unavailable(format!("Azure Monitor says {status}"))
        } else {
            let hint = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    "; the identity needs the role Monitoring Metrics Publisher on the scale set"
                }
                StatusCode::NOT_FOUND => "; is it the region of the scale set?",
                _ => "",
            };
            JobError::new(
                Stage::Report,
                ErrorCode::MetricsRejected,
                format!("Azure Monitor says {status}{hint}: {said}"),
            )
        };
        Err((error, asked.map(Duration::from_secs)))
    }
}

fn not_serialised(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, "a metric does not serialise").with_source(error)
}

fn document(at: OffsetDateTime, metric: &str, value: f64) -> Result<String, JobError> {
    let time = at
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .map_err(not_serialised)?;
    // Milliseconds are enough, and short.
    let value = (value * 1e3).round() / 1e3;
    let series = [Values { min: value, max: value, sum: value, count: 1 }];
    let data = Data { base_data: BaseData { metric, namespace: NAMESPACE, series } };
    serde_json::to_string(&Document { time: &time, data }).map_err(not_serialised)
}

fn is_away(error: reqwest::Error) -> JobError {
    let asked = error.url().and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    let place = asked.map_or_else(String::new, |(host, port)| format!(" at {host}:{port}"));
    unavailable(format!("Azure Monitor{place} does not answer")).with_source(error.without_url())
}

fn unavailable(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::MetricsUnavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_written_as_documented() {
        let at = OffsetDateTime::from_unix_timestamp(1_536_856_460).expect("a time");
        assert_eq!(
            document(at, "BacklogSecondsPerWorker", 12.345_678).expect("a document"),
            concat!(
                r#"{"time":"2018-09-13T16:34:20Z","data":{"baseData":{"metric":"BacklogSecondsPerWorker","#,
                r#""namespace":"nightread/queue","series":[{"min":12.346,"max":12.346,"sum":12.346,"count":1}]}}}"#
            )
        );
    }
}
