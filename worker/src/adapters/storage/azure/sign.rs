//! Signs every try of every request, renews what it signs with, and once more when the service refuses it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::hmac::hmac_sha256;
use azure_core::http::headers::{AUTHORIZATION, HeaderName};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request, StatusCode, Transport, Url};
use nightread_domain::JobError;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::account::{Access, Service};
use super::identity;

const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The version whose string-to-sign is used; Azurite knows it too.
const SAS_VERSION: &str = "2022-11-02";
const SAS_LIFETIME: Duration = Duration::hours(1);
/// Clocks of clients and of the service differ.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// What a request is signed with, until it is renewed.
#[derive(Clone)]
enum Grant {
    Query(Vec<(String, String)>),
    Bearer(String),
}

#[derive(Clone)]
struct Current {
    grant: Grant,
    made_at: OffsetDateTime,
    renew_at: OffsetDateTime,
    ends_at: OffsetDateTime,
    serial: u64,
}

impl Current {
    /// Whether it may be used now. One that seems to be made later is of a clock that was wrong.
    fn is_of(&self, now: OffsetDateTime) -> bool {
        self.made_at - CLOCK_SKEW <= now && now < self.renew_at
    }
}

enum CredentialSource {
    Fixed,
    Key { account: String, key: Secret, service: Service },
    Identity(Arc<dyn TokenCredential>),
}

/// The pipeline policy that signs.
pub(super) struct Signer {
    source: CredentialSource,
    current: Mutex<Option<Current>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer { [redacted] }")
    }
}

impl Signer {
    pub fn new(access: Access, service: Service, transport: &Transport) -> Result<Self, JobError> {
        let (source, current) = match access {
            Access::Sas(pairs) => {
                let end = OffsetDateTime::now_utc() + Duration::weeks(5_200);
                let grant = Grant::Query(pairs);
                let made_at = OffsetDateTime::UNIX_EPOCH;
                (
                    CredentialSource::Fixed,
                    Some(Current { grant, made_at, renew_at: end, ends_at: end, serial: 0 }),
                )
            }
            Access::Key { account, key } => (CredentialSource::Key { account, key, service }, None),
            Access::Identity { client_id } => {
                (CredentialSource::Identity(identity::chain(client_id.as_deref(), transport)?), None)
            }
        };
        Ok(Self { source, current: Mutex::new(current) })
    }

    /// What to sign with now. `refused`: the serial of the grant that the service did not accept.
    async fn current(&self, refused: Option<u64>) -> azure_core::Result<Current> {
        let mut current = self.current.lock().await;
        let now = OffsetDateTime::now_utc();
        let serial = match &*current {
            // Others may have renewed it while we waited for the lock.
            Some(known) if known.is_of(now) && refused != Some(known.serial) => return Ok(known.clone()),
            Some(known) => known.serial + 1,
            None => 0,
        };
        match (self.issue(now, serial).await, &mut *current) {
            (Ok(fresh), slot) => Ok(slot.insert(fresh).clone()),
            // An identity service may be away for longer than the renewal's lead.
            (Err(_), Some(known)) if refused.is_none() && now < known.ends_at => Ok(known.clone()),
            (Err(error), _) => Err(error),
        }
    }

    async fn issue(&self, now: OffsetDateTime, serial: u64) -> azure_core::Result<Current> {
        let (grant, ends_at) = match &self.source {
            CredentialSource::Fixed => return Err(azure_core::error::ErrorKind::Credential.into_error()),
            CredentialSource::Key { account, key, service } => {
                let ends_at = now + SAS_LIFETIME;
                (Grant::Query(account_sas(account, key, *service, now - CLOCK_SKEW, ends_at)?), ends_at)
            }
            CredentialSource::Identity(credential) => {
                let token = credential.get_token(&[STORAGE_SCOPE], None).await?;
                (Grant::Bearer(token.token.secret().to_owned()), token.expires_on)
            }
        };
        let lead: Duration = (ends_at - now) / 4_i32;
        let lead = lead.min(CLOCK_SKEW * 2_i32);
        Ok(Current { grant, made_at: now, renew_at: ends_at - lead, ends_at, serial })
    }
}

#[async_trait]
impl Policy for Signer {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's own signature, expanded by async_trait")]
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let unsigned = request.url().clone();
        let current = self.current(None).await?;
        apply(&current.grant, &unsigned, request);
        let response = next[0].send(ctx, request, &next[1..]).await?;
        if !is_unknown_to_storage(&response) || matches!(self.source, CredentialSource::Fixed) {
            return Ok(response);
        }
        // Once: a token may have been revoked or a clock may have jumped. A second refusal is for the operator.
        let renewed = self.current(Some(current.serial)).await?;
        apply(&renewed.grant, &unsigned, request);
        request.body_mut().reset().await?;
        next[0].send(ctx, request, &next[1..]).await
    }
}

fn apply(grant: &Grant, unsigned: &Url, request: &mut Request) {
    match grant {
        Grant::Bearer(token) => request.insert_header(AUTHORIZATION, format!("Bearer {token}")),
        Grant::Query(pairs) => {
            let mut url = unsigned.clone();
            url.query_pairs_mut().extend_pairs(pairs);
            *request.url_mut() = url;
        }
    }
}

/// 401 for a bad token; a bad signature is a 403 that says so.
fn is_unknown_to_storage(response: &AsyncRawResponse) -> bool {
    match response.status() {
        StatusCode::Unauthorized => true,
        StatusCode::Forbidden => {
            response.headers().get_optional_str(&ERROR_CODE) == Some("AuthenticationFailed")
        }
        _ => false,
    }
}

fn stamp(at: OffsetDateTime) -> azure_core::Result<String> {
    at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::DataConversion, error))
}

/// An account SAS for one service. Blobs: read, list, create, write, add, delete. Queues: read, write, delete, list,
/// add, create, update, process.
fn account_sas(
    account: &str,
    key: &Secret,
    service: Service,
    starts: OffsetDateTime,
    ends: OffsetDateTime,
) -> azure_core::Result<Vec<(String, String)>> {
    let (starts, ends) = (stamp(starts)?, stamp(ends)?);
    let (permissions, services) = match service {
        Service::Blob => ("rwdlac", "b"),
        Service::Queue => ("rwdlacup", "q"),
    };
    let (types, protocol) = ("co", "https,http");
    // Account, permissions, services, types, start, end, addresses, protocol, version, encryption scope.
    let to_sign = format!(
        "{account}\n{permissions}\n{services}\n{types}\n{starts}\n{ends}\n\n{protocol}\n{SAS_VERSION}\n\n"
    );
    let signature = hmac_sha256(&to_sign, key)?;
    let pairs = [
        ("sv", SAS_VERSION),
        ("ss", services),
        ("srt", types),
        ("sp", permissions),
        ("st", &starts),
        ("se", &ends),
        ("spr", protocol),
        ("sig", &signature),
    ];
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}
