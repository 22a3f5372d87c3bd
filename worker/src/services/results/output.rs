//! Where a table, a comparison or a report goes: whole, or not at all.

use std::fs::Permissions;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Where results go for people. A file is seen under its name when it is whole.
#[derive(Debug)]
pub(crate) enum Output {
    File(BufWriter<NamedTempFile>, PathBuf),
    Standard(BufWriter<Stdout>),
}

impl Output {
    /// # Errors
    /// What the file system says.
    pub fn open(out: Option<&Path>) -> Result<Self> {
        let Some(path) = out else { return Ok(Self::Standard(BufWriter::new(io::stdout()))) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".nightread-")
            .permissions(Permissions::from_mode(0o666)) // less the umask
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(BufWriter::with_capacity(1 << 18, file), path.to_owned()))
    }

    /// Puts it under its name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self) -> Result<()> {
        let (file, path) = match self {
            Self::File(file, path) => (file, path),
            Self::Standard(mut out) => match out.flush() {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    return Err(error).context("cannot write the table");
                }
                _ => return Ok(()),
            },
        };
        let written = || format!("cannot write {}", path.display());
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(written)?;
        file.as_file().sync_all().with_context(written)?;
        file.persist(&path).with_context(written)?;
        Ok(())
    }
}

/// Writes a file.
///
/// # Errors
/// What the file system says.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut out = Output::open(Some(path))?;
    out.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    out.finish()
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => file.write(bytes),
            Self::Standard(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file, _) => file.flush(),
            Self::Standard(out) => out.flush(),
        }
    }
}
