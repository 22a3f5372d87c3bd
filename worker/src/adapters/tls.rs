//! One TLS stack and one crypto provider for every client in the process.

use nightread_domain::{ErrorCode, JobError, Stage};
use reqwest::{Client, ClientBuilder, redirect};

/// Makes ring the provider, once. Whoever was first is kept: there is only this one.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client that contacts nobody but whom it is asked to: a redirect could carry a token or a password to a host that
/// nobody configured.
///
/// # Errors
/// `settings_invalid` when the client cannot be made.
pub fn client(builder: ClientBuilder) -> Result<Client, JobError> {
    install_provider();
    builder.redirect(redirect::Policy::none()).build().map_err(|error| {
        JobError::new(Stage::Start, ErrorCode::SettingsInvalid, "no HTTP client can be made")
            .with_source(error)
    })
}
