//! A table in one file, or on standard output.

use std::fs::Permissions;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use nightread_table::{Contents, Form, Format, WriteError, Writer};
use tempfile::NamedTempFile;

use super::pieces::pieces;
use super::told::Told;
use crate::services::results::documents::Documents;

/// Where a table is written. A file is seen under its name when it is whole.
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
    pub fn finish(mut self) -> Result<()> {
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(error).context("cannot write the table");
            }
            _ => {}
        }
        let Self::File(file, path) = self else { return Ok(()) };
        let written = || format!("cannot write {}", path.display());
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(written)?;
        file.as_file().sync_all().with_context(written)?;
        file.persist(&path).with_context(written)?;
        Ok(())
    }
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

/// A row for each finding and each component.
pub(super) async fn long(documents: &Documents, format: Format, out: Option<&Path>) -> Result<Told> {
    write(documents, &Form::Long, format, out).await
}

/// A row for each document. The documents are read twice: their labels are columns.
pub(super) async fn wide(documents: &Documents, format: Format, out: Option<&Path>) -> Result<Told> {
    let own = documents.clone();
    let first = documents.batches(
        |_| true,
        move |found| {
            let mut contents = Contents::default();
            for entry in own.judged(found) {
                if let Ok(document) = &entry.document {
                    contents.add(document);
                }
            }
            contents
        },
    );
    let contents = first.try_fold(Contents::default(), async |mut all, some| {
        all.join(some);
        Ok(all)
    });
    let contents = contents.await?;
    documents.forget_counts();
    write(documents, &Form::Wide(contents), format, out).await
}

async fn write(documents: &Documents, form: &Form, format: Format, out: Option<&Path>) -> Result<Told> {
    let mut told = Told::default();
    let begun = Writer::new(format, form.columns(), &[], Output::open(out)?);
    let Some(mut writer) = unless_closed(begun)? else { return Ok(told) };
    let mut pieces = pieces(documents, form, |_| true);
    while let Some(piece) = pieces.try_next().await? {
        if piece.is_new {
            bail!("results were written meanwhile, with labels that have no columns: run it again");
        }
        told.join(piece.told);
        let written = tokio::task::block_in_place(|| writer.write(piece.batch));
        if unless_closed(written)?.is_none() {
            return Ok(told);
        }
    }
    if let Some(output) = unless_closed(writer.finish())? {
        output.finish()?;
    }
    Ok(told)
}

/// A closed pipe (`| head`) is no failure; a full disk is.
fn unless_closed<T>(written: Result<T, WriteError>) -> Result<Option<T>> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(WriteError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error).context("cannot write the table"),
    }
}
