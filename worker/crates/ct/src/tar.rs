//! Tar archives on a running stream. Written here because nothing of names is used: long names and attributes are
//! stepped over, so that all that is left of the format is lengths, which are judged before anything is allocated.

use std::io::{self, Read};

use nightread_domain::error::{JobError, Stage};

use crate::error::{CtCode, CtError};

const BLOCK: usize = 512;

/// A member as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub bytes: u64,
    pub is_file: bool,
    /// Whether it says something of the next member only (names, attributes).
    pub is_note: bool,
}

/// Whether a block is a tar header: its checksum says so.
pub fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.first_chunk::<BLOCK>() else { return false };
    let Some(said) = octal(&block[148..156]) else { return false };
    let spaces = 8 * u64::from(b' ');
    let sum = |block: &[u8]| block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    said == sum(&block[..148]) + spaces + sum(&block[156..]) && block.iter().any(|&byte| byte != 0)
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = field.iter().skip_while(|&&byte| byte == b' ');
    let digits: Vec<u8> = text.take_while(|byte| byte.is_ascii_digit()).copied().collect();
    let text = std::str::from_utf8(&digits).ok()?;
    u64::from_str_radix(text, 8).ok()
}

/// A size in octal, or in 64 bits as GNU writes large ones.
fn size(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 == 0 {
        return octal(field);
    }
    let (high, low) = field.split_at(field.len() - 8);
    let is_small = high[0] == 0x80 && high[1..].iter().all(|&byte| byte == 0);
    is_small.then(|| u64::from_be_bytes(low.first_chunk().copied().unwrap_or_default()))
}

/// The members of a tar stream.
pub struct Members<R> {
    reader: R,
    /// Bytes of the last member, padding included, that were not read.
    left: u64,
}

impl<R: Read> Members<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, left: 0 }
    }

    /// Steps to the next member; `None` at the archive's end.
    ///
    /// # Errors
    /// `archive_invalid` for what is no header, or a stream that ends before its end mark.
    pub fn step(&mut self) -> Result<Option<Member>, CtError> {
        let skipped = io::copy(&mut (&mut self.reader).take(self.left), &mut io::sink())
            .map_err(|error| failed(&error))?;
        if skipped < self.left {
            return Err(invalid("it ends inside a member"));
        }
        self.left = 0;
        let mut block = [0; BLOCK];
        self.reader.read_exact(&mut block).map_err(|error| failed(&error))?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(invalid("a member's header is damaged"));
        }
        let bytes = size(&block[124..136]).ok_or_else(|| invalid("a member's size is not a number"))?;
        let kind = block[156];
        // Each may stand for a slice that would be missed.
        if matches!(kind, b'1'..=b'4' | b'6' | b'S' | b'M') {
            return Err(invalid(
                "a member is a link, a device, or a part of a file; pack the files themselves",
            ));
        }
        // Folders have no bytes, whatever their size says.
        let bytes = if kind == b'5' { 0 } else { bytes };
        self.left = bytes
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or_else(|| invalid("a member's size cannot be"))?;
        Ok(Some(Member {
            bytes,
            // Kinds that nobody knows are files (POSIX.1-2017, pax).
            is_file: !matches!(kind, b'5' | b'x' | b'g' | b'L' | b'K'),
            is_note: matches!(kind, b'x' | b'g' | b'L' | b'K'),
        }))
    }

    /// The bytes of the member that was stepped to, `bytes` of them. The buffer grows with what arrives.
    ///
    /// # Errors
    /// `archive_invalid` where the stream ends early or is damaged.
    pub fn read(&mut self, bytes: u64) -> Result<Vec<u8>, CtError> {
        let mut out = Vec::new();
        (&mut self.reader).take(bytes).read_to_end(&mut out).map_err(|error| failed(&error))?;
        if (out.len() as u64) < bytes {
            return Err(invalid("it ends inside a member"));
        }
        self.left -= bytes;
        Ok(out)
    }

    /// Reads on to the end, so that the checksum of a compressed stream is verified; at most so many bytes.
    pub fn finish(mut self, most: u64) -> Result<(), CtError> {
        let rest =
            io::copy(&mut (&mut self.reader).take(most), &mut io::sink()).map_err(|error| failed(&error))?;
        if rest == most {
            return Err(CtError::new(CtCode::TooLarge, "the archive goes on behind its end mark"));
        }
        Ok(())
    }
}

fn failed(error: &io::Error) -> CtError {
    if let Some(cause) = JobError::of_machine(Stage::Decode, error) {
        return CtError::of_machine(cause);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it ends early"),
        _ => invalid(&error.to_string()),
    }
}

fn invalid(what: &str) -> CtError {
    CtError::new(CtCode::ArchiveInvalid, format!("the tar archive is damaged: {what}"))
}
