//! The codec's child process alone, for tests and benches: `nightread codec-child` does the same in production.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match nightread_imaging::codec_child::serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
