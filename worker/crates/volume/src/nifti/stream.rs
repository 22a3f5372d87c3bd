//! Reading a scan volume by volume out of a plain or gzip-compressed stream.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use nightread_domain::{ErrorCode, JobError, Stage};

use super::datatype::{Datatype, Endian, Sample, with_sample};
use super::gunzip::Gunzip;
use super::header::Header;
use super::raw::{NIFTI1_BYTES, NIFTI2_BYTES, sniff};
use super::source::{Limits, ScanSource};
use crate::sampling::{Sampler, Sampling};

const READ_AHEAD: usize = 256 << 10;

/// Sees the volumes of a file as they pass, each once and in order.
pub trait Observer: Send {
    fn see(&mut self, nth: usize, volume: RawVolume<'_>);
}

/// The volumes of one file, in order. Holds one volume as stored, whatever the number of volumes.
pub struct VolumeStream<'a> {
    header: Header,
    reader: Box<dyn Read + Send + 'a>,
    compressed: bool,
    raw: Vec<u8>,
    next: usize,
    /// Voxels of the volumes that were read in runs.
    in_runs: usize,
    limits: Limits,
    observer: Option<Arc<Mutex<dyn Observer>>>,
}

impl std::fmt::Debug for VolumeStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeStream")
            .field("header", &self.header)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// One volume as stored, with the header that tells how to read it.
#[derive(Clone, Copy, Debug)]
pub struct RawVolume<'a> {
    bytes: &'a [u8],
    header: &'a Header,
}

/// An I/O failure of a scan in the words of the project.
fn failed(error: io::Error, what: &str) -> JobError {
    if let Some(refused) = JobError::of_machine(Stage::Decode, &error) {
        return refused;
    }
    let (code, message) = match error.kind() {
        ErrorKind::UnexpectedEof => (ErrorCode::Truncated, format!("the file ends inside of {what}")),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            (ErrorCode::DecodeFailed, format!("the compressed stream is damaged in {what}"))
        }
        _ => (ErrorCode::StorageUnavailable, format!("reading {what} failed")),
    };
    JobError::new(Stage::Decode, code, message).with_source(error)
}

impl<'a> VolumeStream<'a> {
    /// Opens a source, finds out by its first bytes whether it is compressed, and reads the header.
    ///
    /// # Errors
    /// Those of [`Header::parse`]; `truncated`, `decode_failed` for a damaged stream, `storage_unavailable` when
    /// reading itself fails.
    pub fn open(source: &'a dyn ScanSource, limits: &Limits) -> Result<Self, JobError> {
        let mut plain =
            BufReader::with_capacity(READ_AHEAD, source.open().map_err(|e| failed(e, "the header"))?);
        let start = plain.fill_buf().map_err(|e| failed(e, "the header"))?;
        if start.is_empty() {
            return Err(JobError::new(Stage::Decode, ErrorCode::BlobEmpty, "the file is empty"));
        }
        let compressed = start.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read + Send + 'a> =
            if compressed { Box::new(Gunzip::new(plain)) } else { Box::new(plain) };

        let mut bytes = [0; NIFTI2_BYTES];
        reader.read_exact(&mut bytes[..NIFTI1_BYTES]).map_err(|e| failed(e, "the header"))?;
        let size = match sniff([bytes[0], bytes[1], bytes[2], bytes[3]]) {
            Some((size, _)) => size,
            None => NIFTI1_BYTES,
        };
        reader.read_exact(&mut bytes[NIFTI1_BYTES..size]).map_err(|e| failed(e, "the header"))?;
        let header = Header::parse(&bytes[..size], limits)?;
        let gap = header.data_offset - size as u64;
        let skipped =
            io::copy(&mut reader.by_ref().take(gap), &mut io::sink()).map_err(|e| failed(e, "the header"))?;
        if skipped < gap {
            return Err(failed(ErrorKind::UnexpectedEof.into(), "the header's extensions"));
        }
        Ok(Self {
            header,
            reader,
            compressed,
            raw: Vec::new(),
            next: 0,
            in_runs: 0,
            limits: *limits,
            observer: None,
        })
    }

    /// Shows the volumes to an observer as they pass.
    pub fn show_to(&mut self, observer: Arc<Mutex<dyn Observer>>) {
        self.observer = Some(observer);
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// The next volume, or `None` after the last that the header announces.
    ///
    /// # Errors
    /// `truncated` when the file ends before the header's number of volumes, `decode_failed` for a damaged stream.
    pub fn next_volume(&mut self) -> Result<Option<RawVolume<'_>>, JobError> {
        if self.next == self.header.volumes {
            return Ok(None);
        }
        let wanted = self.header.volume_bytes();
        if self.raw.len() == wanted {
            self.reader.read_exact(&mut self.raw).map_err(|error| self.cannot_read(error))?;
        } else {
            // The buffer grows with what arrives: a header that lies about its size allocates nothing.
            let taken = self.reader.by_ref().take(wanted as u64).read_to_end(&mut self.raw);
            if taken.map_err(|error| self.cannot_read(error))? < wanted {
                return Err(self.cannot_read(ErrorKind::UnexpectedEof.into()));
            }
        }
        let volume = RawVolume { bytes: &self.raw, header: &self.header };
        if let Some(observer) = &self.observer {
            observer.lock().unwrap_or_else(PoisonError::into_inner).see(self.next, volume);
        }
        self.next += 1;
        Ok(Some(volume))
    }

    /// Reads the next run of voxels, scaled by the header's slope and intercept, into `out`; how many there were. For
    /// callers that hold no volume as stored: no more is held than `out` has. All voxels are read so, or none.
    ///
    /// # Errors
    /// As [`Self::next_volume`].
    pub fn next_values(&mut self, out: &mut [f64]) -> Result<usize, JobError> {
        let left = self.header.grid.len() * self.header.volumes - self.in_runs;
        let count = out.len().min(left);
        let out = &mut out[..count];
        self.raw.resize(count * self.header.datatype.bytes(), 0);
        self.reader.read_exact(&mut self.raw).map_err(|error| self.cannot_read(error))?;
        RawVolume { bytes: &self.raw, header: &self.header }.values(out);
        self.in_runs += count;
        self.next = self.in_runs / self.header.grid.len();
        Ok(count)
    }

    fn cannot_read(&self, error: io::Error) -> JobError {
        failed(error, &format!("volume {} of {}", self.next + 1, self.header.volumes))
    }

    /// Reads what follows the data to the end, so that a compressed stream's length and checksum are verified;
    /// the number of bytes that belong to no volume.
    ///
    /// # Errors
    /// `truncated`, `decode_failed`, or `inflates_too_large` when more follows than the limits allow.
    pub fn finish(mut self) -> Result<u64, JobError> {
        while self.next_volume()?.is_some() {}
        let read = self.header.data_offset + (self.header.volume_bytes() * self.header.volumes) as u64;
        let spare = self.limits.max_inflated_bytes.saturating_sub(read);
        let rest = io::copy(&mut self.reader.by_ref().take(spare + 1), &mut io::sink())
            .map_err(|e| failed(e, "the bytes after the last volume"))?;
        if rest > spare {
            return Err(JobError::new(
                Stage::Decode,
                ErrorCode::InflatesTooLarge,
                format!(
                    "the file inflates past the limit of {} bytes ({})",
                    self.limits.max_inflated_bytes, self.limits.names.inflated_bytes
                ),
            ));
        }
        Ok(rest)
    }
}

impl RawVolume<'_> {
    /// Values of all voxels, scaled by the header's slope and intercept, into a slice of the grid's length.
    pub fn values(&self, out: &mut [f64]) {
        fn run<T: Sample>(bytes: &[u8], endian: Endian, out: &mut [f64]) {
            for (index, out) in out.iter_mut().enumerate() {
                *out = T::read(bytes, index, endian);
            }
        }
        with_sample!(self.header.datatype, run(self.bytes, self.header.endian, out));
        self.scale(out);
    }

    /// Values at the voxels of a sampling plan, in its order.
    pub fn sample(&self, sampling: &Sampling, out: &mut [f64]) {
        fn direct<T: Sample>(bytes: &[u8], endian: Endian, indices: &[u32], out: &mut [f64]) {
            for (out, &index) in out.iter_mut().zip(indices) {
                *out = T::read(bytes, index as usize, endian);
            }
        }
        fn trilinear<T: Sample>(
            bytes: &[u8],
            endian: Endian,
            indices: &[[u32; 8]],
            weights: &[[f32; 8]],
            out: &mut [f64],
        ) {
            for ((out, index), weight) in out.iter_mut().zip(indices).zip(weights) {
                let parts = index.iter().zip(weight);
                *out = parts.map(|(&i, &w)| T::read(bytes, i as usize, endian) * f64::from(w)).sum();
            }
        }
        let (bytes, endian) = (self.bytes, self.header.endian);
        match &sampling.sampler {
            Sampler::Direct(indices) => {
                with_sample!(self.header.datatype, direct(bytes, endian, indices, out));
            }
            Sampler::Trilinear { indices, weights } => {
                with_sample!(self.header.datatype, trilinear(bytes, endian, indices, weights, out));
            }
        }
        self.scale(out);
    }

    fn scale(&self, values: &mut [f64]) {
        let Header { slope, intercept, .. } = *self.header;
        if slope.to_bits() != 1f64.to_bits() || intercept != 0.0 {
            for value in values {
                *value = *value * slope + intercept;
            }
        }
    }
}
