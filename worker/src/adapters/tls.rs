//! One TLS stack and one crypto provider for every client in the process.

use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls_platform_verifier::Verifier;

/// Makes ring the provider of clients that libraries make by themselves, once: the exporter of traces has no other way to be
/// told. Clients of this program are given theirs. Whoever was first is kept: there is only this one.
pub fn install_provider() {
    let _ = ring::default_provider().install_default();
}

/// How every client speaks TLS: the system's authorities are believed, and `own` beside them.
///
/// # Errors
/// When there is no authority at all.
pub fn config(own: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(own, Arc::clone(&provider))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        // The name is rustls's for every verifier but its own: this one asks the system's store.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The certificates of a PEM file.
///
/// # Errors
/// When a part of it is no certificate.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

/// An HTTP client that contacts nobody but whom it is asked to: a redirect could carry a token or a password to a host that
/// nobody configured.
///
/// # Errors
/// `settings_invalid` when the client cannot be made.
pub fn client(builder: ClientBuilder) -> Result<Client, JobError> {
    client_trusting(Vec::new(), builder)
}

/// [`client`], which believes the authorities `own` beside the system's.
///
/// # Errors
/// `settings_invalid` when the client cannot be made.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that builds clients, after it has taken redirects away"
)]
pub fn client_trusting(
    own: Vec<CertificateDer<'static>>,
    builder: ClientBuilder,
) -> Result<Client, JobError> {
    let mut config = config(own).map_err(cannot_be_made)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = builder.tls_backend_preconfigured(config);
    builder.redirect(redirect::Policy::none()).build().map_err(cannot_be_made)
}

fn cannot_be_made(error: impl std::error::Error + Send + Sync + 'static) -> JobError {
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, "no HTTP client can be made").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_need_no_installed_provider() {
        // Nothing in the tests of this crate installs one.
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
        client(Client::builder()).expect("a client");
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert_eq!(certificates("").expect("nothing").len(), 0);
        let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        assert!(certificates(broken).is_err());
    }
}
