//! One child process and the two pipes to it. No call waits longer than its patience.

use std::cmp::Ordering;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::MAX_LINE;

/// The most a pipe holds without privileges: fewer turns between parent and child for each image.
const PIPE_BYTES: usize = 1 << 20;
/// How long a child that closed its pipe may take to end.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// A wait is cut into these: what one lasts beyond it, neither parent nor child ran.
const SLICE: Duration = Duration::from_millis(500);

/// How long a child may still take. Time in which this process was stopped, with the machine or alone, is not the child's:
/// an image must not be blamed for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub Duration);

/// Why nothing came of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The pipe ended, or what came made no sense.
    Died,
    /// The patience is used up.
    Late,
}

/// How a child came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In words.
    ByItself(String),
    /// From outside, as the kernel does that is out of memory.
    Killed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByItself(how) => f.write_str(how),
            Self::Killed => {
                f.write_str("was killed from outside (SIGKILL), as by a system that is short of memory")
            }
        }
    }
}

/// A running child; killed when dropped.
pub(super) struct Link {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Bytes that came with the last line.
    ahead: Vec<u8>,
    /// Frames this child decoded.
    pub(super) served: u32,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("child", &self.child.id())
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn start(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the codec's own words may quote the image
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("the child has no pipes"));
        };
        let link = Self { child, input, output, ahead: Vec::new(), served: 0 };
        for end in [link.input.as_fd(), link.output.as_fd()] {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
            #[cfg(target_os = "linux")]
            let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES); // a smaller one works too
        }
        Ok(link)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child is there and silent, as one that waits for a frame is.
    pub(super) fn is_quiet(&self) -> bool {
        let mut output = [PollFd::new(&self.output, PollFlags::IN)];
        self.ahead.is_empty() && poll(&mut output, Some(&Timespec::default())) == Ok(0)
    }

    /// Sends one line and then `bytes`.
    pub(super) fn tell(
        &mut self,
        word: &impl Serialize,
        bytes: &[u8],
        patience: &mut Patience,
    ) -> Result<(), Broken> {
        let mut line = serde_json::to_vec(word).map_err(|_| Broken::Died)?;
        line.push(b'\n');
        for mut rest in [&line[..], bytes] {
            while !rest.is_empty() {
                match rustix::io::write(&self.input, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::AGAIN) => wait(self.input.as_fd(), PollFlags::OUT, patience)?,
                    Err(Errno::INTR) => {}
                    Err(_) => return Err(Broken::Died),
                }
            }
        }
        Ok(())
    }

    /// Reads one line.
    pub(super) fn hear<T: DeserializeOwned>(&mut self, patience: &mut Patience) -> Result<T, Broken> {
        let mut heard = Vec::with_capacity(MAX_LINE);
        let end = loop {
            if let Some(end) = heard.iter().position(|&byte| byte == b'\n') {
                break end;
            }
            if heard.len() == heard.capacity() {
                return Err(Broken::Died);
            }
            self.more(&mut heard, patience)?;
        };
        self.ahead = heard.split_off(end + 1);
        serde_json::from_slice(&heard).map_err(|_| Broken::Died)
    }

    /// Reads the `count` bytes after a line.
    pub(super) fn take(&mut self, count: usize, patience: &mut Patience) -> Result<Vec<u8>, Broken> {
        if self.ahead.len() > count {
            return Err(Broken::Died);
        }
        let mut taken = Vec::with_capacity(count);
        taken.append(&mut self.ahead);
        while taken.len() < count {
            self.more(&mut taken, patience)?;
        }
        // A vector may have more capacity than was asked for.
        if taken.len() == count { Ok(taken) } else { Err(Broken::Died) }
    }

    /// Reads the `count` little-endian words after a line, without a second copy of them.
    pub(super) fn take_words(&mut self, count: usize, patience: &mut Patience) -> Result<Vec<u16>, Broken> {
        let mut words = Vec::with_capacity(count);
        let mut bytes = std::mem::take(&mut self.ahead);
        bytes.reserve(PIPE_BYTES);
        loop {
            let (pairs, odd) = bytes.as_chunks();
            words.extend(pairs.iter().map(|pair| u16::from_le_bytes(*pair)));
            let odd = odd.first().copied();
            bytes.clear();
            bytes.extend(odd);
            match words.len().cmp(&count) {
                Ordering::Less => self.more(&mut bytes, patience)?,
                Ordering::Equal if odd.is_none() => return Ok(words),
                _ => return Err(Broken::Died),
            }
        }
    }

    /// Reads into the spare capacity of `into`, at least one byte.
    fn more(&mut self, into: &mut Vec<u8>, patience: &mut Patience) -> Result<(), Broken> {
        loop {
            match rustix::io::read(&self.output, spare_capacity(into)) {
                Ok(0) => return Err(Broken::Died),
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => wait(self.output.as_fd(), PollFlags::IN, patience)?,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Broken::Died),
            }
        }
    }

    /// How the child ended. One that has not is killed.
    pub(super) fn end(mut self) -> End {
        let patience = Instant::now() + LAST_BREATH;
        loop {
            match self.child.try_wait() {
                // Nothing that an image does ends so: its child may be confined, starved or too long at it, and dies of
                // other signals.
                Ok(Some(status)) if status.signal() == Some(Signal::KILL.as_raw()) => return End::Killed,
                Ok(Some(status)) => return End::ByItself(status.to_string()),
                Ok(None) if Instant::now() < patience => thread::sleep(Duration::from_millis(2)),
                _ => return End::ByItself("what it said made no sense".to_owned()),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(end: BorrowedFd<'_>, what: PollFlags, patience: &mut Patience) -> Result<(), Broken> {
    loop {
        let slice = patience.0.min(SLICE);
        let began = Instant::now();
        let timeout = Timespec::try_from(slice).map_err(|_| Broken::Late)?;
        let polled = poll(&mut [PollFd::from_borrowed_fd(end, what)], Some(&timeout));
        patience.0 -= began.elapsed().min(slice);
        match polled {
            Ok(0) if patience.0.is_zero() => return Err(Broken::Late),
            Ok(0) => {}
            Ok(_) | Err(Errno::INTR) => return Ok(()),
            Err(_) => return Err(Broken::Died),
        }
    }
}
