//! From a model's folder into the registry. A version that is there is never written over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use nightread_domain::{JobError, WriteCondition, WriteOutcome};
use nightread_engine::{Catalogue, Manifest, VerifiedModel, file_sha256};

use super::digest::digest_of_file;
use super::sums::{SUMS_FILE, Sums, digest_of};
use super::versions::{Registry, mismatch, missing};
use crate::settings::Pin;

/// How the names begin of texts that go with a model, beside its card.
const LICENCE: &str = "LICENSE";

/// A version that is in the registry now.
#[derive(Debug)]
pub struct Pushed {
    pub pin: Pin,
    /// Of the manifest.
    pub version: String,
    pub files: usize,
    pub bytes: u64,
    /// Of the files; the others were there.
    pub written: usize,
    /// Of an ensemble, the models that have to be pinned beside it.
    pub members: Vec<String>,
}

/// Publishes the model in `folder`, every file first and their list last, so that a version is there whole or not at all. What is
/// there already is compared.
///
/// # Errors
/// `model_mismatch` for a model that is not whole and right, for a version that is published with other files, and for a file in the
/// registry that is another; `model_missing` for a template without weights; those of the store.
pub async fn push(registry: &Registry, folder: &Path, most_bytes: u64) -> Result<Pushed, JobError> {
    let manifest = Manifest::load(folder)?;
    if let Some(how) = manifest.bring_your_own.as_ref().filter(|_| manifest.precisions().next().is_none()) {
        return Err(missing(format!("the weights of {} are not there: {how}", manifest.name)));
    }
    if manifest.maps.as_ref().is_some_and(|maps| maps.sha256.is_none()) {
        return Err(missing(format!(
            "the group maps of {} are not pinned: note their digest, [maps] sha256",
            manifest.name
        )));
    }
    let names = names(&manifest, folder).map_err(|error| unreadable(folder, &error))?;
    fits(folder, &names, most_bytes)?;
    stands_alone(&manifest.name, folder, &names)?;
    if manifest.ensemble.is_some() {
        // Its members are other versions, which are published by themselves: they have to be those that it names.
        Catalogue::load(folder.parent().unwrap_or(folder))?.get(&manifest.name)?;
    }
    let sums = digested(folder, &names)?;
    let text = sums.text().to_owned();
    let pin = Pin::new(&manifest.name, digest_of(text.as_bytes()));
    let pin = pin.ok_or_else(|| mismatch(format!("{:?} is no name of a model", manifest.name)))?;
    registry.is_free(&manifest.version, &pin, &sums).await?;
    let members = manifest.ensemble.iter().flat_map(|ensemble| &ensemble.members);
    let members = members.map(|member| member.model.clone()).collect();
    let mut pushed =
        Pushed { pin, version: manifest.version, files: names.len(), bytes: 0, written: 0, members };
    for (name, sha256) in sums.files() {
        let path = folder.join(name);
        let body = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        if digest_of(&body) != sha256 {
            return Err(mismatch(format!("{} changed while it was read", path.display())));
        }
        pushed.bytes += body.len() as u64;
        pushed.written += usize::from(registry.put(&pushed.pin, name, body.into(), sha256).await?);
    }
    // Files take minutes: another may have published the version meanwhile.
    registry.is_free(&pushed.version, &pushed.pin, &sums).await?;
    let digest = pushed.pin.sha256().to_owned();
    registry.put(&pushed.pin, SUMS_FILE, text.into(), &digest).await?;
    Ok(pushed)
}

impl Registry {
    /// Whether it was written; else it was there.
    async fn put(&self, pin: &Pin, name: &str, body: Bytes, sha256: &str) -> Result<bool, JobError> {
        let blob = self.blob(pin, name)?;
        let written = self.store.write(&blob, body, &BTreeMap::new(), WriteCondition::IfAbsent).await;
        match written.map_err(|error| self.failed(&blob, error))? {
            WriteOutcome::Written(_) => return Ok(true),
            WriteOutcome::ConditionFailed => {}
        }
        let properties = self.store.properties(&blob).await.map_err(|error| self.failed(&blob, error))?;
        let there = self.store.fetch(&blob, &properties, u64::MAX).await;
        let there = there.map_err(|error| self.failed(&blob, error))?;
        let found = digest_of_file(&there).await?;
        if found == sha256 {
            return Ok(false);
        }
        Err(mismatch(format!(
            "{blob} is there with sha256 {found}, and {sha256} is right: remove it, if nobody reads with it, and push again"
        )))
    }
}

/// Of the files that the manifest names, and of licences.
fn names(manifest: &Manifest, folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = manifest.files().into_iter().map(str::to_owned).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| name.starts_with(LICENCE) && entry.path().is_file()) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// That workers fetch so much: before a byte is read or written.
fn fits(folder: &Path, names: &BTreeSet<String>, most_bytes: u64) -> Result<(), JobError> {
    let mut bytes = 0_u64;
    for name in names {
        let path = folder.join(name);
        bytes += path.metadata().map_err(|error| unreadable(&path, &error))?.len();
    }
    if bytes > most_bytes {
        return Err(mismatch(format!(
            "the files of {} have {bytes} bytes, and workers fetch {most_bytes} at most ([limits] model_bytes)",
            folder.display()
        )));
    }
    Ok(())
}

/// That the model can be opened with these files alone: what a list leaves out would be missed by every worker.
fn stands_alone(name: &str, folder: &Path, names: &BTreeSet<String>) -> Result<(), JobError> {
    let held = tempfile::Builder::new().prefix("nightread-push-").tempdir();
    let held = held.map_err(|error| unreadable(folder, &error))?;
    let model = held.path().join(name);
    linked(folder, &model, names).map_err(|error| unreadable(folder, &error))?;
    let manifest = Arc::new(Manifest::read(&model)?);
    if manifest.ensemble.is_some() {
        return Ok(());
    }
    manifest.precisions().try_for_each(|precision| VerifiedModel::open(&manifest, precision).map(drop))
}

/// A folder of links to these files.
fn linked(folder: &Path, model: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    fs::create_dir(model)?;
    names.iter().try_for_each(|name| symlink(folder.join(name), model.join(name)))
}

fn digested(folder: &Path, names: &BTreeSet<String>) -> Result<Sums, JobError> {
    let digested = names.iter().map(|name| {
        let path = folder.join(name);
        let sha256 = file_sha256(&path).map_err(|error| unreadable(&path, &error))?;
        Ok((name.clone(), sha256))
    });
    let files = digested.collect::<Result<_, JobError>>()?;
    Sums::new(files).map_err(|wrong| mismatch(format!("{}: {wrong}", folder.display())))
}

fn unreadable(path: &Path, error: &io::Error) -> JobError {
    missing(format!("{} cannot be read: {error}", path.display()))
}
