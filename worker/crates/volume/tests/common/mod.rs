//! What the tests of volumes and of scans share: real data by environment, hand-made NIfTI bytes, seeded numbers.
#![allow(dead_code)] // Every test binary uses its own part.

use std::io::Write;
use std::path::PathBuf;

use nightread_volume::{BytesSource, Datatype, Endian, Header, Limits, VolumeStream};

/// The folder of real test data, or `None` after saying by name what is skipped.
pub fn data(test: &str, relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("NIGHTREAD_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {test}: no {relative} in the test data folder (set NIGHTREAD_TEST_DATA)");
    None
}

/// The paths of the 32 real resting-state scans, sorted.
pub fn rest32(test: &str) -> Option<Vec<PathBuf>> {
    let folder = data(test, "fmri/rest32")?;
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    Some(paths)
}

/// A NIfTI file to be made byte by byte, apart from the crate's own writer.
#[derive(Clone)]
pub struct Nifti {
    pub version: u8,
    pub endian: Endian,
    pub datatype: Datatype,
    pub dims: Vec<i64>,
    pub slope: f32,
    pub intercept: f32,
    pub tr: f32,
    pub units: u8,
    pub sform: Option<[[f32; 4]; 3]>,
    pub qform: Option<[f32; 6]>,
    pub pixdim: [f32; 4],
    pub extension: usize,
}

impl Default for Nifti {
    fn default() -> Self {
        Self {
            version: 1,
            endian: Endian::Little,
            datatype: Datatype::I16,
            dims: vec![3, 4, 5, 6],
            slope: 0.0,
            intercept: 0.0,
            tr: 2.0,
            units: 10,
            sform: Some([[2.0, 0.0, 0.0, -3.0], [0.0, 2.0, 0.0, -4.0], [0.0, 0.0, 2.0, -5.0]]),
            qform: None,
            pixdim: [1.0, 2.0, 2.0, 2.0],
            extension: 0,
        }
    }
}

impl Nifti {
    fn field(&self, out: &mut [u8], at: usize, little: &[u8]) {
        let target = &mut out[at..at + little.len()];
        target.copy_from_slice(little);
        if self.endian == Endian::Big {
            target.reverse();
        }
    }

    /// Header and extension bytes, up to the first voxel.
    pub fn header(&self) -> Vec<u8> {
        let (size, v2) = if self.version == 1 { (348usize, false) } else { (540, true) };
        let mut out = vec![0u8; size + 4 + self.extension];
        let offset = out.len();
        self.field(&mut out, 0, &(size as i32).to_le_bytes());
        let mut dim = [1i64; 8];
        dim[0] = self.dims.len() as i64;
        dim[1..=self.dims.len()].copy_from_slice(&self.dims);
        let mut pixdim = [1f32; 8];
        pixdim[..4].copy_from_slice(&self.pixdim);
        pixdim[4] = self.tr;
        for i in 0..8 {
            if v2 {
                self.field(&mut out, 16 + 8 * i, &dim[i].to_le_bytes());
                self.field(&mut out, 104 + 8 * i, &f64::from(pixdim[i]).to_le_bytes());
            } else {
                self.field(&mut out, 40 + 2 * i, &(dim[i] as i16).to_le_bytes());
                self.field(&mut out, 76 + 4 * i, &pixdim[i].to_le_bytes());
            }
        }
        let bits = 8 * self.datatype.bytes() as i16;
        let at = if v2 { [12, 14] } else { [70, 72] };
        self.field(&mut out, at[0], &self.datatype.code().to_le_bytes());
        self.field(&mut out, at[1], &bits.to_le_bytes());
        let codes = [i32::from(self.qform.is_some()), 4 * i32::from(self.sform.is_some())];
        let rows = self.sform.unwrap_or_default();
        let quaternion = self.qform.unwrap_or_default();
        if v2 {
            out[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
            self.field(&mut out, 168, &(offset as i64).to_le_bytes());
            self.field(&mut out, 176, &f64::from(self.slope).to_le_bytes());
            self.field(&mut out, 184, &f64::from(self.intercept).to_le_bytes());
            self.field(&mut out, 344, &codes[0].to_le_bytes());
            self.field(&mut out, 348, &codes[1].to_le_bytes());
            self.field(&mut out, 500, &i32::from(self.units).to_le_bytes());
            for (i, x) in quaternion.iter().enumerate() {
                self.field(&mut out, 352 + 8 * i, &f64::from(*x).to_le_bytes());
            }
            for (i, x) in rows.iter().flatten().enumerate() {
                self.field(&mut out, 400 + 8 * i, &f64::from(*x).to_le_bytes());
            }
        } else {
            out[344..348].copy_from_slice(b"n+1\0");
            out[123] = self.units;
            self.field(&mut out, 108, &(offset as f32).to_le_bytes());
            self.field(&mut out, 112, &self.slope.to_le_bytes());
            self.field(&mut out, 116, &self.intercept.to_le_bytes());
            self.field(&mut out, 252, &(codes[0] as i16).to_le_bytes());
            self.field(&mut out, 254, &(codes[1] as i16).to_le_bytes());
            for (i, x) in quaternion.iter().enumerate() {
                self.field(&mut out, 256 + 4 * i, &x.to_le_bytes());
            }
            for (i, x) in rows.iter().flatten().enumerate() {
                self.field(&mut out, 280 + 4 * i, &x.to_le_bytes());
            }
        }
        out
    }

    /// The whole file, with stored values cast to the datatype.
    pub fn file(&self, values: impl IntoIterator<Item = f64>) -> Vec<u8> {
        let mut out = self.header();
        for x in values {
            let mut bytes = match self.datatype {
                Datatype::U8 => (x as u8).to_le_bytes().to_vec(),
                Datatype::I8 => (x as i8).to_le_bytes().to_vec(),
                Datatype::U16 => (x as u16).to_le_bytes().to_vec(),
                Datatype::I16 => (x as i16).to_le_bytes().to_vec(),
                Datatype::U32 => (x as u32).to_le_bytes().to_vec(),
                Datatype::I32 => (x as i32).to_le_bytes().to_vec(),
                Datatype::U64 => (x as u64).to_le_bytes().to_vec(),
                Datatype::I64 => (x as i64).to_le_bytes().to_vec(),
                Datatype::F32 => (x as f32).to_le_bytes().to_vec(),
                Datatype::F64 => x.to_le_bytes().to_vec(),
            };
            if self.endian == Endian::Big {
                bytes.reverse();
            }
            out.extend(bytes);
        }
        out
    }
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Header and values (volume after volume) of a file, read to its end.
pub fn read_all(bytes: &[u8]) -> Result<(Header, Vec<f64>, u64), nightread_domain::JobError> {
    read_limited(bytes, &Limits::default())
}

pub fn read_limited(
    bytes: &[u8],
    limits: &Limits,
) -> Result<(Header, Vec<f64>, u64), nightread_domain::JobError> {
    let source = BytesSource(bytes);
    let mut stream = VolumeStream::open(&source, limits)?;
    let header = stream.header().clone();
    let mut values = Vec::new();
    let mut volume = Vec::new();
    while let Some(raw) = stream.next_volume()? {
        volume.resize(header.grid.len(), 0.0);
        raw.values(&mut volume);
        values.extend_from_slice(&volume);
    }
    let rest = stream.finish()?;
    Ok((header, values, rest))
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, seeded, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit().max(1e-300), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}
