//! Where a scan's bytes come from, and the limits they are read under.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Caps that hold before anything is allocated for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Voxels of one volume.
    pub max_volume_voxels: u64,
    /// Voxels of all volumes together.
    pub max_voxels: u64,
    /// Bytes of the file when inflated, with all that follows the data.
    pub max_inflated_bytes: u64,
    pub names: LimitNames,
}

/// What refusals call the limits, so that whoever meets one knows what to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitNames {
    pub voxels: &'static str,
    pub inflated_bytes: &'static str,
}

impl LimitNames {
    /// Limits that no setting changes.
    pub const FIXED: Self = Self { voxels: "fixed", inflated_bytes: "fixed" };
    /// Those of the worker.
    pub const SETTINGS: Self = Self { voxels: "[limits] voxels", inflated_bytes: "[limits] inflated_bytes" };
}

impl Default for Limits {
    /// 256^3 voxels a volume, 2^32 voxels a scan, 16 GiB inflated: 1,200 volumes of 97x115x97 single-precision voxels
    /// are 5.2 GB, 900 of 113x136x113 are 6.3 GB.
    fn default() -> Self {
        Self {
            max_volume_voxels: 1 << 24,
            max_voxels: 1 << 32,
            max_inflated_bytes: 16 << 30,
            names: LimitNames::FIXED,
        }
    }
}

/// A scan that can be opened from its beginning more than once: one with non-finite voxels is read again.
pub trait ScanSource: Sync {
    /// A reader at the first byte of the file, compressed or not.
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>>;

    /// What messages call it, where it has a name.
    fn name(&self) -> Option<String> {
        None
    }
}

/// A scan held in memory.
#[derive(Clone, Copy, Debug)]
pub struct BytesSource<'a>(pub &'a [u8]);

impl ScanSource for BytesSource<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0))
    }
}

/// A scan in a file.
#[derive(Clone, Debug)]
pub struct FileSource(pub PathBuf);

impl ScanSource for FileSource {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(File::open(&self.0)?))
    }

    fn name(&self) -> Option<String> {
        Some(self.0.display().to_string())
    }
}
