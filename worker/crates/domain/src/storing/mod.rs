//! Where a result goes, and who wins when one is already there. Pure: no clock, no store.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::blob::{BlobRef, ETag, MAX_NAME_CHARS};
use crate::error::JobError;
use crate::result::{ModelFacts, ResultDocument, Status};

mod bids;
mod version;
mod wanted;

pub use bids::BidsName;
pub use version::same_version;
pub use wanted::{HeatmapLabels, Wanted};

/// File systems take 255 bytes a segment; a temporary suffix must fit beside it.
const MAX_SEGMENT_BYTES: usize = 230;

/// `<model>/<version>/<container>/<blob path>.json` in the results container: a pure function of job and model.
/// Longer names keep a readable head and a hash of the whole.
pub fn result_blob(results: &str, model: &str, version: &str, source: &BlobRef) -> Result<BlobRef, JobError> {
    named(results, model, version, source, ".json")
}

/// What goes beside a document: named as it is, but ending in `.<beginning of the source's digest>.<suffix>`, so that a
/// name belongs to one version of the source. `suffix` has at most 40 ASCII characters.
pub fn artefact_blob(
    results: &str,
    model: &str,
    version: &str,
    source: &BlobRef,
    source_sha256: &str,
    suffix: &str,
) -> Result<BlobRef, JobError> {
    let digest = beginning(source_sha256);
    named(results, model, version, source, &format!(".{digest}.{suffix}"))
}

/// What goes beside the document of a scan that has a BIDS name: in the same folder, under the derivative's BIDS name. `None`
/// where the scan's name is no such name, or the derivative's would be too long.
pub fn bids_artefact_blob(
    results: &str,
    model: &str,
    version: &str,
    source: &BlobRef,
    source_sha256: &str,
    name: BidsName,
) -> Result<Option<BlobRef>, JobError> {
    let digest = beginning(source_sha256);
    let (folder, file) = source.name().rsplit_once('/').unwrap_or(("", source.name()));
    let Some(derived) = name.of(file, model, digest) else { return Ok(None) };
    let joint = if folder.is_empty() { "" } else { "/" };
    let full = format!("{model}/{version}/{}/{folder}{joint}{derived}", source.container());
    let fits = full.chars().count() <= MAX_NAME_CHARS && derived.len() <= MAX_SEGMENT_BYTES;
    fits.then(|| BlobRef::new(results, full)).transpose()
}

/// As much of a digest as names bear.
fn beginning(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

fn named(
    results: &str,
    model: &str,
    version: &str,
    source: &BlobRef,
    end: &str,
) -> Result<BlobRef, JobError> {
    let full = format!("{model}/{version}/{source}{end}");
    let last_segment = full.rsplit('/').next().unwrap_or_default();
    let fits = full.chars().count() <= MAX_NAME_CHARS && last_segment.len() <= MAX_SEGMENT_BYTES;
    BlobRef::new(results, if fits { full } else { shortened(model, version, source, end) })
}

fn shortened(model: &str, version: &str, source: &BlobRef, end: &str) -> String {
    let digest = hex::encode(&Sha256::digest(source.to_string().as_bytes())[..16]);
    let parent = source.name().rsplit_once('/').map_or("", |(parent, _)| parent);
    let file = source.name().rsplit('/').next().unwrap_or_default();
    // What is left beside the container (63), the file's head (40), the hash, the joints and the end.
    let taken = model.chars().count() + version.chars().count() + 63 + 40 + 32 + 11 + end.len();
    let budget = MAX_NAME_CHARS.saturating_sub(taken);
    let parent: String = parent.chars().take(budget).collect();
    let file: String = file.chars().take(40).collect();
    let parent = parent.trim_end_matches('/');
    let joint = if parent.is_empty() { "" } else { "/" };
    format!("{model}/{version}/{}/{parent}{joint}{file}~{digest}{end}", source.container())
}

/// What tells one version of a source from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The store's mark of a version, and its times.
    #[default]
    Version,
    /// The digest of its bytes: marks and times of files change when a data set is copied or touched.
    Content,
}

/// What the document about to be written says of itself, before the work or after it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub etag: Option<&'a ETag>,
    pub last_modified: Option<OffsetDateTime>,
    /// Of the source's bytes, once they were read.
    pub sha256: Option<&'a str>,
    pub identity: Identity,
    pub model: &'a ModelFacts,
    pub worker_version: &'a str,
    pub force: bool,
    pub reread_failed: bool,
    /// Files that are asked for beside the document.
    pub wanted: Wanted<'a>,
}

/// What to do about a result that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The existing result stands for this job: success.
    AlreadyDone,
    /// Ours goes over it, under `If-Match`.
    Replace,
    /// The existing result stands, but files that are asked for are not beside it: the study is read again, and ours goes over
    /// it with the files of both ([`completed`]).
    Complete,
    /// The existing one is of a newer source version: ours is dropped, and the job is done.
    NewerExists,
    /// Equal times, different ETags: the version the source has now wins.
    AskSource,
}

/// Judges an existing document before any work is done: may this job be skipped?
pub fn before_reading(existing: &ResultDocument, ours: &Candidate<'_>) -> Result<Verdict, JobError> {
    same_model(existing, ours)?;
    Ok(match versions(existing, ours) {
        Versions::Same if ours.force => Verdict::Replace,
        Versions::Same if existing.status == Status::Ok && ours.wanted.lacks(existing) => Verdict::Complete,
        Versions::Same if existing.status == Status::Ok => Verdict::AlreadyDone,
        Versions::Same
            if ours.reread_failed || existing.worker.version != ours.worker_version || may_pass(existing) =>
        {
            Verdict::Replace
        }
        Versions::Same => Verdict::AlreadyDone,
        Versions::OursNewer => Verdict::Replace,
        Versions::OursOlder => Verdict::NewerExists,
        Versions::Tie => Verdict::AskSource,
    })
}

/// Judges an existing document when ours is ready to be written.
pub fn before_writing(
    existing: &ResultDocument,
    ours: &Candidate<'_>,
    status: Status,
) -> Result<Verdict, JobError> {
    same_model(existing, ours)?;
    Ok(match (versions(existing, ours), existing.status, status) {
        // A reading that worked once is never lost to one that did not.
        (Versions::Same, Status::Ok, Status::Failed) => Verdict::AlreadyDone,
        (Versions::Same, Status::Failed, Status::Ok) | (Versions::OursNewer, _, _) => Verdict::Replace,
        (Versions::Same, _, _) => before_reading(existing, ours)?,
        (Versions::OursOlder, _, _) => Verdict::NewerExists,
        (Versions::Tie, _, _) => Verdict::AskSource,
    })
}

/// `ours` with the files that only `existing` names. Files of a scan that was regressed in another way (other confounds, other
/// volumes) are not those of this reading, and are left out, as are those of the form before, which lack their digests.
#[must_use]
pub fn completed(mut ours: ResultDocument, existing: &ResultDocument) -> ResultDocument {
    if is_same_reading(&ours, existing) {
        let named: Vec<String> = ours.artefacts.iter().map(|artefact| artefact.path.clone()).collect();
        let more = existing.artefacts.iter();
        let more = more.filter(|artefact| !artefact.sha256.is_empty() && !named.contains(&artefact.path));
        ours.artefacts.extend(more.cloned());
    }
    ours
}

/// Whether two readings of one version of a study were made the same way, so that their files may lie beside each other.
pub fn is_same_reading(a: &ResultDocument, b: &ResultDocument) -> bool {
    const DECIDES: [&str; 6] =
        ["volumes_used", "voxels_used", "confounds", "confounds_rank", "dof", "des_norm"];
    match (a.regression(), b.regression()) {
        (Some(a), Some(b)) => DECIDES.iter().all(|name| a.get(*name) == b.get(*name)),
        (None, None) => a.task == b.task,
        _ => false,
    }
}

fn may_pass(existing: &ResultDocument) -> bool {
    existing.error.as_ref().is_some_and(|error| error.code.may_pass())
}

enum Versions {
    Same,
    OursNewer,
    OursOlder,
    Tie,
}

fn versions(existing: &ResultDocument, ours: &Candidate<'_>) -> Versions {
    match (existing.study.version.as_ref(), ours.etag) {
        (a, b) if a == b => Versions::Same,
        // A blob that is gone never outranks one that was read.
        (Some(_), None) => Versions::OursOlder,
        (None, Some(_)) => Versions::OursNewer,
        // What lies there now counts, whatever its time: until its bytes are read it may be anything.
        _ if ours.identity == Identity::Content => match (existing.study.sha256.as_deref(), ours.sha256) {
            (Some(a), Some(b)) if a == b => Versions::Same,
            _ => Versions::OursNewer,
        },
        _ => match existing.study.last_modified.cmp(&ours.last_modified) {
            std::cmp::Ordering::Less => Versions::OursNewer,
            std::cmp::Ordering::Greater => Versions::OursOlder,
            std::cmp::Ordering::Equal => Versions::Tie,
        },
    }
}

fn same_model(existing: &ResultDocument, ours: &Candidate<'_>) -> Result<(), JobError> {
    if ours.force {
        return Ok(());
    }
    same_version(&existing.model, ours.model)
}

#[cfg(test)]
mod tests;
