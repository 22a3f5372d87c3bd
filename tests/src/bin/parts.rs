//! Starts RabbitMQ and Azurite for many test runs, prints how to use them, and ends them when standard input closes.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use nightread_tests::azurite::Azurite;
use nightread_tests::rabbit::Rabbit;

#[tokio::main]
async fn main() -> ExitCode {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        eprintln!("RabbitMQ or Azurite is missing; tests/setup installs them");
        return ExitCode::FAILURE;
    };
    println!("export NIGHTREAD_TEST_AMQP_URL='{}'", rabbit.url());
    println!("export NIGHTREAD_TEST_STORAGE='{}'", azurite.connection_string());
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {}
    ExitCode::SUCCESS
}
