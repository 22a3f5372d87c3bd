//! Composes what all jobs share: settings in, a ready pipeline out.

mod compose;
pub mod privacy;
pub mod runtime;
mod settings;
mod start;

pub use self::compose::{
    Composition, Stores, account, allowed, compose, precision, queue_account, rabbit, stores,
};
pub(crate) use self::compose::{codec, decode_limits};
pub use self::settings::settings;
pub(crate) use self::start::{WrongUse, broker_of, require_broker, sound, sound_settings, stop_on_signals};
