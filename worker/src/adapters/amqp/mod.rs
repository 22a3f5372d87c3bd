//! RabbitMQ. The session loop is owned here: connect, declare nothing, consume; on any error drop everything, back
//! off, begin again. Nothing of a client library's recovery is trusted with acknowledgements.

mod admin;
mod backoff;
mod certificate;
mod connect;
mod death;
mod former;
mod names;
mod options;
mod properties;
mod publisher;
pub mod topology;
mod version;
mod wire;
mod work;

pub use self::admin::audit;
pub use self::admin::dead::{DeadLetter, DeadLetters, Handling, Pile, Swept};
pub use self::admin::management::{Management, QueueCount};
pub use self::admin::parked::Parking;
pub use self::admin::reports::{WorkReport, recent_reports};
pub use self::admin::rights::Rights;
pub use self::certificate::ends_at as certificate_ends_at;
pub use self::connect::{hosts, virtual_host};
pub use self::former::{Former, former};
pub use self::names::{FORMER_KEY, FORMER_QUEUES, FormerQueue};
pub use self::options::RabbitOptions;
pub use self::publisher::Publisher;
pub use self::version::BrokerVersion;
pub use self::work::bulk::{BulkLink, Sent};
pub use self::work::courier::Courier;
pub use self::work::intake::{RabbitIntake, SessionWatcher};
pub use self::work::outbox::Outbox;
pub use self::work::results::{ResultData, ResultEvent};
pub use self::work::shared::SessionState;
