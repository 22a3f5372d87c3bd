//! Writing NIfTI-1 single files, plain or gzip-compressed.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::datatype::Datatype;
use super::intent::Intent;
use super::raw::NIFTI1_BYTES;
use crate::grid::Grid;

/// Offset of the first voxel in files written here: header and four bytes that say "no extension".
const DATA_OFFSET: usize = NIFTI1_BYTES + 4;

/// How voxels are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    /// Single precision, as given.
    F32,
    /// 16-bit integers, rounded and clamped; value = stored * slope.
    I16 { slope: f32 },
    /// 8-bit integers, rounded and clamped; value = stored * slope.
    I8 { slope: f32 },
    /// Numbers of labels, written by [`VolumeWriter::write_labels`].
    Labels,
}

impl Storage {
    fn datatype(self) -> Datatype {
        match self {
            Self::F32 => Datatype::F32,
            Self::I16 { .. } => Datatype::I16,
            Self::I8 { .. } => Datatype::I8,
            Self::Labels => Datatype::U8,
        }
    }
}

/// What a written file's header says.
#[derive(Clone, Debug)]
pub struct Description {
    pub grid: Grid,
    /// `None` writes a 3-D file of one volume.
    pub volumes: Option<usize>,
    pub storage: Storage,
    pub tr_seconds: Option<f64>,
    /// sform code: 1 scanner, 2 aligned, 4 MNI152; 0 writes no place, only voxel sizes.
    pub space: i16,
    /// At most 79 ASCII characters.
    pub text: String,
}

enum Sink<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
}

impl<W: Write> Sink<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.write_all(bytes),
            Self::Gzip(writer) => writer.write_all(bytes),
        }
    }
}

/// Writes the volumes of one file in order.
pub struct VolumeWriter<W: Write> {
    sink: Sink<W>,
    description: Description,
    left: usize,
    bytes: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for VolumeWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeWriter").field("description", &self.description).finish_non_exhaustive()
    }
}

fn refuse(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message.to_owned())
}

impl<W: Write> VolumeWriter<W> {
    /// Writes the header. `compression` is the gzip level, or `None` for a plain file.
    ///
    /// # Errors
    /// Those of the writer, and `InvalidInput` for dimensions that NIfTI-1 cannot hold.
    pub fn new(writer: W, description: Description, compression: Option<u32>) -> io::Result<Self> {
        Self::of_intent(writer, description, Intent::default(), 0.0, compression)
    }

    /// The same for voxels whose meaning has a code: `intent`, and the parameter that goes with it (of t its degrees of
    /// freedom, else 0).
    ///
    /// # Errors
    /// As [`VolumeWriter::new`].
    pub fn of_intent(
        writer: W,
        description: Description,
        intent: Intent,
        parameter: f32,
        compression: Option<u32>,
    ) -> io::Result<Self> {
        let mut header = header(&description)?;
        let code = i16::try_from(intent.0).map_err(|_| refuse("NIfTI-1 has no such intent code"))?;
        header[56..60].copy_from_slice(&parameter.to_le_bytes());
        header[68..70].copy_from_slice(&code.to_le_bytes());
        let mut sink = match compression {
            Some(level) => Sink::Gzip(Box::new(GzEncoder::new(writer, Compression::new(level)))),
            None => Sink::Plain(writer),
        };
        sink.write_all(&header)?;
        let left = description.volumes.unwrap_or(1);
        Ok(Self { sink, description, left, bytes: Vec::new() })
    }

    /// Writes one volume of labels, each as it is.
    ///
    /// # Errors
    /// As [`VolumeWriter::write_volume`].
    pub fn write_labels(&mut self, labels: &[u8]) -> io::Result<()> {
        let fits = labels.len() == self.description.grid.len() && self.left > 0;
        if !fits || self.description.storage != Storage::Labels {
            return Err(refuse("a volume of labels does not fit the file's header"));
        }
        self.left -= 1;
        self.sink.write_all(labels)
    }

    /// Writes one volume of the grid's length.
    ///
    /// # Errors
    /// Those of the writer, and `InvalidInput` for a wrong length or one volume too many.
    pub fn write_volume(&mut self, values: &[f32]) -> io::Result<()> {
        if values.len() != self.description.grid.len() || self.left == 0 {
            return Err(refuse("a volume does not fit the file's header"));
        }
        self.left -= 1;
        self.bytes.clear();
        match self.description.storage {
            Storage::F32 => self.bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
            // `as` rounds nothing and saturates at the ends, so that clamping is built in; NaN becomes zero.
            Storage::I16 { slope } => {
                self.bytes.extend(values.iter().flat_map(|x| ((x / slope).round() as i16).to_le_bytes()));
            }
            Storage::I8 { slope } => {
                self.bytes.extend(values.iter().flat_map(|x| ((x / slope).round() as i8).to_le_bytes()));
            }
            Storage::Labels => return Err(refuse("labels are not written as numbers of single precision")),
        }
        self.sink.write_all(&self.bytes)
    }

    /// Ends the file and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer, and `InvalidInput` when volumes are missing.
    pub fn finish(self) -> io::Result<W> {
        if self.left > 0 {
            return Err(refuse("volumes are missing"));
        }
        let mut writer = match self.sink {
            Sink::Plain(writer) => writer,
            Sink::Gzip(encoder) => encoder.finish()?,
        };
        writer.flush()?;
        Ok(writer)
    }
}

fn header(description: &Description) -> io::Result<[u8; DATA_OFFSET]> {
    let Description { grid, volumes, storage, .. } = description;
    let mut out = [0u8; DATA_OFFSET];
    put(&mut out, 0, &348i32.to_le_bytes());
    let [nx, ny, nz] = grid.dims;
    let rank = if volumes.is_some() { 4 } else { 3 };
    let volumes = axis_length(volumes.unwrap_or(1))?;
    let dim = [rank, axis_length(nx)?, axis_length(ny)?, axis_length(nz)?, volumes, 1, 1, 1];
    for (i, n) in dim.iter().enumerate() {
        put(&mut out, 40 + 2 * i, &n.to_le_bytes());
    }
    let datatype = storage.datatype();
    put(&mut out, 70, &datatype.code().to_le_bytes());
    put(&mut out, 72, &(8 * datatype.bytes() as i16).to_le_bytes());
    let [sx, sy, sz] = grid.affine.voxel_mm();
    for (i, size) in [1.0, sx, sy, sz, description.tr_seconds.unwrap_or(0.0)].into_iter().enumerate() {
        put(&mut out, 76 + 4 * i, &(size as f32).to_le_bytes());
    }
    put(&mut out, 108, &(DATA_OFFSET as f32).to_le_bytes());
    let slope = match storage {
        Storage::F32 | Storage::Labels => 1.0,
        Storage::I16 { slope } | Storage::I8 { slope } => *slope,
    };
    put(&mut out, 112, &slope.to_le_bytes());
    // Millimetres and seconds.
    put(&mut out, 123, &[2 | 8]);
    let text: Vec<u8> = description.text.bytes().filter(u8::is_ascii).take(79).collect();
    put(&mut out, 148, &text);
    put(&mut out, 254, &description.space.to_le_bytes());
    let rows = if description.space == 0 { &[] } else { &grid.affine.0[..] };
    for (r, row) in rows.iter().enumerate() {
        for (c, cell) in row.iter().enumerate() {
            put(&mut out, 280 + 16 * r + 4 * c, &(*cell as f32).to_le_bytes());
        }
    }
    put(&mut out, 344, b"n+1\0");
    Ok(out)
}

fn put(header: &mut [u8; DATA_OFFSET], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

fn axis_length(n: usize) -> io::Result<i16> {
    i16::try_from(n).map_err(|_| refuse("NIfTI-1 holds at most 32767 voxels along an axis"))
}
