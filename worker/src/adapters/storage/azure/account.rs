//! Which account, and by what right: the three forms that settings may take.

use std::collections::BTreeMap;
use std::fmt;

use azure_core::credentials::Secret;
use azure_core::http::Url;
use nightread_domain::JobError;

use super::error::invalid;

/// The account and key that every Azurite has, published in its documentation.
const DEVELOPMENT: &str = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1";

/// Which of an account's services is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Blob,
    Queue,
}

impl Service {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Queue => "queue",
        }
    }
}

/// An endpoint of an account and the right to use it.
pub struct Account {
    pub(super) endpoint: Url,
    pub(super) access: Access,
}

/// By what right requests are made.
pub(super) enum Access {
    /// Managed identity, workload identity, Azure CLI; with the client id of a user-assigned identity.
    Identity { client_id: Option<String> },
    /// A signature made elsewhere, as query pairs.
    Sas(Vec<(String, String)>),
    /// Turned into short-lived signatures inside this process.
    Key { account: String, key: Secret },
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::Identity { .. } => "identity",
            Access::Sas(_) => "shared access signature",
            Access::Key { .. } => "account key",
        };
        f.debug_struct("Account").field("endpoint", &self.endpoint()).field("access", &access).finish()
    }
}

impl Account {
    /// `https://<account>.blob.core.windows.net`, signed in by identity.
    pub fn identity(url: &str, client_id: Option<&str>) -> Result<Self, JobError> {
        let endpoint = endpoint_of(url)?;
        if endpoint.query().is_some() {
            return Err(invalid(
                "an account URL has no query; a shared access signature has a setting of its own",
            ));
        }
        if endpoint.scheme() != "https" {
            return Err(invalid("an identity's token goes over https only"));
        }
        Ok(Self { endpoint, access: Access::Identity { client_id: client_id.map(ToOwned::to_owned) } })
    }

    /// An account URL with a shared access signature: `https://<account>.blob.core.windows.net/?sv=...&sig=...`.
    pub fn sas_url(url: &str) -> Result<Self, JobError> {
        let mut endpoint = endpoint_of(url)?;
        let pairs: Vec<_> = endpoint.query_pairs().into_owned().collect();
        if !pairs.iter().any(|(name, _)| name == "sig") {
            return Err(invalid("a SAS URL carries a signature (sig=...)"));
        }
        endpoint.set_query(None);
        Ok(Self { endpoint, access: Access::Sas(pairs) })
    }

    /// `AccountName=...;AccountKey=...` or `...;SharedAccessSignature=...`, with `BlobEndpoint` or
    /// `EndpointSuffix`; `UseDevelopmentStorage=true` for Azurite.
    pub fn connection_string(text: &str) -> Result<Self, JobError> {
        Self::of_service(text, Service::Blob)
    }

    /// The same for the account's queues, with `QueueEndpoint`.
    pub fn queue_connection_string(text: &str) -> Result<Self, JobError> {
        Self::of_service(text, Service::Queue)
    }

    fn of_service(text: &str, service: Service) -> Result<Self, JobError> {
        let mut fields = BTreeMap::new();
        for field in text.split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (name, value) =
                field.split_once('=').ok_or_else(|| invalid("a connection string has name=value fields"))?;
            fields.insert(name.to_ascii_lowercase(), value);
        }
        if field(&fields, "usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::of_service(DEVELOPMENT, service);
        }
        let name = field(&fields, "accountname");
        let endpoint = match (field(&fields, &format!("{}endpoint", service.as_str())), name) {
            (Some(endpoint), _) => endpoint_of(endpoint)?,
            (None, Some(name)) => {
                let scheme = field(&fields, "defaultendpointsprotocol").unwrap_or("https");
                let suffix = field(&fields, "endpointsuffix").unwrap_or("core.windows.net");
                endpoint_of(&format!("{scheme}://{name}.{}.{suffix}", service.as_str()))?
            }
            (None, None) => {
                return Err(invalid("a connection string names the service's endpoint or AccountName"));
            }
        };
        let access = match (field(&fields, "sharedaccesssignature"), name, field(&fields, "accountkey")) {
            (Some(signature), _, _) => {
                let mut url = endpoint.clone();
                url.set_query(Some(signature.trim_start_matches('?')));
                return Self::sas_url(url.as_str());
            }
            (None, Some(account), Some(key)) => {
                Access::Key { account: account.to_owned(), key: Secret::new(key.to_owned()) }
            }
            _ => {
                return Err(invalid(
                    "a connection string has AccountName and AccountKey, or SharedAccessSignature",
                ));
            }
        };
        Ok(Self { endpoint, access })
    }

    /// The endpoint, to be taken further.
    pub fn endpoint_url(&self) -> &Url {
        &self.endpoint
    }

    /// The address under which this account's blobs may be announced.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }
}

/// A field of a connection string, if it says something.
fn field<'a>(fields: &BTreeMap<String, &'a str>, name: &str) -> Option<&'a str> {
    fields.get(name).copied().filter(|value| !value.is_empty())
}

fn endpoint_of(text: &str) -> Result<Url, JobError> {
    // The parser's words would quote the text, and the text may hold a secret.
    let url = Url::parse(text.trim()).map_err(|_| invalid("a storage endpoint is an absolute URL"))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid("a storage endpoint is an http or https URL without user and fragment"));
    }
    // Data Lake's own endpoint speaks another protocol; the same files are read at the twin.
    if url.host_str().is_some_and(|host| host.split('.').skip(1).any(|label| label == "dfs")) {
        return Err(invalid(
            "blobs are read at https://ACCOUNT.blob..., not at its twin https://ACCOUNT.dfs...",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_data_lake_is_refused_with_its_twin() {
        for url in ["https://a.dfs.core.windows.net", "https://a.z12.dfs.storage.azure.net/"] {
            let refused = Account::identity(url, None).expect_err(url);
            assert!(refused.message.contains("https://ACCOUNT.blob"), "{refused}");
        }
        assert!(
            Account::identity("https://dfs.blob.core.windows.net", None).is_ok(),
            "an account may be called so"
        );
    }
}
