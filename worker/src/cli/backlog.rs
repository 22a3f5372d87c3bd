//! What can be typed after `nightread backlog`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread backlog                              print once
  nightread backlog --publish                    and publish it to Azure Monitor once, as the timer does every minute
  nightread backlog --every 60s --serve 127.0.0.1:9419     go on, and serve /metrics and /healthz

Messages ready and in flight are counted by the management plug-in ([backlog] management_url, a user with the tag
`monitoring`). What a message costs is told by the workers themselves, through the queue nightread.reports; until they
have, [backlog] ingest_ms, bulk_ms and volumes_ms stand in. Work that waits without any worker counts as more than
[backlog] scale_out_seconds, however little it is.

--publish sends BacklogSecondsPerWorker, DeadLetters, OldestJobAgeSeconds, StorageQueueDepth and BrokerCertificateDays, also
when they are 0, in the namespace nightread/queue, about [backlog] resource_id. If counts cannot be had, nothing is published: a number
that nobody counted must not send a fleet home.

Exit status: 0 done, 1 the broker or Azure Monitor failed, 2 wrong use.")]
pub struct BacklogArgs {
    /// Publish custom metrics to Azure Monitor
    #[arg(long)]
    pub publish: bool,
    /// Go on until told to stop, with this pause (60s, 5m)
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub every: Option<Duration>,
    /// Serve /metrics and /healthz at this address; without --every, every 60 s
    #[arg(long, value_name = "ADDRESS")]
    pub serve: Option<SocketAddr>,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with s, m or h is expected, for example 60s".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}
