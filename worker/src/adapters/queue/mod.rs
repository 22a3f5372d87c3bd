//! Sources of deliveries.

pub mod memory;
pub mod rabbitmq;
