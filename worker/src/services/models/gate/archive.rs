//! The arrays that `nightread prepare` wrote: an `.npz` archive, read one by one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use nightread_engine::read_npy;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::app::WrongUse;

/// What NumPy calls an array of an archive.
const EXTENSION: &str = ".npy";

/// More than the header of any `.npy` file.
const HEADER: usize = 1 << 16;

/// Arrays by name.
pub(super) struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    /// In the archive's order.
    names: Vec<String>,
}

impl Archive {
    /// # Errors
    /// For what is no archive of arrays.
    pub(super) fn open(path: &Path) -> Result<Self, WrongUse> {
        let at = path.display();
        let file = File::open(path).map_err(|error| {
            WrongUse(format!("{at}: {error}: look whether the path is right and may be read"))
        })?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            WrongUse(format!(
                "{at}: no .npz archive ({error}): write it with `nightread prepare FILES --out {at}`"
            ))
        })?;
        let names: Vec<_> =
            zip.file_names().filter_map(|name| name.strip_suffix(EXTENSION)).map(str::to_owned).collect();
        if names.is_empty() {
            return Err(WrongUse(format!(
                "{at}: holds no arrays: `nightread prepare` tells why a file has none"
            )));
        }
        Ok(Self { path: path.to_owned(), zip, names })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Shape and values of one of them, of `most` values at most.
    ///
    /// # Errors
    /// For one that is broken, or of another kind.
    pub(super) fn array(&mut self, name: &str, most: usize) -> Result<(Vec<usize>, Vec<f32>), WrongUse> {
        let at = format!("{}: {name}", self.path.display());
        let broken = |error: &dyn std::fmt::Display| {
            WrongUse(format!("{at}: cannot be read ({error}): write the archive anew"))
        };
        let mut entry = match self.zip.by_name(&format!("{name}{EXTENSION}")) {
            Ok(entry) => entry,
            Err(ZipError::UnsupportedArchive(_)) => {
                return Err(WrongUse(format!(
                    "{at}: is compressed: write it with `nightread prepare`, or by numpy.savez without compression"
                )));
            }
            Err(error) => return Err(broken(&error)),
        };
        let longest = (most * size_of::<f32>() + HEADER) as u64;
        if entry.size() > longest {
            return Err(WrongUse(format!(
                "{at}: has {} bytes, and the manifest's input {most} numbers: prepare it for this model",
                entry.size()
            )));
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        // What a header says of an entry's length may be a lie.
        entry.by_ref().take(longest).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        read_npy(&bytes).map_err(|words| WrongUse(format!("{at}: {words}")))
    }
}
