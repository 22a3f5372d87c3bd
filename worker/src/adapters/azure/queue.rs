//! Azure Storage queues, where Event Grid leaves its announcements. A message that is taken is hidden, not gone: unless
//! it is deleted in time, it comes again.

use std::fmt;
use std::time::Duration;

use azure_core::http::{ClientOptions, Url};
use azure_storage_queue::models::{
    QueueClientGetPropertiesResultHeaders, QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions,
    QueueMessage, ReceivedMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use nightread_domain::{ErrorCode, JobError, Stage};
use time::OffsetDateTime;

use crate::adapters::storage::azure::{Account, AzureOptions, Service, classified, client_options, is_code};

/// The most that one call gives.
pub const MAX_RECEIVED: usize = 32;

/// What a queue of poison messages is called, after the queue they come from.
pub const POISON_SUFFIX: &str = "-poison";

/// A queue.
pub struct StorageQueue {
    client: QueueClient,
}

/// A message that is hidden from others for a while.
#[derive(Clone, Debug)]
pub struct Received {
    id: String,
    receipt: String,
    /// As it was put there, encoded or not.
    pub text: String,
    /// Since when it is there, by the service's clock.
    pub inserted: Option<OffsetDateTime>,
    /// How often it has been taken, this time included.
    pub taken: u64,
}

impl fmt::Debug for StorageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageQueue").field("queue", &self.client.url().path()).finish_non_exhaustive()
    }
}

impl StorageQueue {
    /// A queue and the queue for its poison messages. `account`: by the queue's own URL, or by the account's when the
    /// `name` of the queue is given.
    pub fn with_poison(account: Account, name: Option<&str>) -> Result<(Self, Self), JobError> {
        let mut url = account.endpoint_url().clone();
        if let Some(name) = name {
            push(&mut url, name)?;
        }
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        if name.is_empty() {
            return Err(invalid(
                "a queue's URL ends with its name: https://ACCOUNT.queue.core.windows.net/QUEUE",
            ));
        }
        let poison_name = format!("{name}{POISON_SUFFIX}");
        let mut poison = url.clone();
        poison.path_segments_mut().map_err(|()| invalid("a queue's URL is a base URL"))?.pop();
        push(&mut poison, &poison_name)?;
        let options = client_options(account, AzureOptions::default(), Service::Queue)?;
        Ok((Self::open(url, &options)?, Self::open(poison, &options)?))
    }

    fn open(url: Url, options: &ClientOptions) -> Result<Self, JobError> {
        let options = QueueClientOptions { client_options: options.clone(), ..Default::default() };
        let client =
            QueueClient::new(url, None, Some(options)).map_err(|error| classified(Stage::Start, &error))?;
        Ok(Self { client })
    }

    /// Takes up to [`MAX_RECEIVED`] messages, hidden for `hidden`. Empty when there are none.
    pub async fn receive(&self, most: usize, hidden: Duration) -> Result<Vec<Received>, JobError> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: Some(most.clamp(1, MAX_RECEIVED) as i32),
            visibility_timeout: Some(i32::try_from(hidden.as_secs()).unwrap_or(i32::MAX)),
            ..Default::default()
        };
        let answer = self
            .client
            .receive_messages(Some(options))
            .await
            .map_err(|error| classified(Stage::Start, &error))?;
        let items =
            answer.into_model().map_err(|error| classified(Stage::Start, &error))?.items.unwrap_or_default();
        Ok(items.into_iter().filter_map(received).collect())
    }

    /// Removes a message for good; `false` when it was no longer ours, because it was hidden for too short.
    pub async fn delete(&self, message: &Received) -> Result<bool, JobError> {
        match self.client.delete_message(&message.id, &message.receipt, None).await {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "MessageNotFound") || is_code(&error, "PopReceiptMismatch") => {
                Ok(false)
            }
            Err(error) => Err(classified(Stage::Settle, &error)),
        }
    }

    /// Puts a text there that never expires.
    pub async fn put(&self, text: &str) -> Result<(), JobError> {
        let message = QueueMessage { message_text: Some(text.to_owned()) };
        let options = QueueClientSendMessageOptions { message_time_to_live: Some(-1), ..Default::default() };
        let message = message.try_into().map_err(|error| classified(Stage::Store, &error))?;
        self.client
            .send_message(message, Some(options))
            .await
            .map(drop)
            .map_err(|error| classified(Stage::Store, &error))
    }

    /// About how many messages are there, hidden ones included.
    pub async fn depth(&self) -> Result<u64, JobError> {
        let found =
            self.client.get_properties(None).await.map_err(|error| classified(Stage::Start, &error))?;
        let count = found
            .approximate_messages_count()
            .map_err(|error| classified(Stage::Start, &error))?
            .unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Makes the queue unless it is there. For tests and first set-ups; the relay never calls it.
    pub async fn create(&self) -> Result<(), JobError> {
        match self.client.create(None).await {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, "QueueAlreadyExists") => Ok(()),
            Err(error) => Err(classified(Stage::Start, &error)),
        }
    }
}

/// Without its names a message can be neither hidden nor deleted.
fn received(item: ReceivedMessage) -> Option<Received> {
    Some(Received {
        id: item.message_id?,
        receipt: item.pop_receipt?,
        inserted: item.insertion_time,
        text: item.message_text.unwrap_or_default(),
        taken: u64::try_from(item.dequeue_count.unwrap_or(1)).unwrap_or(1),
    })
}

fn push(url: &mut Url, name: &str) -> Result<(), JobError> {
    let has_others =
        name.bytes().any(|byte| !byte.is_ascii_lowercase() && !byte.is_ascii_digit() && byte != b'-');
    if !(3..=63).contains(&name.len()) || has_others {
        return Err(invalid("a queue's name has 3 to 63 lower-case letters, digits and hyphens"));
    }
    url.path_segments_mut().map_err(|()| invalid("a queue's URL is a base URL"))?.pop_if_empty().push(name);
    Ok(())
}

fn invalid(message: &str) -> JobError {
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, message)
}
