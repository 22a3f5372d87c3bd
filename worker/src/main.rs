//! The thin binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = nightread::cli::Cli::from_command_line();
    // First of all: no thread may exist yet.
    match nightread::app::environment::settle(&cli) {
        Ok(()) => {
            // For what exports traces and makes its own client.
            nightread::adapters::tls::install_provider();
            nightread::commands::run(cli)
        }
        Err(refused) => nightread::commands::refuse(&refused),
    }
}
