//! The outside world, named by technology: each adapter implements a port of the domain and classifies its own errors.

pub mod amqp;
pub mod azure;
pub mod dicom;
pub mod http;
pub mod memory;
pub mod python;
pub mod registry;
pub mod remote_write;
pub mod storage;
pub mod tls;
