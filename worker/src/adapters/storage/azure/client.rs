//! How every client of an account speaks.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport};
use nightread_domain::JobError;

use super::account::{Account, Service};
use super::sign::Signer;
use crate::adapters::tls;

/// What differs between a data centre and a test bench.
#[derive(Clone, Copy, Debug)]
pub struct AzureOptions {
    /// Until a TCP and TLS connection stands.
    pub connect_timeout: Duration,
    /// Between two pieces of an answer, and before its first.
    pub read_timeout: Duration,
    /// Ranges of one download in flight.
    pub parallel_ranges: usize,
    /// Bytes of one range. Azure serves about 60 MB/s to one connection, so a few ranges fill a small machine.
    pub range_bytes: usize,
}

impl Default for AzureOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(15),
            parallel_ranges: 4,
            range_bytes: 4 * 1024 * 1024,
        }
    }
}

/// One HTTP client, no redirects, no retries of the SDK's, requests signed here.
pub(crate) fn client_options(
    account: Account,
    options: AzureOptions,
    service: Service,
) -> Result<ClientOptions, JobError> {
    let builder = reqwest::Client::builder();
    let http =
        tls::client(builder.connect_timeout(options.connect_timeout).read_timeout(options.read_timeout))?;
    let transport = Transport::new(Arc::new(http));
    let signer = Signer::new(account.access, service, &transport)?;
    Ok(ClientOptions {
        per_try_policies: vec![Arc::new(signer)],
        // Retrying belongs to one place; the SDK's would hide how long a call really takes.
        retry: RetryOptions::none(),
        transport: Some(transport),
        ..ClientOptions::default()
    })
}
