//! When the broker's certificate ends. It is the one part of a fleet that stops by itself, on a day that nobody remembers.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::telemetry::metrics;

/// Seconds since 1970, of the certificate that a broker showed last; 0 before the first. Of the process, as gauges are.
static ENDS: AtomicI64 = AtomicI64::new(0);

/// Notes what the broker showed, DER, once TLS has believed it.
pub(super) fn shown(der: &[u8]) {
    if let Some(end) = end_of(der) {
        ENDS.store(end, Ordering::Relaxed);
        metrics::broker_certificate(end);
    } else {
        tracing::warn!("the end of the broker's certificate cannot be read");
    }
}

/// When the certificate that was shown last ends, in seconds since 1970; `None` without TLS or before a connection.
pub fn ends_at() -> Option<i64> {
    Some(ENDS.load(Ordering::Relaxed)).filter(|end| *end != 0)
}

fn end_of(der: &[u8]) -> Option<i64> {
    let (_rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_and_rubbish_is_none() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(vec!["broker".to_owned()]).expect("parameters");
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        assert_eq!(end_of(certificate.der()), Some(1_936_742_400), "2031-05-17T00:00:00Z");
        for wrong in [&[][..], &[0x30, 0x82], &certificate.der()[..40]] {
            assert_eq!(end_of(wrong), None);
        }
    }
}
