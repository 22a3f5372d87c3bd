//! Where metrics are written to, for receivers that cannot scrape.

use std::time::Duration;

use super::keys;
use super::raw::{Problems, RawSettings};

/// A receiver of Prometheus remote write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteSettings {
    pub url: String,
    /// Of the token that is shown there; `None` for no token.
    pub audience: Option<String>,
    pub every: Duration,
}

pub(super) fn remote_write(raw: &RawSettings, problems: &mut Problems) -> Option<WriteSettings> {
    let seconds = raw.integer(keys::METRICS_WRITE_SECONDS).unwrap_or_default();
    if seconds == 0 {
        problems.add("[metrics] write_seconds: at least 1 is expected");
    }
    let url = raw.text(keys::METRICS_WRITE_URL)?;
    let audience = raw.text(keys::METRICS_WRITE_AUDIENCE).map(|text| text.trim_end_matches('/').to_owned());
    let host = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let is_secret = url.starts_with("https://");
    let is_http = is_secret || url.starts_with("http://");
    if !is_http || host.is_empty() || host.contains('@') {
        problems.add("[metrics] write_url: an http:// or https:// URL without a password is expected");
    } else if audience.is_some() && !is_secret {
        problems.add("[metrics] write_url: a token is shown by https:// alone");
    }
    Some(WriteSettings { url: url.to_owned(), audience, every: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (Option<WriteSettings>, String) {
        let mut problems = Problems::default();
        let known = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let raw = RawSettings::merge(None, &known, &[], &mut problems);
        let settings = remote_write(&raw, &mut problems);
        (settings, problems.to_string())
    }

    #[test]
    fn nothing_is_written_unless_it_is_said_where() {
        assert_eq!(of(&[]), (None, String::new()));
    }

    #[test]
    fn an_azure_monitor_workspace_is_named_by_its_url_and_audience() {
        let url = "https://dce-x.westeurope-1.metrics.ingest.monitor.azure.com/dataCollectionRules/dcr-1/streams/Microsoft-PrometheusMetrics/api/v1/write?api-version=2023-04-24";
        let variables = [
            ("NIGHTREAD_METRICS_WRITE_URL", url),
            ("NIGHTREAD_METRICS_WRITE_AUDIENCE", "https://monitor.azure.com/"),
        ];
        let audience = Some("https://monitor.azure.com".to_owned());
        let expected = WriteSettings { url: url.to_owned(), audience, every: Duration::from_mins(1) };
        assert_eq!(of(&variables), (Some(expected), String::new()));
    }

    #[test]
    fn a_token_never_goes_in_the_clear_and_no_password_is_part_of_a_url() {
        for (url, audience, said) in [
            ("http://receiver/api", "https://monitor.azure.com", "https:// alone"),
            ("https://user:word@receiver/api", "", "without a password"),
            ("ftp://receiver", "", "http:// or https://"),
            ("https://", "", "http:// or https://"),
        ] {
            let variables =
                [("NIGHTREAD_METRICS_WRITE_URL", url), ("NIGHTREAD_METRICS_WRITE_AUDIENCE", audience)];
            let (_, problems) = of(&variables);
            assert!(problems.contains(said), "{url}: {problems}");
        }
        assert!(of(&[("NIGHTREAD_METRICS_WRITE_SECONDS", "0")]).1.contains("at least 1"));
    }
}
