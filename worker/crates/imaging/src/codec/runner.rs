//! The parent's side: start a child, feed it, read its answer, and never wait past the time-out.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nightread_domain::error::{ErrorClass, ErrorCode, JobError};

use super::wire::{Answer, Ask, MAX_LINE};
use super::{CodecImage, CodecRequest, IsolatedCodec};
use crate::error::refuse;

/// How often a child that has answered is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);

/// Runs a codec in a child process of its own for each picture.
///
/// `program args…` must call [`super::child::serve`] on its standard input and output. It inherits no environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCodec {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Address space of the child, its own code included.
    pub memory_bytes: u64,
    /// Wall time from start to end.
    pub timeout: Duration,
}

impl ChildCodec {
    /// 1 GiB and 30 seconds: OpenJPEG takes about 16 bytes a pixel, 640 MB for 40 megapixels, and decodes four
    /// megapixels a second.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            memory_bytes: 1 << 30,
            timeout: Duration::from_secs(30),
        }
    }

    fn start(&self) -> Result<Child, JobError> {
        Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the codec's own words may quote the picture
            .spawn()
            .map_err(|error| {
                let class = match error.kind() {
                    ErrorKind::NotFound | ErrorKind::PermissionDenied => ErrorClass::Fatal,
                    // Out of processes or memory for the moment.
                    _ => ErrorClass::Transient,
                };
                refuse(ErrorCode::Internal, "the codec's child process cannot be started")
                    .with_class(class)
                    .with_source(error)
            })
    }
}

impl IsolatedCodec for ChildCodec {
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
        let deadline = Instant::now() + self.timeout;
        let most = u64::from(request.columns) * u64::from(request.rows) * u64::from(request.bits / 8);
        let ask = serde_json::to_vec(&Ask {
            codec: request.codec.as_str().to_owned(),
            columns: request.columns,
            rows: request.rows,
            bits: request.bits,
            frame_bytes: request.frame.len() as u64,
            memory_bytes: self.memory_bytes,
            cpu_seconds: self.timeout.as_secs() + 1,
        })
        .map_err(|error| {
            refuse(ErrorCode::Internal, "the codec request cannot be written").with_source(error)
        })?;

        let mut child = self.start()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(refuse(ErrorCode::Internal, "the codec's child process has no pipes"));
        };
        thread::scope(|scope| {
            scope.spawn(move || {
                // A child that dies early closes the pipe; its exit status tells the story.
                let _ = stdin
                    .write_all(&ask)
                    .and_then(|()| stdin.write_all(b"\n"))
                    .and_then(|()| stdin.write_all(request.frame));
            });
            let (send, receive) = mpsc::sync_channel(1);
            scope.spawn(move || send.send(read_answer(stdout, most)));
            let answer = receive.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            // Both threads end when the child does, so it must be gone before the scope closes.
            let status = end(&mut child, if answer.is_ok() { deadline } else { Instant::now() });
            match (answer, status) {
                (Err(_), _) | (_, None) => Err(refuse(
                    ErrorCode::CodecTimeout,
                    format!("the {} codec took longer than {:?}", request.codec.as_str(), self.timeout),
                )),
                (Ok(Some((Answer::Decoded { precision }, data))), Some(status)) if status.success() => {
                    check(precision, data, request)
                }
                (Ok(Some((Answer::Negative, _))), Some(status)) if status.success() => Err(refuse(
                    ErrorCode::ValueOutOfRange,
                    "the picture holds negative values; a radiograph's start at zero",
                )),
                (Ok(Some((Answer::Refused { message }, _))), Some(status)) if status.success() => {
                    Err(refuse(
                        ErrorCode::DecodeFailed,
                        format!("the {} picture cannot be decoded: {message}", request.codec.as_str()),
                    ))
                }
                (Ok(_), Some(status)) => Err(refuse(
                    ErrorCode::CodecDied,
                    format!("the {} codec died on this picture ({status})", request.codec.as_str()),
                )),
            }
        })
    }
}

/// The answer line and at most `most` bytes of samples (and one more, so that too many are seen); `None` when the
/// child said nothing sensible.
fn read_answer(stdout: impl Read, most: u64) -> Option<(Answer, Vec<u8>)> {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.by_ref().take(MAX_LINE).read_line(&mut line).ok()?;
    let answer = serde_json::from_str(&line).ok()?;
    let mut data = Vec::new();
    stdout.take(most + 1).read_to_end(&mut data).ok()?;
    Some((answer, data))
}

/// Waits for the child until `deadline`, then kills it. `None` if it had to be killed.
fn end(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn check(precision: u8, data: Vec<u8>, request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
    let bytes = if precision > 8 { 2 } else { 1 };
    let expected = u64::from(request.columns) * u64::from(request.rows) * bytes;
    if !(1..=16).contains(&precision) || data.len() as u64 != expected {
        return Err(refuse(
            ErrorCode::CodecDied,
            format!("the {} codec gave {} bytes for {expected}", request.codec.as_str(), data.len()),
        ));
    }
    Ok(CodecImage { precision, data })
}
