//! Composes what all jobs share: settings in, a ready pipeline out.

mod account;
mod compose;
mod models;
pub mod privacy;
pub mod runtime;
mod settings;
mod start;

pub use self::account::{account, queue_account};
pub use self::compose::{
    Composition, Stores, allowed, compose, precision, rabbit, require_precision, stores,
};
pub(crate) use self::compose::{codec, decode_limits};
pub use self::models::{catalogue, catalogue_here, fetched, store_of};
pub use self::settings::settings;
pub(crate) use self::start::{WrongUse, broker_of, require_broker, sound, sound_settings, stop_on_signals};
