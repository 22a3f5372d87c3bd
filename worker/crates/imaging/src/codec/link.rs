//! One child process and the two pipes to it. No call waits past its deadline.

use std::cmp::Ordering;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::MAX_LINE;

/// The most a pipe holds without privileges: fewer turns between parent and child for each picture.
const PIPE_BYTES: usize = 1 << 20;
/// How long a child that closed its pipe may take to end.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Why nothing came of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The pipe ended, or what came made no sense.
    Died,
    /// The deadline passed.
    Late,
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
            .stderr(Stdio::null()) // the codec's own words may quote the picture
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
        deadline: Instant,
    ) -> Result<(), Broken> {
        let mut line = serde_json::to_vec(word).map_err(|_| Broken::Died)?;
        line.push(b'\n');
        for mut rest in [&line[..], bytes] {
            while !rest.is_empty() {
                match rustix::io::write(&self.input, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::AGAIN) => wait(self.input.as_fd(), PollFlags::OUT, deadline)?,
                    Err(Errno::INTR) => {}
                    Err(_) => return Err(Broken::Died),
                }
            }
        }
        Ok(())
    }

    /// Reads one line.
    pub(super) fn hear<T: DeserializeOwned>(&mut self, deadline: Instant) -> Result<T, Broken> {
        let mut heard = Vec::with_capacity(MAX_LINE);
        let end = loop {
            if let Some(end) = heard.iter().position(|&byte| byte == b'\n') {
                break end;
            }
            if heard.len() == heard.capacity() {
                return Err(Broken::Died);
            }
            self.more(&mut heard, deadline)?;
        };
        self.ahead = heard.split_off(end + 1);
        serde_json::from_slice(&heard).map_err(|_| Broken::Died)
    }

    /// Reads the `count` bytes after a line.
    pub(super) fn take(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Broken> {
        if self.ahead.len() > count {
            return Err(Broken::Died);
        }
        let mut taken = Vec::with_capacity(count);
        taken.append(&mut self.ahead);
        while taken.len() < count {
            self.more(&mut taken, deadline)?;
        }
        // A vector may have more capacity than was asked for.
        if taken.len() == count { Ok(taken) } else { Err(Broken::Died) }
    }

    /// Reads the `count` little-endian words after a line, without a second copy of them.
    pub(super) fn take_words(&mut self, count: usize, deadline: Instant) -> Result<Vec<u16>, Broken> {
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
                Ordering::Less => self.more(&mut bytes, deadline)?,
                Ordering::Equal if odd.is_none() => return Ok(words),
                _ => return Err(Broken::Died),
            }
        }
    }

    /// Reads into the spare capacity of `into`, at least one byte.
    fn more(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Result<(), Broken> {
        loop {
            match rustix::io::read(&self.output, spare_capacity(into)) {
                Ok(0) => return Err(Broken::Died),
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => wait(self.output.as_fd(), PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Broken::Died),
            }
        }
    }

    /// How the child ended, in words. One that has not is killed.
    pub(super) fn end(mut self) -> String {
        let patience = Instant::now() + LAST_BREATH;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < patience => thread::sleep(Duration::from_millis(2)),
                _ => return "what it said made no sense".to_owned(),
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

fn wait(end: BorrowedFd<'_>, what: PollFlags, deadline: Instant) -> Result<(), Broken> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| Broken::Late)?;
    match poll(&mut [PollFd::from_borrowed_fd(end, what)], Some(&left)) {
        Ok(0) => Err(Broken::Late),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(_) => Err(Broken::Died),
    }
}
