//! The markers of a JPEG (ITU-T T.81 annex B), read before a codec sees it: size, kind, and whether the image is whole.
//!
//! Decoders fill up what is missing and say nothing, so an image counts as whole only if every scan it needs is there, every
//! restart interval is, and an end marker closes it. A file that lacks the end marker alone is made whole again; what
//! then is still short is the codec's to refuse. Fill bytes at the end of a file without end marker are not image data:
//! zeros would decode.

use std::borrow::Cow;

use memchr::memchr;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use crate::error::refuse;

const EOI: u8 = 0xD9;
/// A progressive image has about ten scans; each costs a pass over all its pixels.
const MAX_SCANS: usize = 64;
/// How finely a coefficient that was never sent is known.
const NEVER: u8 = u8::MAX;

/// What the markers of one whole image say.
#[derive(Debug)]
pub struct Markers<'a> {
    /// The number n of its frame header SOFn: 0 baseline, 1 extended, 2 progressive, 3 lossless, 9 and 10 arithmetic.
    pub process: u8,
    /// Bits of a sample.
    pub precision: u8,
    pub width: u32,
    pub height: u32,
    pub components: usize,
    /// From start to end marker.
    pub image: Cow<'a, [u8]>,
    /// The end marker was missing, and was added.
    pub missing_eoi: bool,
    /// What follows the end marker.
    pub rest: &'a [u8],
}

impl<'a> Markers<'a> {
    /// # Errors
    /// `truncated` where scans, restart intervals or the rest of a scan's data are missing; `decode_failed` for what is no
    /// JPEG; `unsupported_media` for a height that is given after the image.
    pub fn read(bytes: &'a [u8]) -> Result<Self, JobError> {
        let mut walk =
            Walk { bytes, at: 2, restart_interval: 0, quantisers: [None; 16], frame: None, scans: 0 };
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return Err(malformed("it does not start as one"));
        }
        let closed = walk.walk_through()?;
        let end = walk.at;
        let scans = walk.scans;
        let Some(frame) = walk.frame.filter(|_| scans > 0) else {
            return Err(if closed { malformed("it has no image") } else { cut_short() });
        };
        let arithmetic = frame.process > 8; // its decoders read zeros past the end, by the standard
        if !frame.is_whole() || !closed && arithmetic {
            return Err(cut_short());
        }
        let (image, rest) = bytes.split_at(end);
        let image = if closed {
            Cow::Borrowed(image)
        } else {
            Cow::Owned([without_fill(image), &[0xFF, EOI]].concat())
        };
        Ok(Self {
            process: frame.process,
            precision: frame.precision,
            width: frame.width,
            height: frame.height,
            components: frame.components.len(),
            image,
            missing_eoi: !closed,
            rest,
        })
    }

    pub fn is_lossless(&self) -> bool {
        self.process == 3
    }
}

struct Component {
    id: u8,
    horizontal: u32,
    vertical: u32,
    /// The lowest bit that was sent of each coefficient.
    sent: [u8; 64],
}

impl Component {
    /// Sampling factors are 1 to 4 (T.81 B.2.2).
    fn has_valid_factors(&self) -> bool {
        (1..=4).contains(&self.horizontal) && (1..=4).contains(&self.vertical)
    }
}

struct Frame {
    process: u8,
    precision: u8,
    width: u32,
    height: u32,
    components: Vec<Component>,
}

impl Frame {
    fn read(process: u8, segment: &[u8]) -> Result<Self, JobError> {
        let header = segment.first_chunk::<6>().ok_or_else(|| malformed("its frame header is too short"))?;
        let [precision, h1, h0, w1, w0, count] = *header;
        let components: Vec<_> = segment[6..]
            .chunks_exact(3)
            .take(count.into())
            .map(|c| Component {
                id: c[0],
                horizontal: u32::from(c[1] >> 4),
                vertical: u32::from(c[1] & 15),
                sent: [NEVER; 64],
            })
            .collect();
        if components.len() != usize::from(count)
            || count == 0
            || !components.iter().all(Component::has_valid_factors)
        {
            return Err(malformed("its frame header contradicts itself"));
        }
        let (height, width) =
            (u32::from(u16::from_be_bytes([h1, h0])), u32::from(u16::from_be_bytes([w1, w0])));
        if height == 0 {
            return Err(refuse(ErrorCode::UnsupportedMedia, "a JPEG that gives its height last is not read"));
        }
        Ok(Self { process, precision, width, height, components })
    }

    /// Every coefficient of every component was sent to its last bit.
    fn is_whole(&self) -> bool {
        self.components.iter().all(|component| component.sent.iter().all(|&bit| bit == 0))
    }

    /// Notes what a scan sends; gives the number of its coding units (MCU).
    fn scan(&mut self, segment: &[u8]) -> Result<u64, JobError> {
        let (&count, rest) = segment.split_first().ok_or_else(short_scan_header)?;
        let (names, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(short_scan_header)?;
        let &[first, last, approximation] = rest.first_chunk::<3>().ok_or_else(short_scan_header)?;
        let progressive = matches!(self.process, 2 | 10);
        let mut inside = Vec::new();
        for name in names.chunks_exact(2) {
            let index = self.components.iter().position(|component| component.id == name[0]);
            let index = index.ok_or_else(|| malformed("a scan names a component that is not there"))?;
            let sent = &mut self.components[index].sent;
            if progressive {
                let range = usize::from(first.min(63))..=usize::from(last.min(63));
                for bit in sent.get_mut(range).unwrap_or_default() {
                    *bit = approximation & 15;
                }
            } else {
                *sent = [0; 64];
            }
            inside.push(index);
        }
        Ok(self.units(&inside))
    }

    /// Coding units of a scan of these components (T.81 A.2): single blocks if it is one, else as many of each as its
    /// sampling factors say. Lossless blocks are samples.
    fn units(&self, inside: &[usize]) -> u64 {
        let block = if self.process == 3 { 1 } else { 8 };
        let across = self.components.iter().map(|component| component.horizontal).max().unwrap_or(1);
        let down = self.components.iter().map(|component| component.vertical).max().unwrap_or(1);
        let (columns, rows) = match inside {
            [one] => {
                let one = &self.components[*one];
                (
                    (self.width * one.horizontal).div_ceil(across).div_ceil(block),
                    (self.height * one.vertical).div_ceil(down).div_ceil(block),
                )
            }
            _ => (self.width.div_ceil(block * across), self.height.div_ceil(block * down)),
        };
        u64::from(columns) * u64::from(rows)
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    restart_interval: u16,
    /// By its number.
    quantisers: [Option<&'a [u8]>; 16],
    frame: Option<Frame>,
    scans: usize,
}

impl<'a> Walk<'a> {
    /// Goes behind the end marker, or to the end of the bytes; tells which.
    fn walk_through(&mut self) -> Result<bool, JobError> {
        while let Some(marker) = self.marker() {
            match marker {
                EOI => return Ok(true),
                0x01 | 0xD0..=0xD7 => {}
                0xD8 => return Err(malformed("a second image starts inside it")),
                0xDA => {
                    let segment = self.segment()?;
                    self.scan(segment)?;
                }
                0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                    let frame = Frame::read(marker & 15, self.segment()?)?;
                    if self.frame.replace(frame).is_some() {
                        return Err(malformed("it has two frame headers"));
                    }
                }
                0xDB => {
                    let segment = self.segment()?;
                    self.define_quantisers(segment)?;
                }
                0xDD => {
                    let interval = self.segment()?.first_chunk::<2>().copied();
                    let interval = interval.ok_or_else(|| malformed("its restart interval is too short"))?;
                    self.restart_interval = u16::from_be_bytes(interval);
                }
                _ => {
                    self.segment()?;
                }
            }
        }
        Ok(false)
    }

    /// The code of the next marker; what lies before it is stepped over.
    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += memchr(0xFF, self.bytes.get(self.at..)?).unwrap_or(self.bytes.len() - self.at);
            match *self.bytes.get(self.at + 1)? {
                0xFF => self.at += 1,
                0x00 => self.at += 2,
                code => {
                    self.at += 2;
                    return Some(code);
                }
            }
        }
    }

    /// The content of the segment after its marker.
    fn segment(&mut self) -> Result<&'a [u8], JobError> {
        let rest = &self.bytes[self.at..];
        let length = rest.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)));
        let length = length.ok_or_else(cut_short)?;
        if length < 2 {
            return Err(malformed("a segment has no length"));
        }
        self.at += length;
        rest.get(2..length).ok_or_else(cut_short)
    }

    /// Notes quantisation tables. One that changes after the first scan is legal, but taken by the codec for all scans.
    fn define_quantisers(&mut self, mut segment: &'a [u8]) -> Result<(), JobError> {
        while let Some((&head, rest)) = segment.split_first() {
            let length = if head >> 4 == 0 { 64 } else { 128 };
            let (table, rest) = rest
                .split_at_checked(length)
                .ok_or_else(|| malformed("a quantisation table is too short"))?;
            let known = self.quantisers[usize::from(head & 15)].replace(table);
            if self.scans > 0 && known.is_some_and(|known| known != table) {
                return Err(refuse(
                    ErrorCode::UnsupportedMedia,
                    "a JPEG that changes a quantisation table between its scans is not read",
                ));
            }
            segment = rest;
        }
        Ok(())
    }

    /// Goes to the marker after a scan's data, counting restart intervals.
    fn scan(&mut self, segment: &[u8]) -> Result<(), JobError> {
        let frame = self.frame.as_mut().ok_or_else(|| malformed("a scan comes before the frame header"))?;
        let units = frame.scan(segment)?;
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(malformed("it has too many scans"));
        }
        let mut restarts = 0u64;
        while let Some(skipped) = memchr(0xFF, &self.bytes[self.at..]) {
            let next = self.bytes.get(self.at + skipped + 1);
            match next {
                Some(0x00) => self.at += skipped + 2,
                // Fill bytes belong to markers. Before a stuffed zero they are damage, of which each decoder makes its own.
                Some(0xFF) if self.bytes.get(self.at + skipped + 2) == Some(&0x00) => {
                    return Err(malformed("fill bytes lie inside its data"));
                }
                Some(0xFF) => self.at += skipped + 1,
                Some(&code @ 0xD0..=0xD7) => {
                    if u64::from(code & 7) != restarts % 8 {
                        return Err(malformed("its restart markers are out of order"));
                    }
                    restarts += 1;
                    self.at += skipped + 2;
                }
                Some(_) => {
                    self.at += skipped;
                    return self.restarts_are_all_there(units, restarts);
                }
                None => break,
            }
        }
        self.at = self.bytes.len();
        self.restarts_are_all_there(units, restarts)
    }

    /// One marker between two intervals; some writers put one behind the last, too.
    fn restarts_are_all_there(&self, units: u64, restarts: u64) -> Result<(), JobError> {
        let expected = match u64::from(self.restart_interval) {
            0 => 0,
            interval => units.div_ceil(interval).saturating_sub(1),
        };
        if restarts < expected {
            return Err(cut_short());
        }
        if restarts > expected + 1 {
            return Err(malformed("it has more restart intervals than its size needs"));
        }
        Ok(())
    }
}

/// Image data without the zeros, or the erased flash, after it. A last byte of ones with its stuffed zero stays.
fn without_fill(data: &[u8]) -> &[u8] {
    let end = length_without(data, 0x00);
    if end < data.len() && end > 0 && data[end - 1] == 0xFF {
        return &data[..=end];
    }
    &data[..length_without(&data[..end], 0xFF)]
}

/// Bytes up to the last that is not `fill`.
fn length_without(data: &[u8], fill: u8) -> usize {
    data.iter().rposition(|&byte| byte != fill).map_or(0, |at| at + 1)
}

fn malformed(how: &str) -> JobError {
    refuse(ErrorCode::DecodeFailed, format!("the JPEG is malformed: {how}"))
}

fn short_scan_header() -> JobError {
    malformed("a scan header is too short")
}

fn cut_short() -> JobError {
    refuse(ErrorCode::Truncated, "the JPEG ends before its image does")
}

/// The doubt of an image that is whole but for its last two bytes.
pub fn missing_eoi() -> Warning {
    Warning::new(
        WarningCode::MissingEndMarker,
        "the compressed image is whole, but its end marker is missing",
    )
}
