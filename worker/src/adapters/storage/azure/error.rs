//! What an answer of the blob service means for a job. Nothing of a URL gets into a message: it may be signed.

use std::error::Error as StdError;
use std::time::Duration;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_core::http::headers::HeaderName;
use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");

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

/// The service's own code for an error: `BlobNotFound`, `ServerBusy`. HEAD answers have it in a header only.
fn service_code(error: &Error) -> Option<String> {
    let ErrorKind::HttpResponse { error_code, raw_response, .. } = error.kind() else { return None };
    let header = raw_response.as_ref().and_then(|raw| raw.headers().get_optional_string(&ERROR_CODE));
    header.or_else(|| error_code.clone())
}

pub(crate) fn is_code(error: &Error, code: &str) -> bool {
    service_code(error).as_deref() == Some(code)
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
            let job_error = answered(stage, *status, service_code(error).as_deref());
            match wait {
                Some(wait) if job_error.is_transient() => job_error.with_retry_after(wait),
                _ => job_error,
            }
        }
        ErrorKind::Credential => {
            JobError::new(stage, ErrorCode::StorageUnauthenticated, "no identity gave a token for storage")
                // An identity service that is away comes back; what it refuses for good ends in 401 or 403.
                .with_class(ErrorClass::Transient)
        }
        _ if is_timeout(error) => {
            JobError::new(stage, ErrorCode::StorageTimeout, "storage did not answer in time")
        }
        _ => JobError::new(stage, ErrorCode::StorageUnavailable, "the connection to storage failed")
            .with_source(innermost(error)),
    }
}

fn answered(stage: Stage, status: StatusCode, code: Option<&str>) -> JobError {
    let said = code.unwrap_or("without a code");
    let number = u16::from(status);
    let (meaning, message) = match (number, code) {
        (_, Some("BlobNotFound")) => (ErrorCode::BlobNotFound, "there is no such blob".to_owned()),
        // Without its container no result can be written; an operator makes it, and the job is not to blame.
        (404, _) if stage == Stage::Store || stage == Stage::Start => {
            (ErrorCode::StorageUnavailable, format!("the container is missing ({said})"))
        }
        (404 | 410, _) => (ErrorCode::BlobNotFound, format!("there is no such blob ({said})")),
        (412 | 416, _) if stage == Stage::Fetch => {
            (ErrorCode::BlobChanged, "the blob was replaced while it was read".to_owned())
        }
        (401, _) | (403, Some("AuthenticationFailed")) => {
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
        (409, Some("ContainerBeingDeleted")) => {
            (ErrorCode::StorageUnavailable, "the container is being deleted".to_owned())
        }
        // A proxy's or load balancer's redirect, never followed.
        (300..=399, _) => (ErrorCode::StorageUnavailable, format!("storage sent us elsewhere: {number}")),
        _ => (ErrorCode::StorageRejected, format!("storage refused: {number} {said}")),
    };
    JobError::new(stage, meaning, message)
}

fn is_timeout(error: &Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
            || cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    })
}

/// The last cause says what happened; the ones before it quote the URL.
fn innermost(error: &Error) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
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
            (Stage::Fetch, 404, Some("ContainerNotFound"), ErrorCode::BlobNotFound, Permanent),
            (Stage::Store, 404, Some("ContainerNotFound"), ErrorCode::StorageUnavailable, Transient),
            (Stage::Fetch, 412, Some("ConditionNotMet"), ErrorCode::BlobChanged, Transient),
            (Stage::Store, 412, Some("LeaseIdMissing"), ErrorCode::StorageRejected, Permanent),
            (Stage::Fetch, 401, None, ErrorCode::StorageUnauthenticated, Fatal),
            (Stage::Fetch, 403, Some("AuthenticationFailed"), ErrorCode::StorageUnauthenticated, Fatal),
            (
                Stage::Fetch,
                403,
                Some("AuthorizationPermissionMismatch"),
                ErrorCode::StorageForbidden,
                Permanent,
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
}
