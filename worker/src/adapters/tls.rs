//! One TLS stack and one crypto provider for every client in the process.

/// Makes ring the provider, once. Whoever was first is kept: there is only this one.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
