//! Sources of deliveries.

pub mod memory;
