//! What an answer of the blob service means for a job. Nothing of a URL gets into a message: it may be signed.

use std::error::Error as StdError;
use std::time::Duration;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_core::http::headers::HeaderName;
use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};

use super::refusal;
use super::xml::element;

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");

/// What reading a blob says whose copying has not ended.
pub(super) const STILL_COPIED: &str = "the blob is still being copied";

pub(super) fn invalid(message: &str) -> JobError {
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, message)
}

pub(super) fn too_large(stage: Stage, limit: u64) -> JobError {
    JobError::new(stage, ErrorCode::BlobTooLarge, format!("more than the allowed {limit} bytes"))
}

/// An answer that says "success" and lacks what success has. A half-broken proxy does that; it may pass.
pub(super) fn odd(stage: Stage, what: &str) -> JobError {
    JobError::new(stage, ErrorCode::StorageUnavailable, format!("storage answered with {what}"))
}

/// The service's own code for an error: `BlobNotFound`, `ServerBusy`. HEAD answers have it in a header only, and what is
/// between us and the service may have taken the header away.
fn service_code(error: &Error) -> Option<String> {
    let ErrorKind::HttpResponse { raw_response, .. } = error.kind() else { return None };
    let raw = raw_response.as_ref()?;
    raw.headers().get_optional_string(&ERROR_CODE).or_else(|| element(raw.body(), "Code").map(str::to_owned))
}

pub(crate) fn is_code(error: &Error, code: &str) -> bool {
    service_code(error).as_deref() == Some(code)
}

/// Whether storage itself says that there is no such blob, and not something before it.
pub(super) fn is_missing_blob(error: &Error) -> bool {
    match (error.http_status(), service_code(error).as_deref()) {
        (Some(StatusCode::NotFound), None) => is_from_storage(error),
        (_, code) => code == Some("BlobNotFound"),
    }
}

/// Every answer of the service has an id for its support.
fn is_from_storage(error: &Error) -> bool {
    let ErrorKind::HttpResponse { raw_response: Some(raw), .. } = error.kind() else { return false };
    [REQUEST_ID, VERSION, ERROR_CODE].iter().any(|name| raw.headers().get_optional_str(name).is_some())
}

/// A conditional write that came too late, as against one that could never work.
pub(super) fn is_lost_condition(error: &Error) -> bool {
    let code = service_code(error);
    match error.http_status() {
        // Somebody created, replaced or deleted it first.
        Some(StatusCode::Conflict) => matches!(code.as_deref(), None | Some("BlobAlreadyExists")),
        Some(StatusCode::PreconditionFailed) => {
            matches!(code.as_deref(), None | Some("ConditionNotMet" | "TargetConditionNotMet"))
        }
        Some(StatusCode::NotFound) => code.as_deref() == Some("BlobNotFound"),
        _ => false,
    }
}

/// The job error for whatever the SDK reports.
pub(crate) fn classified(stage: Stage, error: &Error) -> JobError {
    match error.kind() {
        ErrorKind::HttpResponse { status, raw_response, .. } => {
            let wait = raw_response.as_ref().and_then(|raw| {
                raw.headers().get_optional_str(&RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
            });
            let code = service_code(error);
            let job_error = match (u16::from(*status), code.as_deref()) {
                (404 | 410, None) if !is_from_storage(error) => JobError::new(
                    stage,
                    ErrorCode::StorageUnavailable,
                    format!("somebody before storage answered: {}", u16::from(*status)),
                ),
                (_, code) => answered(stage, *status, code),
            };
            let job_error = match raw_response {
                Some(raw) if job_error.code == ErrorCode::StorageUnauthenticated => {
                    refusal::explained(job_error, raw)
                }
                _ => job_error,
            };
            match wait {
                Some(wait) if job_error.is_transient() => job_error.with_retry_after(wait),
                _ => job_error,
            }
        }
        ErrorKind::Credential => {
            JobError::new(stage, ErrorCode::StorageUnauthenticated, "no identity gave a token for storage")
                .with_source(error.to_string())
                // An identity service that is away comes back; what it refuses for good ends in 401 or 403.
                .with_class(ErrorClass::Transient)
        }
        _ if is_timeout(error) => {
            JobError::new(stage, ErrorCode::StorageTimeout, "storage did not answer in time")
        }
        _ => {
            let text = format!("the connection to storage{} failed", at_host(error));
            JobError::new(stage, ErrorCode::StorageUnavailable, text).with_source(told(error))
        }
    }
}

fn answered(stage: Stage, status: StatusCode, code: Option<&str>) -> JobError {
    let said = code.unwrap_or("without a code");
    let number = u16::from(status);
    let (meaning, message) = match (number, code) {
        (_, Some("BlobNotFound")) => (ErrorCode::BlobNotFound, "there is no such blob".to_owned()),
        (_, Some("BlobArchived")) => (ErrorCode::BlobArchived, "the blob is in the archive tier".to_owned()),
        (_, Some("BlobBeingRehydrated")) => {
            (ErrorCode::BlobArchived, "the blob is being brought back from the archive tier".to_owned())
        }
        (_, Some("PendingCopyOperation")) => (ErrorCode::BlobBusy, STILL_COPIED.to_owned()),
        (409 | 412, Some(code)) if code.starts_with("Lease") => {
            (ErrorCode::BlobBusy, format!("somebody holds a lease ({code})"))
        }
        // Without its container nothing can be read or written; an operator makes it, and the job is not to blame.
        (_, Some("ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled")) => {
            (ErrorCode::ContainerMissing, format!("the container is missing ({said})"))
        }
        (404, _) if stage == Stage::Store || stage == Stage::Start => {
            (ErrorCode::ContainerMissing, format!("the container is missing ({said})"))
        }
        (404 | 410, _) => (ErrorCode::BlobNotFound, format!("there is no such blob ({said})")),
        (412 | 416, _) if stage == Stage::Fetch => {
            (ErrorCode::BlobChanged, "the blob was replaced while it was read".to_owned())
        }
        (401, _) | (403, Some("AuthenticationFailed")) | (400, Some("InvalidAuthenticationInfo")) => {
            (ErrorCode::StorageUnauthenticated, format!("storage does not know us: {number} {said}"))
        }
        (403, _) => (ErrorCode::StorageForbidden, format!("storage does not let us: {said}")),
        (408, _) | (_, Some("OperationTimedOut")) => {
            (ErrorCode::StorageTimeout, format!("storage ran out of time ({said})"))
        }
        (429, _) | (503, Some("ServerBusy")) => {
            (ErrorCode::StorageThrottled, format!("storage is busy: {number} {said}"))
        }
        (500.., _) => (ErrorCode::StorageUnavailable, format!("storage failed: {number} {said}")),
        // A proxy's or load balancer's redirect, never followed.
        (300..=399, _) => (ErrorCode::StorageUnavailable, format!("storage sent us elsewhere: {number}")),
        (407, _) => {
            (ErrorCode::StorageUnavailable, "a proxy before storage wants to know us: 407".to_owned())
        }
        _ => (ErrorCode::StorageRejected, format!("storage refused: {number} {said}")),
    };
    let error = JobError::new(stage, meaning, message);
    match meaning {
        // After a good start it is an outage: keys are renewed, tokens expire, clocks are set.
        ErrorCode::StorageUnauthenticated if stage != Stage::Start => error.with_class(ErrorClass::Transient),
        _ => error,
    }
}

fn is_timeout(error: &Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
            || cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    })
}

/// ` at host:port`, where the client knows whom it asked.
fn at_host(error: &Error) -> String {
    let asked = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>()?.url());
    let host = asked.and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(String::new, |(host, port)| format!(" at {host}:{port}"))
}

/// The causes without those that quote the URL.
fn told(error: &Error) -> String {
    let told: Vec<_> = causes(error)
        .filter(|cause| !cause.is::<reqwest::Error>() && !cause.is::<Error>())
        .map(ToString::to_string)
        .collect();
    told.join(": ")
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_failure_table_says() {
        use ErrorClass::{Fatal, Permanent, Transient};
        for (stage, status, code, meaning, class) in [
            (Stage::Fetch, 404, Some("BlobNotFound"), ErrorCode::BlobNotFound, Permanent),
            (Stage::Fetch, 404, Some("ContainerNotFound"), ErrorCode::ContainerMissing, Transient),
            (Stage::Store, 404, Some("ContainerNotFound"), ErrorCode::ContainerMissing, Transient),
            (Stage::Fetch, 409, Some("ContainerBeingDeleted"), ErrorCode::ContainerMissing, Transient),
            (Stage::Fetch, 409, Some("BlobArchived"), ErrorCode::BlobArchived, Permanent),
            (Stage::Fetch, 409, Some("BlobBeingRehydrated"), ErrorCode::BlobArchived, Permanent),
            (Stage::Fetch, 409, Some("PendingCopyOperation"), ErrorCode::BlobBusy, Transient),
            (Stage::Store, 409, Some("LeaseAlreadyPresent"), ErrorCode::BlobBusy, Transient),
            (Stage::Fetch, 412, Some("ConditionNotMet"), ErrorCode::BlobChanged, Transient),
            (Stage::Store, 412, Some("LeaseIdMissing"), ErrorCode::BlobBusy, Transient),
            (Stage::Start, 401, None, ErrorCode::StorageUnauthenticated, Fatal),
            (Stage::Start, 403, Some("AuthenticationFailed"), ErrorCode::StorageUnauthenticated, Fatal),
            (Stage::Fetch, 401, None, ErrorCode::StorageUnauthenticated, Transient),
            (Stage::Fetch, 403, Some("AuthenticationFailed"), ErrorCode::StorageUnauthenticated, Transient),
            (
                Stage::Fetch,
                403,
                Some("KeyVaultEncryptionKeyNotFound"),
                ErrorCode::StorageForbidden,
                Transient,
            ),
            (
                Stage::Fetch,
                403,
                Some("AuthorizationPermissionMismatch"),
                ErrorCode::StorageForbidden,
                Transient,
            ),
            (Stage::Fetch, 429, None, ErrorCode::StorageThrottled, Transient),
            (Stage::Fetch, 500, Some("InternalError"), ErrorCode::StorageUnavailable, Transient),
            (Stage::Fetch, 500, Some("OperationTimedOut"), ErrorCode::StorageTimeout, Transient),
            (Stage::Fetch, 503, Some("ServerBusy"), ErrorCode::StorageThrottled, Transient),
            (Stage::Fetch, 503, None, ErrorCode::StorageUnavailable, Transient),
            (Stage::Fetch, 302, None, ErrorCode::StorageUnavailable, Transient),
            (Stage::Store, 400, Some("InvalidMetadata"), ErrorCode::StorageRejected, Permanent),
            (Stage::Store, 409, Some("BlobImmutableDueToPolicy"), ErrorCode::StorageRejected, Permanent),
        ] {
            let error = answered(stage, StatusCode::from(status), code);
            assert_eq!((error.code, error.class), (meaning, class), "{status} {code:?}");
        }
    }

    fn response(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
        let mut all = azure_core::http::headers::Headers::new();
        for (name, value) in headers {
            all.insert(HeaderName::from_static(name), *value);
        }
        let raw = azure_core::http::RawResponse::from_bytes(StatusCode::from(status), all, body.to_owned());
        // As the SDK does it: where there is no code, the status stands for one.
        let error_code = Some(StatusCode::from(status).to_string());
        ErrorKind::HttpResponse {
            status: StatusCode::from(status),
            error_code,
            raw_response: Some(Box::new(raw)),
        }
        .into_error()
    }

    #[test]
    fn a_code_is_found_in_the_header_or_in_the_body_and_the_status_is_none() {
        let body =
            "\u{feff}<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>x</Message></Error>";
        assert!(is_code(&response(404, &[], body), "BlobNotFound"));
        assert!(is_code(&response(404, &[("x-ms-error-code", "BlobNotFound")], ""), "BlobNotFound"));
        assert_eq!(service_code(&response(404, &[], "<html>no</html>")), None);
    }

    #[test]
    fn a_lost_condition_is_one_with_or_without_a_code() {
        for (status, body, lost) in [
            (409, "", true),
            (412, "", true),
            (412, "<html>Precondition Failed</html>", true),
            (409, "<Error><Code>BlobAlreadyExists</Code></Error>", true),
            (412, "<Error><Code>ConditionNotMet</Code></Error>", true),
            (412, "<Error><Code>LeaseIdMissing</Code></Error>", false),
            (409, "<Error><Code>ContainerBeingDeleted</Code></Error>", false),
            (403, "", false),
        ] {
            assert_eq!(is_lost_condition(&response(status, &[], body)), lost, "{status} {body}");
        }
    }

    #[test]
    fn a_404_of_something_before_storage_blames_no_blob() {
        let gateway =
            classified(Stage::Fetch, &response(404, &[("server", "gateway")], "<html>not here</html>"));
        assert_eq!((gateway.code, gateway.is_transient()), (ErrorCode::StorageUnavailable, true));
        let storage = classified(Stage::Fetch, &response(404, &[("x-ms-request-id", "7")], ""));
        assert_eq!(storage.code, ErrorCode::BlobNotFound);
    }
}
