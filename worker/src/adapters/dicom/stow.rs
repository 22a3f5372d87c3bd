//! STOW-RS (PS3.18, 10.5), and QIDO-RS where an answer leaves something open.

use std::fmt;

use bytes::Bytes;
use nightread_archive::Object;
use nightread_domain::{ErrorCode, JobError};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::options::{ArchiveOptions, failed, wrong_address};
use super::stow_answer::{StowAnswer, lists};
use super::verdict::ObjectVerdict;
use crate::adapters::tls;

/// An answer names each object in some hundred bytes.
const MOST_ANSWER_BYTES: usize = 4 << 20;
const JSON: &str = "application/dicom+json";

/// An archive with DICOMweb.
pub struct Web {
    client: Client,
    /// Without a slash at its end.
    base: String,
    authorization: Option<HeaderValue>,
    read_back: bool,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Web {
    /// # Errors
    /// `settings_invalid` for an address or an authorization that no request can bear.
    pub(super) fn new(options: ArchiveOptions) -> Result<Self, JobError> {
        let url: reqwest::Url = options.address.parse().map_err(|_| wrong_address())?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong_address());
        }
        let authorization = options.authorization.map(|text| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                failed(ErrorCode::SettingsInvalid, "[deliver] authorization: no header can have this value")
            })?;
            value.set_sensitive(true);
            Ok::<_, JobError>(value)
        });
        let builder = Client::builder().timeout(options.timeout);
        Ok(Self {
            client: tls::client_trusting(options.authorities, builder)?,
            base: options.address.trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
            read_back: options.read_back,
        })
    }

    fn asked(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(ACCEPT, JSON);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    pub(super) async fn send(&self, objects: &[Object]) -> Vec<ObjectVerdict> {
        if objects.is_empty() {
            return Vec::new();
        }
        let (status, answer) = match self.post(objects).await {
            Ok(answered) => answered,
            Err(error) => return objects.iter().map(|_| ObjectVerdict::Failed(error.clone())).collect(),
        };
        let mut verdicts = Vec::with_capacity(objects.len());
        for object in objects {
            let said = judged(object, status, &answer);
            verdicts.push(self.made_sure(object, said).await);
        }
        verdicts
    }

    /// What the archive lists is stored, whatever it said; and where we read back, what it does not list is not.
    async fn made_sure(&self, object: &Object, said: ObjectVerdict) -> ObjectVerdict {
        match said {
            ObjectVerdict::Stored(_) if !self.read_back => said,
            ObjectVerdict::Stored(_) => match self.lists(object).await {
                Ok(true) => said,
                Ok(false) => ObjectVerdict::Failed(failed(
                    ErrorCode::DeliveryUnconfirmed,
                    "the archive said that the object is stored, and does not list it",
                )),
                Err(error) => ObjectVerdict::Failed(error),
            },
            ObjectVerdict::Failed(error) => match self.lists(object).await {
                Ok(true) => {
                    ObjectVerdict::Stored(Some(format!("the archive lists it, after: {}", error.message)))
                }
                _ => ObjectVerdict::Failed(error),
            },
        }
    }

    async fn post(&self, objects: &[Object]) -> Result<(StatusCode, StowAnswer), JobError> {
        let (boundary, body) = multipart(objects);
        let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        // A body that is there as a whole goes out with its length: archives lose what comes in chunks.
        let request =
            self.client.post(format!("{}/studies", self.base)).header(CONTENT_TYPE, kind).body(body);
        let response = self.asked(request).send().await.map_err(|error| away(&error))?;
        let status = response.status();
        if let Some(error) = refused_as_a_whole(&response) {
            return Err(error);
        }
        Ok((status, StowAnswer::parse(&limited(response).await?)))
    }

    async fn lists(&self, object: &Object) -> Result<bool, JobError> {
        let url = format!("{}/studies/{}/instances", self.base, object.study);
        let query = [("SOPInstanceUID", object.sop_instance.as_str())];
        let mut address: reqwest::Url = url.parse().map_err(|_| wrong_address())?;
        address.query_pairs_mut().extend_pairs(query);
        let response = self.asked(self.client.get(address)).send().await.map_err(|error| away(&error))?;
        match response.status() {
            StatusCode::OK => Ok(lists(&limited(response).await?, &object.sop_instance)),
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(false),
            status => {
                let text = format!("the archive answered a query with HTTP {}", status.as_u16());
                Err(refused_as_a_whole(&response)
                    .unwrap_or_else(|| failed(ErrorCode::DeliveryUnconfirmed, text)))
            }
        }
    }

    pub(super) async fn answers(&self) -> Result<String, JobError> {
        let request = self.client.get(format!("{}/studies?limit=1", self.base));
        let response = self.asked(request).send().await.map_err(|error| away(&error))?;
        match refused_as_a_whole(&response) {
            Some(error) => Err(error),
            None if response.status().is_success() => Ok(format!(
                "answers a query with HTTP {}; whether it stores cannot be known without storing",
                response.status().as_u16()
            )),
            None => {
                let text = format!("the archive answered a query with HTTP {}", response.status().as_u16());
                Err(failed(ErrorCode::DeliveryRefused, text))
            }
        }
    }
}

/// By what the answer says of this very object; the status of the whole only where it says nothing.
fn judged(object: &Object, status: StatusCode, answer: &StowAnswer) -> ObjectVerdict {
    let http = status.as_u16();
    if let Some(warning) = answer.stored.get(&object.sop_instance) {
        let remark =
            warning.filter(|reason| *reason != 0).map(|reason| format!("stored with warning {reason}"));
        return ObjectVerdict::Stored(remark);
    }
    if let Some(reason) = answer.failed.get(&object.sop_instance) {
        return ObjectVerdict::of_reason(*reason, http);
    }
    if status.is_success() {
        let text = format!("the archive answered with HTTP {http} and did not name the object");
        return ObjectVerdict::Failed(failed(ErrorCode::DeliveryUnconfirmed, text));
    }
    ObjectVerdict::Failed(failed(
        ErrorCode::DeliveryRefused,
        format!("the archive answered with HTTP {http} and did not name the object"),
    ))
}

/// Statuses that say the same of all objects. 400 and 409 are none: archives give them when one object of several failed.
fn refused_as_a_whole(response: &Response) -> Option<JobError> {
    let status = response.status();
    let said = format!("the archive answered with HTTP {}", status.as_u16());
    let error = match status.as_u16() {
        200..=299 | 400 | 409 => return None,
        401 | 403 => failed(ErrorCode::DeliveryForbidden, said),
        404 | 405 | 406 | 415 | 501 => failed(
            ErrorCode::DeliveryUnsupported,
            format!("{said}: is [deliver] archive the root of its DICOMweb services?"),
        ),
        507 => failed(ErrorCode::DeliveryNoRoom, said),
        408 => failed(ErrorCode::DeliveryTimeout, said),
        429 | 500..=599 => {
            let wait =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let error = failed(ErrorCode::DeliveryUnavailable, said);
            match wait {
                Some(seconds) => error.with_retry_after(std::time::Duration::from_secs(seconds)),
                None => error,
            }
        }
        300..=399 => failed(ErrorCode::DeliveryRefused, format!("{said}; redirects are not followed")),
        _ => failed(ErrorCode::DeliveryRefused, said),
    };
    Some(error)
}

/// One part an object. The boundary is a digest of the parts, so that none of them can hold it.
fn multipart(objects: &[Object]) -> (String, Bytes) {
    const HEAD: &[u8] = b"Content-Type: application/dicom\r\n\r\n";
    let mut digest = Sha256::new();
    for object in objects {
        digest.update(&object.file);
    }
    let boundary = hex::encode(digest.finalize());
    let size: usize = objects.iter().map(|object| object.file.len() + 128).sum();
    let mut body = Vec::with_capacity(size + 128);
    for object in objects {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(HEAD);
        body.extend_from_slice(&object.file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (boundary, body.into())
}

/// An answer of a size that answers have.
async fn limited(mut response: Response) -> Result<Vec<u8>, JobError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| away(&error))? {
        if body.len() + chunk.len() > MOST_ANSWER_BYTES {
            let text = format!("the archive's answer has more than {MOST_ANSWER_BYTES} bytes");
            return Err(failed(ErrorCode::DeliveryUnconfirmed, text));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Of a request without an answer. The address may hold names of hosts only the settings know: it is left out.
fn away(error: &reqwest::Error) -> JobError {
    let text = std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .last()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    if error.is_timeout() {
        return failed(ErrorCode::DeliveryTimeout, "the archive did not answer in time");
    }
    failed(ErrorCode::DeliveryUnavailable, format!("the archive does not answer{text}"))
}
