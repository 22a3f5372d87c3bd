//! The codec's child process alone, for tests and benches: `nightread codec-child` does the same in production.
//!
//! With a word it is a codec that does no decoding but tries what the word says, from inside of the sandbox.

#![allow(clippy::disallowed_methods)] // what it tries is to be refused

use std::process::ExitCode;
use std::{fs, net, process, thread};

use nightread_dicom::{CodecImage, CodecRequest, IsolatedCodec, Samples, codec_child};
use nightread_domain::error::JobError;

#[derive(Debug)]
struct Attempt(String);

impl IsolatedCodec for Attempt {
    #[allow(clippy::panic)] // one of the attempts
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
        // What comes of an attempt does not matter: whoever lives to answer was not stopped.
        match self.0.as_str() {
            "socket" => drop(net::UdpSocket::bind("127.0.0.1:0")),
            "open" => drop(fs::File::open("/etc/hostname")),
            "create" => drop(fs::write("/tmp/nightread-codec-attempt", "")),
            "exec" | "fork" => drop(process::Command::new("/bin/true").spawn()),
            "thread" => drop(thread::Builder::new().spawn(|| ())),
            "kill" => drop(rustix::process::kill_process(
                rustix::process::getppid().unwrap_or(rustix::process::Pid::INIT),
                rustix::process::Signal::TERM,
            )),
            "read-other" => drop(rustix::io::read(std::io::stderr(), &mut [0; 8])),
            "panic" => panic!("as asked"),
            "abort" => process::abort(),
            "overflow" => drop(deep(request.frame, 1)),
            _ => {}
        }
        let samples = Samples::U8(vec![7; request.columns as usize * request.rows as usize]);
        Ok(CodecImage { precision: 8, samples })
    }
}

/// Uses up the stack.
#[allow(unconditional_recursion)]
fn deep(frame: &[u8], n: u64) -> u64 {
    let here = [n; 512];
    deep(std::hint::black_box(frame), n + 1) + std::hint::black_box(here)[7]
}

fn main() -> ExitCode {
    let served = match std::env::args().nth(1) {
        Some(word) => codec_child::serve_with(&Attempt(word)),
        None => codec_child::serve(),
    };
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
