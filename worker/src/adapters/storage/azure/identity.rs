//! Who the worker is: managed identity on Azure machines, workload identity in clusters, Azure CLI at a desk.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use nightread_domain::{ErrorCode, JobError, Stage};
use serde::Deserialize;

/// Outside Azure nobody answers at the metadata address, and the connection would hang.
const FIRST_TRY: Duration = Duration::from_secs(5);

const MOST_RETRIES: u32 = 2;

/// Characters that are told of a refusal.
const MOST_WORDS: usize = 400;

type Named = (&'static str, Arc<dyn TokenCredential>);

/// The first credential that works is the one that is kept: a worker never changes who it is.
pub(in crate::adapters) struct Chain {
    candidates: Vec<Named>,
    chosen: OnceLock<usize>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = self.chosen.get().and_then(|index| self.candidates.get(*index));
        f.debug_struct("Chain").field("chosen", &chosen.map(|(name, _)| name)).finish_non_exhaustive()
    }
}

/// The order of preference. Candidates that this environment rules out are left out.
pub(in crate::adapters) fn chain(
    client_id: Option<&str>,
    transport: &Transport,
) -> Result<Arc<Chain>, JobError> {
    // Fewer tries than by default: what the last of them met is to be told before the time for one candidate is over.
    let retry = ExponentialRetryOptions { max_retries: MOST_RETRIES, ..ExponentialRetryOptions::default() };
    let client_options = ClientOptions {
        transport: Some(transport.clone()),
        retry: RetryOptions::exponential(retry),
        ..ClientOptions::default()
    };
    let managed = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        user_assigned_id: client_id.map(|id| UserAssignedId::ClientId(id.to_owned())),
        client_options: client_options.clone(),
    }));
    let mut workload = WorkloadIdentityCredentialOptions::default();
    workload.credential_options.client_options = client_options;
    let workload = WorkloadIdentityCredential::new(Some(workload));
    let cli = AzureCliCredential::new(None);
    let mut candidates: Vec<Named> = Vec::new();
    if let Ok(credential) = managed {
        candidates.push(("managed identity", credential));
    }
    if let Ok(credential) = workload {
        candidates.push(("workload identity", credential));
    }
    if let Ok(credential) = cli {
        candidates.push(("azure cli", credential));
    }
    if candidates.is_empty() {
        return Err(JobError::new(
            Stage::Start,
            ErrorCode::SettingsInvalid,
            "no Azure identity is configured here",
        ));
    }
    Ok(Arc::new(Chain { candidates, chosen: OnceLock::new() }))
}

#[async_trait]
impl TokenCredential for Chain {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if let Some((_, credential)) = self.chosen.get().and_then(|index| self.candidates.get(*index)) {
            return credential.get_token(scopes, options).await;
        }
        let mut refusals = Vec::new();
        for (index, (name, credential)) in self.candidates.iter().enumerate() {
            match tokio::time::timeout(FIRST_TRY, credential.get_token(scopes, None)).await {
                Ok(Ok(token)) => {
                    tracing::info!(identity = name, "signed in to Azure");
                    let _ = self.chosen.set(index);
                    return Ok(token);
                }
                Ok(Err(error)) => refusals.push(format!("{name} gives no token ({})", words(&error))),
                Err(_) => refusals.push(format!("{name} did not answer in {} s", FIRST_TRY.as_secs())),
            }
        }
        Err(Error::with_message(ErrorKind::Credential, refusals.join(", ")))
    }
}

/// Azure's own words: its code (AADSTS...) tells what to mend. The credentials drop some of the answers, and quote none of the
/// causes of a connection that failed.
fn words(error: &Error) -> String {
    let mut told = one_line(&error.to_string());
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        say(&mut told, &error.to_string());
        if let Some(azure) = error.downcast_ref::<Error>()
            && let ErrorKind::HttpResponse { status, raw_response: Some(raw), .. } = azure.kind()
        {
            let answer: Refusal<'_> = serde_json::from_slice(raw.body()).unwrap_or_default();
            say(&mut told, &format!("{} {}", u16::from(*status), answer.error));
            say(&mut told, &answer.error_description);
        }
        cause = error.source();
    }
    told.chars().take(MOST_WORDS).collect()
}

/// Adds what was not told yet.
fn say(told: &mut String, more: &str) {
    let more = one_line(more);
    if !more.is_empty() && !told.contains(&more) {
        *told = format!("{told}: {more}");
    }
}

/// As Entra ID and the metadata service say it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    error_description: Cow<'a, str>,
}

/// What links to a page of help is left out: codes are to be found within what is told.
fn one_line(text: &str) -> String {
    let words = text.lines().filter(|line| !line.starts_with("To troubleshoot, visit ")).collect::<Vec<_>>();
    words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Fake {
        works: bool,
        asked: AtomicU32,
    }

    #[async_trait]
    impl TokenCredential for Fake {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.works {
                Ok(AccessToken::new("token".to_owned(), time::OffsetDateTime::now_utc()))
            } else {
                Err(ErrorKind::Credential.into_error())
            }
        }
    }

    #[tokio::test]
    async fn the_first_identity_that_works_is_kept() {
        let [first, second, third] =
            [false, true, true].map(|works| Arc::new(Fake { works, asked: AtomicU32::new(0) }));
        let candidates = [&first, &second, &third]
            .map(|fake| ("fake", Arc::clone(fake) as Arc<dyn TokenCredential>))
            .to_vec();
        let chain = Chain { candidates, chosen: OnceLock::new() };
        for _ in 0..3 {
            chain.get_token(&["scope"], None).await.expect("the second works");
        }
        let asked = [first, second, third].map(|fake| fake.asked.load(Ordering::Relaxed));
        assert_eq!(asked, [1, 3, 0]);
    }

    #[tokio::test]
    async fn without_any_identity_every_refusal_is_named() {
        let fake = Arc::new(Fake { works: false, asked: AtomicU32::new(0) });
        let chain = Chain { candidates: vec![("cli", fake)], chosen: OnceLock::new() };
        let error = chain.get_token(&["scope"], None).await.expect_err("none works");
        assert!(error.to_string().contains("cli gives no token"), "{error}");
        assert_eq!(error.kind(), &ErrorKind::Credential);
    }
}
