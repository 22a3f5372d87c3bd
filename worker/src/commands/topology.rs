//! `nightread topology`: the broker's exchanges and queues.

use std::process::ExitCode;

use anyhow::Result;

use super::{WRONG_USE, print, say};
use crate::adapters::queue::rabbitmq::topology;
use crate::app;
use crate::cli::TopologyArgs;

pub(super) fn run(args: &TopologyArgs) -> Result<ExitCode> {
    let (_, settings, problems) = app::settings(&args.common, &[]);
    let Some(settings) = settings.filter(|_| problems.is_empty()) else {
        say(&problems.to_string());
        return Ok(ExitCode::from(WRONG_USE));
    };
    let Some(broker) = &settings.broker else {
        say("[broker] url is missing (NIGHTREAD_BROKER_URL)");
        return Ok(ExitCode::from(WRONG_USE));
    };
    let options = app::rabbit(broker, &settings.limits)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let version = runtime.block_on(async {
        if args.check { topology::check(&options).await } else { topology::declare(&options).await }
    })?;
    let done = if args.check { "is there as it should be" } else { "is declared" };
    print(&format!("RabbitMQ {}.{}: the topology {done}", version.major, version.minor));
    Ok(ExitCode::SUCCESS)
}
