//! Composes what all jobs share: settings in, a ready pipeline out.

mod account;
mod compose;
pub mod environment;
mod models;
pub mod runtime;
mod settings;
mod start;
mod stores;

pub use self::account::{account, queue_account};
pub use self::compose::{Composition, allowed, compose, precision, rabbit, require_precision};
pub(crate) use self::compose::{codec, decode_limits};
pub use self::models::{catalogue, catalogue_here, described, fetched};
pub use self::settings::settings;
pub(crate) use self::start::{WrongUse, broker_of, require_broker, sound, sound_settings, stop_on_signals};
pub use self::stores::{Stores, store_of, stores};
