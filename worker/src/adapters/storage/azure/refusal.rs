//! Why storage does not know us, in words that help: what it says itself, without the secrets and names in it.

use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use nightread_domain::JobError;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

const DATE: HeaderName = HeaderName::from_static("date");

/// Storage accepts dates that are fifteen minutes off; signatures of our own begin five minutes ago.
const NOTABLE_SKEW: Duration = Duration::minutes(4);

/// Longer details are not repeated.
const MAX_DETAIL_CHARS: usize = 200;

/// The error with what the answer tells of its cause.
pub(super) fn explained(mut error: JobError, answer: &RawResponse) -> JobError {
    let date = answer.headers().get_optional_str(&DATE);
    let skew = date.and_then(|date| skew(date, OffsetDateTime::now_utc()));
    for more in [detail(answer.body()), skew].into_iter().flatten() {
        error.message = format!("{}; {more}", error.message);
    }
    error
}

/// What `AuthenticationErrorDetail` means. It may quote the request with the blob's name, and the signature.
fn detail(body: &[u8]) -> Option<String> {
    let said = super::xml::element(body, "AuthenticationErrorDetail")?;
    let lower = said.to_ascii_lowercase();
    let meanings = [
        ("not valid in the specified time frame", "the signature is not valid at this time"),
        ("request date header too old", "the request came too late: this machine's clock may be behind"),
        (
            "mac signature",
            "the signature is not the one that storage computes: is the key another one by now?",
        ),
        (
            "signature did not match",
            "the signature is not the one that storage computes: is the key another one by now?",
        ),
        ("lifetime validation failed", "the token has expired, or is not valid yet"),
        ("issuer validation failed", "the token is of another tenant"),
        ("audience validation failed", "the token is for another service"),
        ("public access is not permitted", "anonymous requests are not let in"),
    ];
    let meaning = meanings.iter().find(|(words, _)| lower.contains(words)).map(|(_, meaning)| *meaning);
    let times = said.find("Start [").map(|at| plain(&said[at..]));
    match (meaning, times) {
        (Some(meaning), Some(times)) => Some(format!("{meaning}: {times}")),
        (Some(meaning), None) => Some(meaning.to_owned()),
        (None, _) => Some(plain(said)),
    }
}

/// The first line, without anything in quotation marks.
fn plain(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let unquoted = line.split(['\'', '"']).step_by(2).collect::<Vec<_>>().join("...");
    unquoted.chars().filter(|character| !character.is_control()).take(MAX_DETAIL_CHARS).collect()
}

fn skew(date: &str, now: OffsetDateTime) -> Option<String> {
    let theirs = OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822).ok()?;
    let ahead = now - theirs;
    if ahead.abs() < NOTABLE_SKEW {
        return None;
    }
    let side = if ahead.is_positive() { "ahead of" } else { "behind" };
    Some(format!("this machine's clock is {} minutes {side} storage's", ahead.abs().whole_minutes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn told(detail: &str) -> String {
        let body = format!(
            "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        );
        super::detail(body.as_bytes()).expect("a detail")
    }

    #[test]
    fn the_cause_is_said_and_the_secrets_in_it_are_not() {
        let expired = told(
            "Signature not valid in the specified time frame: Start [Tue, 05 May 2026 10:00:00 GMT] - Expiry [Tue, 05 May 2026 11:00:00 GMT] - Current [Tue, 05 May 2026 12:00:00 GMT]",
        );
        assert!(
            expired.contains("not valid at this time")
                && expired.contains("Expiry [Tue, 05 May 2026 11:00:00 GMT]")
        );
        let wrong = told(
            "The MAC signature found in the HTTP request 'c2VjcmV0' is not the same as any computed signature. Server used following string to sign: 'GET\n/account/incoming/DOE^JOHN.dcm'.",
        );
        assert!(
            wrong.contains("is the key another one") && !wrong.contains("c2VjcmV0") && !wrong.contains("DOE")
        );
        let unknown = told("Something new about 'incoming/DOE^JOHN.dcm' happened.\nDOE^JOHN");
        assert!(unknown.starts_with("Something new") && !unknown.contains("DOE"), "{unknown}");
        assert_eq!(detail(b"<Error><Code>AuthenticationFailed</Code></Error>"), None);
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let now = datetime!(2026-05-05 12:00 UTC);
        assert_eq!(skew("Tue, 05 May 2026 12:00:30 GMT", now), None);
        let behind = skew("Tue, 05 May 2026 12:31:00 GMT", now).expect("a skew");
        assert_eq!(behind, "this machine's clock is 31 minutes behind storage's");
        assert!(skew("Tue, 05 May 2026 11:00:00 GMT", now).expect("a skew").contains("60 minutes ahead of"));
        assert_eq!(skew("soon", now), None);
    }
}
