//! Prometheus remote write 1.0: what `/metrics` tells, sent to a receiver that cannot scrape us. An Azure Monitor workspace takes it
//! with a token of our identity.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::http::Transport;
use nightread_domain::{ErrorCode, JobError, Stage};
use prost::Message;
use reqwest::{Client, Response, StatusCode};

use crate::adapters::storage::azure::identity;
use crate::adapters::tls;
use crate::settings::WriteSettings;

/// A minute's figures are of no use in the next minute.
const TIMEOUT: Duration = Duration::from_secs(10);

/// As much of an answer as an error quotes.
const MAX_SAID: usize = 200;

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// The receiver.
pub struct RemoteWrite {
    client: Client,
    url: String,
    /// Who we are there, and the scope of the token.
    identity: Option<(Arc<dyn TokenCredential>, String)>,
    /// `job` and `instance`, which a scraper would add.
    target: [Label; 2],
}

impl fmt::Debug for RemoteWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWrite").field("url", &self.url).finish_non_exhaustive()
    }
}

impl RemoteWrite {
    /// Contacts nobody yet. `client_id` names a user-assigned managed identity.
    ///
    /// # Errors
    /// `settings_invalid` when no client or no identity can be made.
    pub fn new(
        settings: &WriteSettings,
        client_id: Option<&str>,
        job: &str,
        instance: &str,
    ) -> Result<Self, JobError> {
        let client = tls::client(Client::builder().timeout(TIMEOUT))?;
        let identity = match &settings.audience {
            Some(audience) => {
                let chain = identity::chain(client_id, &Transport::new(Arc::new(client.clone())))?;
                Some((chain as Arc<dyn TokenCredential>, format!("{audience}/.default")))
            }
            None => None,
        };
        let target = [label("instance", instance), label("job", job)];
        Ok(Self { client, url: settings.url.clone(), identity, target })
    }

    /// Sends every sample of a text in Prometheus' format, as of `at` in milliseconds since 1970, and `up` beside them.
    ///
    /// # Errors
    /// `metrics_unavailable` when the receiver is away, `metrics_rejected` when it does not take them.
    pub async fn write(&self, text: &str, at: i64) -> Result<(), JobError> {
        let answer = self.post(&request(text, at, &self.target)).await?;
        if answer.status().is_success() { Ok(()) } else { Err(refusal(answer).await) }
    }

    /// The status with which the receiver answers to a write of nothing, in which no metric comes into being. That it wants at
    /// least one is no refusal: it has let us in by then.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn answers(&self) -> Result<u16, JobError> {
        let answer = self.post(&WriteRequest::default()).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::BAD_REQUEST {
            return Ok(status.as_u16());
        }
        Err(refusal(answer).await)
    }

    async fn post(&self, request: &WriteRequest) -> Result<Response, JobError> {
        let body = compressed(request)?;
        let mut post = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0");
        if let Some((identity, scope)) = &self.identity {
            let token = identity.get_token(&[scope.as_str()], None).await.map_err(|error| {
                unavailable("no identity here gives a token for the receiver of metrics").with_source(error)
            })?;
            post = post.bearer_auth(token.token.secret());
        }
        post.body(body).send().await.map_err(|error| {
            unavailable("the receiver of metrics does not answer").with_source(error.without_url())
        })
    }
}

/// What an answer means that is no success.
async fn refusal(answer: Response) -> JobError {
    let status = answer.status();
    let said: String = answer.text().await.unwrap_or_default().chars().take(MAX_SAID).collect();
    let transient = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if transient {
        return unavailable(format!("the receiver of metrics says {status}"));
    }
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; the identity needs the role Monitoring Metrics Publisher on the data collection rule"
        }
        _ => "",
    };
    let message = format!("the receiver of metrics says {status}{hint}: {said}");
    JobError::new(Stage::Report, ErrorCode::MetricsRejected, message)
}

fn unavailable(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::MetricsUnavailable, message)
}

fn compressed(request: &WriteRequest) -> Result<Vec<u8>, JobError> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).map_err(|error| {
        JobError::new(Stage::Report, ErrorCode::Internal, "metrics do not compress").with_source(error)
    })
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn request(text: &str, at: i64, target: &[Label; 2]) -> WriteRequest {
    let up = (vec![label("__name__", "up")], 1.0);
    let told = text.lines().filter_map(sample).chain([up]);
    let timeseries = told.map(|(mut labels, value)| {
        labels.extend(target.iter().cloned());
        labels.sort();
        TimeSeries { labels, samples: vec![Sample { value, timestamp: at }] }
    });
    WriteRequest { timeseries: timeseries.collect() }
}

/// The labels, with the name among them, and the value of one line; `None` for comments and whatever else is no sample.
fn sample(line: &str) -> Option<(Vec<Label>, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let at = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(at);
    let mut labels = vec![label("__name__", name)];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push(Label { name: name.to_owned(), value });
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((labels, value))
}

/// The text up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# HELP nightread_jobs_total jobs\n# TYPE nightread_jobs_total counter\n\
        nightread_jobs_total{outcome=\"read\",model=\"a \\\"b\\\" \\\\ c\"} 3\n\nnightread_up 1\n\
        nightread_seconds_bucket{le=\"+Inf\"} 2\nnightread_share NaN\nno sample at all\n";

    fn target() -> [Label; 2] {
        [label("instance", "host:8080"), label("job", "nightread-run")]
    }

    #[test]
    fn every_sample_goes_with_its_labels_in_order_and_nothing_else() {
        let request = request(TEXT, 1_700_000_000_123, &target());
        let named = |series: &TimeSeries| -> Vec<String> {
            series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect()
        };
        let all: Vec<_> = request.timeseries.iter().map(named).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(
            all[0],
            [
                "__name__=nightread_jobs_total",
                "instance=host:8080",
                "job=nightread-run",
                "model=a \"b\" \\ c",
                "outcome=read"
            ]
        );
        assert_eq!(all[4], ["__name__=up", "instance=host:8080", "job=nightread-run"]);
        let samples: Vec<_> = request.timeseries.iter().map(|series| series.samples[0].value).collect();
        assert_eq!((samples[0], samples[1], samples[2], samples[4]), (3.0, 1.0, 2.0, 1.0));
        assert!(samples[3].is_nan());
        assert!(request.timeseries.iter().all(|series| series.samples[0].timestamp == 1_700_000_000_123));
    }

    /// The bytes of one series by the definition of the message, written by hand.
    #[test]
    fn the_message_is_that_of_prometheus() {
        let request = request("a 2\n", 5, &target());
        let bytes = request.encode_to_vec();
        let label = |name: &str, value: &str| {
            let mut inner = vec![0x0a, name.len() as u8];
            inner.extend(name.bytes());
            inner.extend([0x12, value.len() as u8]);
            inner.extend(value.bytes());
            [vec![0x0a, inner.len() as u8], inner].concat()
        };
        let mut series =
            [label("__name__", "a"), label("instance", "host:8080"), label("job", "nightread-run")].concat();
        series.extend([0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 5]);
        assert_eq!(bytes[..2], [0x0a, series.len() as u8]);
        assert_eq!(bytes[2..2 + series.len()], series);
        let packed = compressed(&request).expect("it compresses");
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&packed).expect("snappy"), bytes);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*") {
            request(&text, 0, &target());
        }

        #[test]
        fn any_value_of_a_label_comes_back(value in "\\PC{0,40}", number in any::<i32>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let (labels, read) = sample(&format!("m{{a=\"{escaped}\",b=\"\"}} {number}")).expect("a sample");
            prop_assert_eq!(&labels[1].value, &value);
            prop_assert_eq!((labels.len(), read), (3, f64::from(number)));
        }
    }
}
