//! `nightread topology`: the broker's exchanges and queues.

use std::process::ExitCode;

use anyhow::Result;

use crate::adapters::amqp::{Management, RabbitOptions, former, topology, virtual_host};
use crate::app::{broker_of, runtime};
use crate::cli::TopologyArgs;
use crate::console::{FAILED, print, say};
use crate::settings::Settings;

pub(super) fn run(args: &TopologyArgs) -> Result<ExitCode> {
    let (settings, options) = broker_of(&args.common)?;
    let runtime = runtime::one_thread()?;
    runtime.block_on(async {
        if args.check {
            return check(&settings, &options).await;
        }
        let version = topology::declare(&options).await?;
        print(&format!("RabbitMQ {version}: the topology is declared"))?;
        tell_former(&options).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// What an earlier version left lying, until it is gone.
async fn tell_former(options: &RabbitOptions) -> Result<()> {
    for former in former(options).await? {
        say(&former.to_string());
    }
    Ok(())
}

/// Names by AMQP; arguments, bindings and policies by the management plug-in, where there is one.
async fn check(settings: &Settings, options: &RabbitOptions) -> Result<ExitCode> {
    let version = topology::check(options).await?;
    tell_former(options).await?;
    let Some(url) = &settings.backlog.management_url else {
        print(&format!(
            "RabbitMQ {version}: every exchange and queue is there. Only names were looked at: arguments, bindings and policies \
             are seen through the management plug-in ([backlog] management_url)"
        ))?;
        return Ok(ExitCode::SUCCESS);
    };
    let management = Management::new(url.reveal(), &virtual_host(options)?, options.ca_pem.as_deref())?;
    let differences = management.differences(&options.consumer_timeout).await?;
    if differences.is_empty() {
        print(&format!("RabbitMQ {version}: the topology is there as it should be"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for difference in &differences {
        say(difference);
    }
    say(
        "`nightread topology` makes what is missing; what has other arguments must be deleted first, when it is empty",
    );
    Ok(ExitCode::from(FAILED))
}
