//! Azure Blob Storage, and Azurite. Errors are classified here.

mod account;
mod client;
mod download;
mod error;
mod facts;
pub(in crate::adapters) mod identity;
mod list;
mod refusal;
mod sign;
mod store;
mod xml;

pub use self::account::{Account, Service};
pub use self::client::AzureOptions;
pub(crate) use self::client::client_options;
pub(crate) use self::error::{classified, is_code};
pub use self::store::AzureStore;
