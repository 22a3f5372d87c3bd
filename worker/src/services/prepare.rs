//! `nightread prepare`: the tensors that a model takes, as arrays for other programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use nightread_domain::warning::Warning;
use nightread_domain::{ErrorCode, JobError, Stage, Task};
use nightread_engine::{Catalogue, Manifest};
use nightread_radiograph::{DecodeOptions, decode, npy};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::process::Inputs;
use crate::app::{self, WrongUse};
use crate::compute::verified::gate;
use crate::readings::Way;
use crate::services::walk::Names;
use crate::settings::Settings;

/// What was written, and what could not be prepared.
#[derive(Debug)]
pub(crate) struct PreparedFiles {
    model: String,
    /// Of one array.
    shape: Vec<usize>,
    written: Vec<(PathBuf, Vec<Warning>)>,
    failed: Vec<(PathBuf, JobError)>,
}

/// Writes one float32 array for each file into a `.npz` archive, under the file's path, in the order of the paths.
///
/// # Errors
/// For a model that reads no radiographs, nothing to read, or an archive that cannot be written. An image that cannot be
/// prepared is told and left out.
pub(crate) fn run(
    paths: &[PathBuf],
    model: Option<&str>,
    out: &Path,
    settings: &Settings,
) -> Result<PreparedFiles> {
    let catalogue = app::catalogue(settings, model)?;
    let manifest = match model {
        Some(model) => Arc::clone(catalogue.get(model)?),
        None => only(&catalogue)?,
    };
    let preparer = Preparer::new(&manifest, settings)?;
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let inputs = Inputs::gather(paths, &Names::default(), out)?.files;
    if inputs.is_empty() {
        return Err(WrongUse("nothing to read: no studies are there".to_owned()).into());
    }
    // Renamed into place when it is whole.
    let file =
        NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    let mut prepared = PreparedFiles {
        model: manifest.name.clone(),
        shape: manifest.input.item_shape.clone(),
        written: Vec::new(),
        failed: Vec::new(),
    };
    let mut archive = Arrays::new(file.reopen()?);
    for path in inputs {
        match preparer.tensor(&path) {
            Ok((values, warnings)) => {
                archive.put(&path, &values, &prepared.shape)?;
                prepared.written.push((path, warnings));
            }
            Err(error) => prepared.failed.push((path, error)),
        }
    }
    archive.finish()?;
    file.persist(out).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(prepared)
}

/// The one model of radiographs that there is.
fn only(catalogue: &Catalogue) -> Result<Arc<Manifest>> {
    let fitting: Vec<_> = catalogue.iter().filter(|manifest| manifest.task == Task::Radiograph).collect();
    match fitting.as_slice() {
        [one] => Ok(Arc::clone(one)),
        several => {
            let names: Vec<_> = several.iter().map(|manifest| manifest.name.as_str()).collect();
            Err(WrongUse(format!("--model must name one of: {}", names.join(", "))).into())
        }
    }
}

/// Makes of files what a model of radiographs takes.
pub(crate) struct Preparer {
    way: Way,
    options: DecodeOptions,
    limit: u64,
}

impl Preparer {
    /// # Errors
    /// [`WrongUse`] for a model that reads no radiographs, or an ensemble.
    pub(crate) fn new(manifest: &Manifest, settings: &Settings) -> Result<Self> {
        if manifest.task != Task::Radiograph {
            let text = format!(
                "{} reads {}: radiographs alone are prepared",
                manifest.name,
                manifest.task.studies()
            );
            return Err(WrongUse(text).into());
        }
        if let Some(ensemble) = &manifest.ensemble {
            let members: Vec<_> = ensemble.members.iter().map(|member| member.model.as_str()).collect();
            let text = format!(
                "{} is an ensemble, whose networks each take an input of their own: name one of {}",
                manifest.name,
                members.join(", ")
            );
            return Err(WrongUse(text).into());
        }
        let options = DecodeOptions {
            limits: app::decode_limits(&settings.limits),
            gate: gate(manifest),
            stored_max: (settings.png16_max != u32::from(u16::MAX)).then_some(settings.png16_max),
            codec: Some(Arc::new(app::codec(&settings.limits)?)),
        };
        Ok(Self { way: Way::of(manifest)?, options, limit: settings.limits.image_bytes })
    }

    /// Of the manifest's item shape, row-major, with what is doubtful of the image.
    ///
    /// # Errors
    /// What the image is refused for.
    pub(crate) fn tensor(&self, path: &Path) -> Result<(Vec<f32>, Vec<Warning>), JobError> {
        if path.to_str().is_none() {
            let text = "the name of the file is no UTF-8, so its array would have another's name: rename it";
            return Err(JobError::new(Stage::Fetch, ErrorCode::SourceNotAllowed, text));
        }
        let unreadable = |error: std::io::Error| {
            JobError::new(Stage::Fetch, ErrorCode::BlobNotFound, "the file cannot be read").with_source(error)
        };
        let bytes = File::open(path).and_then(|file| Ok(file.metadata()?.len())).map_err(unreadable)?;
        let limit = self.limit;
        if bytes > limit {
            let text = format!("the image has {bytes} bytes, {limit} are allowed ([limits] image_bytes)");
            return Err(JobError::new(Stage::Decode, ErrorCode::BlobTooLarge, text));
        }
        let image = decode(&std::fs::read(path).map_err(unreadable)?, &self.options)?;
        let (values, doubt) = self.way.prepare(&image)?;
        Ok((values, image.warnings().iter().cloned().chain(doubt).collect()))
    }
}

/// An `.npz` archive of float32 arrays, each under its file's path.
pub(crate) struct Arrays(ZipWriter<BufWriter<File>>);

impl Arrays {
    pub(crate) fn new(file: File) -> Self {
        Self(ZipWriter::new(BufWriter::new(file)))
    }

    pub(crate) fn put(&mut self, path: &Path, values: &[f32], shape: &[usize]) -> Result<()> {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        self.0.start_file(format!("{}.npy", path.display()), stored).context("cannot write the archive")?;
        self.0.write_all(&npy(values, shape)).context("cannot write the archive")
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish().and_then(|mut file| Ok(file.flush()?)).context("cannot write the archive")
    }
}

impl PreparedFiles {
    /// Whether every file has its array.
    pub(crate) fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }

    /// One line for each file that has no array.
    pub(crate) fn failures(&self) -> impl Iterator<Item = String> + '_ {
        self.failed
            .iter()
            .map(|(path, error)| format!("{}: {}: {}", path.display(), error.code, error.message))
    }

    pub(crate) fn as_text(&self) -> String {
        format!(
            "{} arrays of {:?} for {}, {} without one",
            self.written.len(),
            self.shape,
            self.model,
            self.failed.len()
        )
    }

    pub(crate) fn as_json(&self) -> Value {
        let written =
            self.written.iter().map(|(path, warnings)| json!({ "path": path, "warnings": warnings }));
        // A name that is no text is among these alone, and shown as it is in a line.
        let failed = self.failed.iter().map(
            |(path, error)| json!({ "path": path.to_string_lossy(), "code": error.code.as_str(), "message": error.message }),
        );
        json!({
            "model": self.model,
            "item_shape": self.shape,
            "written": written.collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
        })
    }
}
