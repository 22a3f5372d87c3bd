//! Zip archives, from their central directory. Written here because sizes must be judged before anything is allocated, and
//! because members are held against both of their headers; names, paths, links and attributes are not looked at.
//!
//! Read are stored and deflated members (methods 0 and 8) below 4 GiB; PKWARE's APPNOTE 6.3.10 has the tables.

use std::io::{self, BufReader, Read};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use nightread_domain::body::Body;
use nightread_domain::error::{JobError, Stage};

use crate::error::{CtCode, CtError};
use crate::limits::CtLimits;

const END: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// The directory of 4,096 entries with names of 255 characters takes less than 2 MiB.
const MOST_DIRECTORY: usize = 16 << 20;

/// An entry of the central directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    /// Bytes when inflated.
    pub bytes: u64,
    at: u64,
    pub is_folder: bool,
    name: Vec<u8>,
}

fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |word| u16::from_le_bytes([word[0], word[1]]))
}

fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// Reads the directory and judges it: entries, sizes, ratio, methods. In the order of their places in the file.
///
/// # Errors
/// `archive_invalid`, `too_large`.
pub fn directory(body: &Body, limits: &CtLimits) -> Result<Vec<Entry>, CtError> {
    let total = body.len();
    let tail_bytes = total.min((END_BYTES + usize::from(u16::MAX)) as u64);
    let tail = read_at(body, total - tail_bytes, tail_bytes)?;
    let end = find_end(&tail).ok_or_else(|| invalid("it has no directory, or was cut short"))?;
    let end = &tail[end..];
    let (disk, count, all) = (short(end, 4), short(end, 8), short(end, 10));
    let (size, start) = (long(end, 12), long(end, 16));
    if disk != 0 || count != all {
        return Err(invalid("it is one of several volumes; send it whole"));
    }
    if count == u16::MAX || size == u32::MAX || start == u32::MAX {
        return Err(CtError::new(
            CtCode::TooLarge,
            "the zip archive is of the 64-bit form, which is not read",
        ));
    }
    if usize::from(count) > limits.max_files || size as usize > MOST_DIRECTORY {
        return Err(too_many(usize::from(count), limits));
    }
    if u64::from(start) + u64::from(size) > total - tail_bytes + (tail.len() - end.len()) as u64 {
        return Err(invalid("its directory lies outside of it"));
    }
    let bytes = read_at(body, start.into(), size.into())?;
    let mut entries = Vec::with_capacity(count.into());
    let mut rest = &bytes[..];
    for _ in 0..count {
        let (entry, after) = entry(rest)?;
        rest = after;
        entries.push(entry);
    }
    judge(&entries, u64::from(start), limits)?;
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// Where the end record is: the last whose comment reaches to the end of the file.
fn find_end(tail: &[u8]) -> Option<usize> {
    (0..=tail.len().checked_sub(END_BYTES)?).rev().find(|&at| {
        tail[at..].starts_with(END) && at + END_BYTES + usize::from(short(tail, at + 20)) == tail.len()
    })
}

fn entry(bytes: &[u8]) -> Result<(Entry, &[u8]), CtError> {
    let head = bytes.get(..ENTRY_BYTES).filter(|head| head.starts_with(ENTRY));
    let head = head.ok_or_else(|| invalid("its directory has fewer entries than it says"))?;
    let lengths = [28, 30, 32].map(|at| usize::from(short(head, at)));
    let name = bytes.get(ENTRY_BYTES..ENTRY_BYTES + lengths[0]);
    let after = bytes.get(ENTRY_BYTES + lengths.iter().sum::<usize>()..);
    let (Some(name), Some(after)) = (name, after) else { return Err(invalid("its directory is cut short")) };
    let (packed, size, at) = (long(head, 20), long(head, 24), long(head, 42));
    if [packed, size, at].contains(&u32::MAX) {
        return Err(CtError::new(
            CtCode::TooLarge,
            "the zip archive is of the 64-bit form, which is not read",
        ));
    }
    let entry = Entry {
        flags: short(head, 8),
        method: short(head, 10),
        crc: long(head, 16),
        packed: packed.into(),
        bytes: size.into(),
        at: at.into(),
        is_folder: name.ends_with(b"/") && size == 0,
        name: name.to_vec(),
    };
    Ok((entry, after))
}

fn judge(entries: &[Entry], end: u64, limits: &CtLimits) -> Result<(), CtError> {
    for entry in entries {
        if entry.flags & 0x41 != 0 {
            return Err(invalid("it is encrypted; send it without a password"));
        }
        if !entry.is_folder && !matches!(entry.method, 0 | 8) {
            let text = format!(
                "a member is compressed by method {}; deflated and stored ones are read",
                entry.method
            );
            return Err(invalid(&text));
        }
        if entry.method == 0 && entry.packed != entry.bytes {
            return Err(invalid("a stored member has two sizes"));
        }
        if entry.at.checked_add(entry.packed).is_none_or(|last| last + LOCAL_BYTES as u64 > end)
            && !entry.is_folder
        {
            return Err(invalid("a member lies outside of it"));
        }
        if entry.bytes > limits.max_file_bytes {
            return Err(CtError::new(
                CtCode::TooLarge,
                format!(
                    "a member of the zip archive takes {} bytes; {} are read",
                    entry.bytes, limits.max_file_bytes
                ),
            ));
        }
        judge_ratio(entry.bytes, entry.packed, limits)?;
    }
    let sum: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if sum > limits.max_inflated_bytes {
        let text = format!("the zip archive inflates to {sum} bytes; {} are read", limits.max_inflated_bytes);
        return Err(CtError::new(CtCode::TooLarge, text));
    }
    // Members that share bytes are a bomb.
    let mut places: Vec<_> =
        entries.iter().filter(|entry| !entry.is_folder).map(|entry| (entry.at, entry.packed)).collect();
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0].0 + LOCAL_BYTES as u64 + pair[0].1 > pair[1].0) {
        return Err(invalid("its members overlap"));
    }
    Ok(())
}

/// Small members may well be zeros.
fn judge_ratio(bytes: u64, packed: u64, limits: &CtLimits) -> Result<(), CtError> {
    const SMALL: u64 = 1 << 20;
    if bytes > SMALL && bytes / packed.max(1) > limits.max_ratio {
        let text = format!(
            "a member of the zip archive inflates {} times; {} are read",
            bytes / packed.max(1),
            limits.max_ratio
        );
        return Err(CtError::new(CtCode::TooLarge, text));
    }
    Ok(())
}

pub fn too_many(count: usize, limits: &CtLimits) -> CtError {
    let text = format!("the study has {count} files; {} are read (max_files)", limits.max_files);
    CtError::new(CtCode::TooLarge, text)
}

/// Reads members in the order of their places, in one pass over the archive.
pub struct Members<'a> {
    reader: BufReader<Box<dyn Read + Send + 'a>>,
    at: u64,
}

impl<'a> Members<'a> {
    pub fn new(body: &'a Body) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, body.open()), at: 0 }
    }

    /// The bytes of a member that lies behind the last one read.
    ///
    /// # Errors
    /// `archive_invalid` where its headers, sizes, data or checksum contradict each other.
    pub fn read(&mut self, entry: &Entry) -> Result<Vec<u8>, CtError> {
        self.skip(entry.at.checked_sub(self.at).ok_or_else(|| invalid("its members overlap"))?)?;
        let mut head = [0; LOCAL_BYTES];
        self.reader.read_exact(&mut head).map_err(|error| failed(&error))?;
        let (name, extra) = (short(&head, 26), short(&head, 28));
        self.at += (LOCAL_BYTES + usize::from(name)) as u64;
        let mut local_name = vec![0; name.into()];
        self.reader.read_exact(&mut local_name).map_err(|error| failed(&error))?;
        self.skip(extra.into())?;
        hold_against(&head, &local_name, entry)?;
        let mut packed = (&mut self.reader).take(entry.packed);
        let bytes = if entry.method == 8 {
            let mut inflater = DeflateDecoder::new(&mut packed);
            take(&mut inflater, entry)?
        } else {
            take(&mut packed, entry)?
        };
        if packed.limit() != 0 {
            return Err(invalid("a member has bytes behind its end"));
        }
        self.at += entry.packed;
        let mut crc = Crc::new();
        crc.update(&bytes);
        if crc.sum() != entry.crc {
            return Err(invalid("a member's checksum is wrong"));
        }
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Result<(), CtError> {
        let skipped =
            io::copy(&mut (&mut self.reader).take(count), &mut io::sink()).map_err(|error| failed(&error))?;
        self.at += skipped;
        if skipped < count { Err(invalid("it ends early")) } else { Ok(()) }
    }
}

/// Exactly the bytes that the directory says; the buffer grows with what comes.
fn take(reader: &mut impl Read, entry: &Entry) -> Result<Vec<u8>, CtError> {
    let mut bytes = Vec::new();
    reader.take(entry.bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 != entry.bytes {
        return Err(invalid("a member has another size than the directory says"));
    }
    Ok(bytes)
}

/// The header before a member against its entry in the directory. Sizes may be left to a record behind it (flag 3).
fn hold_against(head: &[u8], name: &[u8], entry: &Entry) -> Result<(), CtError> {
    let later = short(head, 6) & 8 != 0;
    let (crc, packed, bytes) = (long(head, 14), u64::from(long(head, 18)), u64::from(long(head, 22)));
    let same_sizes = (crc, packed, bytes) == (entry.crc, entry.packed, entry.bytes);
    let none = (crc, packed, bytes) == (0, 0, 0);
    // A writer that did not know sizes announces the 64-bit form of them.
    let unknown = crc == 0 && packed == u64::from(u32::MAX) && bytes == u64::from(u32::MAX);
    let same = head.starts_with(LOCAL)
        && short(head, 8) == entry.method
        && short(head, 6) & 0x41 == entry.flags & 0x41
        && name == entry.name
        && (same_sizes || later && (none || unknown));
    if same { Ok(()) } else { Err(invalid("a member's own header is not what the directory says")) }
}

/// `count` bytes of a body from `start` on.
fn read_at(body: &Body, start: u64, count: u64) -> Result<Vec<u8>, CtError> {
    if let Body::Held(bytes) = body {
        let range = start as usize..(start + count) as usize;
        return bytes.get(range).map(<[u8]>::to_vec).ok_or_else(|| invalid("it ends early"));
    }
    let mut reader = BufReader::with_capacity(1 << 20, body.open());
    let skipped =
        io::copy(&mut (&mut reader).take(start), &mut io::sink()).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    reader.take(count).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if skipped < start || (bytes.len() as u64) < count {
        return Err(invalid("it ends early"));
    }
    Ok(bytes)
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
    CtError::new(CtCode::ArchiveInvalid, format!("the zip archive is not read: {what}"))
}
