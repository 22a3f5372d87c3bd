//! `nightread topology`: the broker's exchanges and queues.

use std::process::ExitCode;

use anyhow::Result;

use super::{WRONG_USE, broker_of, print};
use crate::adapters::queue::rabbitmq::topology;
use crate::cli::TopologyArgs;

pub(super) fn run(args: &TopologyArgs) -> Result<ExitCode> {
    let Some((_, options)) = broker_of(&args.common)? else { return Ok(ExitCode::from(WRONG_USE)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let version = runtime.block_on(async {
        if args.check { topology::check(&options).await } else { topology::declare(&options).await }
    })?;
    let done = if args.check { "is there as it should be" } else { "is declared" };
    print(&format!("RabbitMQ {}.{}: the topology {done}", version.major, version.minor))?;
    Ok(ExitCode::SUCCESS)
}
