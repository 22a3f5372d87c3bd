//! The parent's side: children that wait for frames, started as they are needed.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nightread_domain::error::{ErrorClass, ErrorCode, JobError};

use super::link::{Broken, End, Link, Patience};
use super::load::Load;
use super::wire::{Answer, Ask, Greeting, Start};
use super::{CodecImage, CodecRequest, IsolatedCodec};
use crate::error::refuse;
use crate::samples::Samples;

/// Frames that one child serves. Starting another costs about as much as a small image.
const FRAMES: u32 = 256;
/// Address space that holds images of up to 41 megapixels.
const LEAST_MEMORY: u64 = 1 << 30;
/// What a child may say of a frame; any other code is not its to give.
const CHILDS_CODES: [ErrorCode; 6] = [
    ErrorCode::Truncated,
    ErrorCode::DecodeFailed,
    ErrorCode::ValueOutOfRange,
    ErrorCode::InflatesTooLarge,
    ErrorCode::UnsupportedMedia,
    ErrorCode::ColourImage,
];

/// Runs codecs in child processes: as many as there are callers at one time, each reused for many frames.
///
/// `program args…` must call [`super::child::serve`]. It inherits no environment.
#[derive(Debug)]
pub struct ChildCodec {
    program: PathBuf,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    memory_bytes: u64,
    timeout: Duration,
    idle: Mutex<Vec<Link>>,
}

impl ChildCodec {
    /// Children with the memory that images of 40 megapixels need, and 30 seconds an image: OpenJPEG decodes
    /// three megapixels a second.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            memory_bytes: LEAST_MEMORY,
            timeout: Duration::from_secs(30),
            idle: Mutex::default(),
        }
    }

    /// Address space for images of so many pixels, the program's own code included: 24 bytes a pixel, since OpenJPEG
    /// takes about 16, and 64 MiB; 1 GiB at least.
    pub fn memory_for(max_pixels: u64) -> u64 {
        max_pixels.saturating_mul(24).saturating_add(64 << 20).max(LEAST_MEMORY)
    }

    /// A variable in the environment of each child, which is empty otherwise.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Address space of each child, its own code included.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Wall time for one frame, the child's start included.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts a child and keeps it for the first frame, so that a system that cannot run or confine one is known before any
    /// work.
    ///
    /// # Errors
    /// `internal` and `sandbox_unavailable`, as `decode`.
    pub fn make_ready(&self) -> Result<(), JobError> {
        let link = self.start(&mut Patience(self.timeout))?;
        self.keep(link);
        Ok(())
    }

    /// Process ids of the children that wait for a frame.
    pub fn idle_children(&self) -> Vec<u32> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Link::pid).collect()
    }

    fn keep(&self, link: Link) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
    }

    /// A child that waits and says nothing. What died while idle, or talks out of turn, is cleared away.
    fn waiting(&self) -> Option<Link> {
        loop {
            let link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if link.is_quiet() {
                return Some(link);
            }
        }
    }

    fn start(&self, patience: &mut Patience) -> Result<Link, JobError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut link = Link::start(&mut command).map_err(|error| {
            let class = match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => ErrorClass::Fatal,
                // Out of processes, descriptors or memory for the moment.
                _ => ErrorClass::Transient,
            };
            refuse(ErrorCode::Internal, "the codec's child process cannot be started")
                .with_class(class)
                .with_source(error)
        })?;
        let greeting = link
            .tell(&Start { memory_bytes: self.memory_bytes }, &[], patience)
            .and_then(|()| link.hear::<Greeting>(patience));
        match greeting {
            Ok(Greeting::Ready) => Ok(link),
            Ok(Greeting::Unconfined { message }) => Err(refuse(
                ErrorCode::SandboxUnavailable,
                format!("the codecs' sandbox cannot be set up on this system: {}", plain(&message)),
            )),
            // No frame was sent, so none is to blame.
            Err(broken) => {
                let how = match broken {
                    Broken::Late => "it was late".to_owned(),
                    Broken::Died => link.end().to_string(),
                };
                Err(refuse(
                    ErrorCode::Internal,
                    format!("the codec's child process ended before its first frame ({how})"),
                )
                .with_class(ErrorClass::Transient))
            }
        }
    }

    /// One frame to one child, which is kept or ended after it.
    fn converse(
        &self,
        mut link: Link,
        request: &CodecRequest<'_>,
        patience: &mut Patience,
    ) -> Result<Result<CodecImage, JobError>, (Broken, Link)> {
        let name = request.codec.as_str();
        let ask = Ask {
            codec: name.to_owned(),
            columns: request.columns,
            rows: request.rows,
            bits: request.bits,
            signed: request.signed,
            working_bytes: request.working_bytes,
            frame_bytes: request.frame.len() as u64,
            cpu_seconds: self.timeout.as_secs() + 1,
        };
        let answer = link.tell(&ask, request.frame, patience).and_then(|()| link.hear::<Answer>(patience));
        let precision = match answer {
            Ok(Answer::Decoded { precision }) => precision,
            Ok(Answer::Refused { code, message }) => {
                let code = if CHILDS_CODES.contains(&code) { code } else { ErrorCode::DecodeFailed };
                return Ok(Err(refuse(code, plain(&message))));
            }
            Err(broken) => return Err((broken, link)),
        };
        if !(1..=request.bits).contains(&u16::from(precision)) {
            return Err((Broken::Died, link));
        }
        let count = request.columns as usize * request.rows as usize;
        let taken = if precision > 8 {
            link.take_words(count, patience).map(Samples::U16)
        } else {
            link.take(count, patience).map(Samples::U8)
        };
        match taken {
            Ok(samples) => {
                link.served += 1;
                if link.served < FRAMES {
                    self.keep(link);
                }
                Ok(Ok(CodecImage { precision, samples }))
            }
            Err(broken) => Err((broken, link)),
        }
    }
}

impl IsolatedCodec for ChildCodec {
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
        let mut patience = Patience(self.timeout);
        let name = request.codec.as_str();
        let mut waiting = self.waiting();
        loop {
            let (link, fresh) = match waiting.take() {
                Some(link) => {
                    let fresh = link.served == 0;
                    (link, fresh)
                }
                None => (self.start(&mut patience)?, true),
            };
            let before = Load::of(link.pid());
            match self.converse(link, request, &mut patience) {
                Ok(answer) => return answer,
                Err((Broken::Late, link)) => return Err(self.late(name, &link, before)),
                Err((Broken::Died, link)) if fresh => {
                    return Err(match link.end() {
                        End::ByItself(how) => refuse(
                            ErrorCode::CodecDied,
                            format!("the {name} codec died on this image ({how})"),
                        ),
                        // The image did not do it, and may be read elsewhere or later.
                        killed @ End::Killed => {
                            refuse(ErrorCode::CodecKilled, format!("the {name} codec's process {killed}"))
                        }
                    });
                }
                // An earlier frame, or the system, may have hurt it: a fresh child decides.
                Err((Broken::Died, _)) => {}
            }
        }
    }
}

impl ChildCodec {
    /// What is to be said of a child that used up the time-out.
    fn late(&self, name: &str, link: &Link, before: Option<Load>) -> JobError {
        match Load::of(link.pid()).and_then(|now| now.starved(before, self.timeout)) {
            Some(had) => refuse(
                ErrorCode::CodecStarved,
                format!("the {name} codec was given {had:?} of a processor in {:?}", self.timeout),
            ),
            None => refuse(
                ErrorCode::CodecTimeout,
                format!("the {name} codec took longer than {:?}", self.timeout),
            ),
        }
    }
}

/// Words from a child, made safe to print.
fn plain(message: &str) -> String {
    message.chars().take(1000).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
