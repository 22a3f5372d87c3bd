//! Sources of deliveries.

pub mod memory;
pub mod rabbitmq;
pub mod storage_queue;
