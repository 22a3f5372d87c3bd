//! The accounts of the settings.

use nightread_domain::JobError;

use crate::adapters::storage::azure::Account;
use crate::settings::{AzureAccess, QueueAccess, RelaySettings, Settings};

/// The account of the settings.
pub fn account(access: &AzureAccess) -> Result<Account, JobError> {
    match access {
        AzureAccess::Identity { account_url, client_id } => {
            Account::identity(account_url, client_id.as_deref())
        }
        AzureAccess::SasUrl(url) => Account::sas_url(url.reveal()),
        AzureAccess::ConnectionString(text) => Account::connection_string(text.reveal()),
    }
}

/// The account of the queue that is relayed from, and the queue's name where the account's address does not have it.
pub fn queue_account(
    relay: &RelaySettings,
    settings: &Settings,
) -> Result<(Account, Option<String>), JobError> {
    Ok(match &relay.access {
        QueueAccess::Identity { queue_url } => {
            (Account::identity(queue_url, settings.client_id.as_deref())?, None)
        }
        QueueAccess::SasUrl(url) => (Account::sas_url(url.reveal())?, None),
        QueueAccess::ConnectionString { text, queue } => {
            (Account::queue_connection_string(text.reveal())?, Some(queue.clone()))
        }
    })
}
