//! The body of a codec's child process: confine itself, then one frame in and one image out, until the parent is done.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nightread_domain::error::{ErrorCode, JobError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::confine::{confine, limit_processor_time};
use super::wire::{Answer, Ask, Greeting, MAX_LINE, Start};
use super::{Codec, CodecImage, CodecRequest, InProcess, IsolatedCodec};
use crate::error::refuse;
use crate::samples::Samples;

/// Characters of a refusal, few enough for a line however they are escaped.
const MOST_WORDS: usize = MAX_LINE / 8;
/// Words that are turned into bytes at one time: as many as the pipe holds.
const AT_ONCE: usize = 1 << 19;

/// Serves frames on standard input and output until the input ends or a frame is refused.
///
/// # Errors
/// Only what keeps an answer from being given: a broken pipe, a malformed request. What is wrong with an image is part
/// of the answer, and so is a system that cannot confine the process.
pub fn serve() -> io::Result<()> {
    serve_with(&InProcess)
}

/// The same with another codec, which meets the sandbox too.
///
/// # Errors
/// As [`serve`].
pub fn serve_with(codec: &dyn IsolatedCodec) -> io::Result<()> {
    let (input, output) = (io::stdin(), io::stdout());
    let mut input = input.lock();
    let mut output = Descriptor(output.as_fd());
    let Some(start) = line::<Start>(&mut input)? else { return Ok(()) };
    if let Err(message) = confine(start.memory_bytes) {
        return tell(&mut output, &Greeting::Unconfined { message });
    }
    // Where a decoder panicked is nobody's business, and its words may quote the image.
    std::panic::set_hook(Box::new(|_| ()));
    tell(&mut output, &Greeting::Ready)?;
    while let Some(ask) = line::<Ask>(&mut input)? {
        limit_processor_time(ask.cpu_seconds)?;
        let mut frame = vec![0; usize::try_from(ask.frame_bytes).unwrap_or(usize::MAX)];
        input.read_exact(&mut frame)?;
        match decode(codec, &ask, &frame) {
            Ok(CodecImage { precision, samples }) => {
                tell(&mut output, &Answer::Decoded { precision })?;
                hand_over(&mut output, &samples)?;
            }
            // What led a decoder astray shall not meet the next image.
            Err(error) => {
                let message = error.message.chars().take(MOST_WORDS).collect();
                return tell(&mut output, &Answer::Refused { code: error.code, message });
            }
        }
    }
    Ok(())
}

/// Bytes as they are, words in little-endian order.
fn hand_over(output: &mut impl Write, samples: &Samples) -> io::Result<()> {
    match samples {
        Samples::U8(samples) => output.write_all(samples),
        // Piece by piece, so that the image is not held twice.
        Samples::U16(samples) => samples.chunks(AT_ONCE).try_for_each(|some| {
            let mut bytes = vec![0; 2 * some.len()];
            for (pair, sample) in bytes.as_chunks_mut().0.iter_mut().zip(some) {
                *pair = sample.to_le_bytes();
            }
            output.write_all(&bytes)
        }),
    }
}

fn decode(codec: &dyn IsolatedCodec, ask: &Ask, frame: &[u8]) -> Result<CodecImage, JobError> {
    let request = CodecRequest {
        codec: Codec::named(&ask.codec).ok_or_else(|| {
            refuse(ErrorCode::UnsupportedMedia, format!("the codec {} is not known", ask.codec))
        })?,
        columns: ask.columns,
        rows: ask.rows,
        bits: ask.bits,
        signed: ask.signed,
        working_bytes: ask.working_bytes,
        frame,
    };
    catch_unwind(AssertUnwindSafe(|| codec.decode(&request)))
        .unwrap_or_else(|_| Err(refuse(ErrorCode::DecodeFailed, "the decoder gave up on malformed bytes")))
}

/// The next line, or `None` where the input ends.
fn line<T: DeserializeOwned>(input: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    if input.take(MAX_LINE as u64).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

fn tell(output: &mut impl Write, word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    output.write_all(&line)
}

/// Standard output without the buffer that looks for lines.
struct Descriptor<'a>(BorrowedFd<'a>);

impl Write for Descriptor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
