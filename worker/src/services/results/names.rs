//! The names of what may be documents, handed over some at a time.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nightread_domain::announcement::SETS;
use nightread_domain::delivery::RECORDS;
use nightread_domain::ports::Listing;
use nightread_domain::{BlobRef, ETag, ErrorCode, JobError, Stage};
use tokio::sync::mpsc;

use super::source::{DocumentSource, FOLDER, Lines, listed};
use crate::adapters::storage::azure::AzureStore;
use crate::adapters::storage::folder::FolderStore;
use crate::pipeline::near_memory::STARTS;
use crate::services::pages::{PageWalk, patiently};

/// Documents that one thread reads in one go.
const BATCH: usize = 128;

/// How documents' names end.
const DOCUMENT: &str = ".json";

/// What lies below these in the results container is Nightread's own: records that have not been told yet, set documents,
/// what is known of series so far, what archives have, and starts that came near the end of the memory.
const OWN: [&str; 5] = ["_outbox/", SETS, "_assemble/", RECORDS, STARTS];

/// A name, and the mark of the version there where it was asked for.
#[derive(Clone, Debug)]
pub struct Named {
    pub path: BlobRef,
    pub etag: Option<ETag>,
}

/// What was met on the way, besides entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents that the filter left out.
    pub filtered: u64,
    /// Files beside documents, and other people's.
    pub others: u64,
    /// Listed, and gone when their turn came.
    pub gone: u64,
}

/// Hands names over, and counts what is none.
pub(super) struct Out {
    sender: mpsc::Sender<Result<Vec<Named>, JobError>>,
    counts: Arc<Mutex<Counts>>,
    batch: Vec<Named>,
}

impl Out {
    pub fn new(sender: mpsc::Sender<Result<Vec<Named>, JobError>>, counts: Arc<Mutex<Counts>>) -> Self {
        Self { sender, counts, batch: Vec::new() }
    }

    /// Whether a name of a listing may be a document's.
    fn is_document(&self, path: &BlobRef) -> bool {
        let is_own = OWN.iter().any(|own| path.name().starts_with(own));
        let is_one = path.name().ends_with(DOCUMENT) && !is_own;
        if !is_one {
            self.pass_over();
        }
        is_one
    }

    fn pass_over(&self) {
        counted(&self.counts, |counts| counts.others += 1);
    }

    /// The names that are full, or the last of them, when it is time to hand them over.
    fn full(&mut self, named: Option<Named>) -> Option<Vec<Named>> {
        let is_end = named.is_none();
        self.batch.extend(named);
        let is_time = self.batch.len() == BATCH || is_end && !self.batch.is_empty();
        is_time.then(|| std::mem::take(&mut self.batch))
    }
}

pub(super) fn counted(counts: &Mutex<Counts>, add: impl FnOnce(&mut Counts)) {
    add(&mut counts.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Names of this machine. Nobody who has stopped listening is told of an error.
pub(super) fn names_here(
    folder: &FolderStore,
    source: &DocumentSource,
    facts: bool,
    wanted: &dyn Fn(&Named) -> bool,
    mut out: Out,
) {
    let ended = match source {
        DocumentSource::Folder(_) => walk(folder, FOLDER, "", facts, wanted, &mut out),
        DocumentSource::Container { name, prefix } => walk(folder, name, prefix, facts, wanted, &mut out),
        DocumentSource::List(list) => lines(list.as_deref(), folder, facts, wanted, &mut out),
        DocumentSource::File(path) => one(path, folder, facts, wanted, &mut out),
    };
    let _ = match ended {
        Ok(()) => match out.full(None) {
            Some(last) => out.sender.blocking_send(Ok(last)),
            None => Ok(()),
        },
        Err(error) => out.sender.blocking_send(Err(error)),
    };
}

fn walk(
    folder: &FolderStore,
    container: &str,
    prefix: &str,
    facts: bool,
    wanted: &dyn Fn(&Named) -> bool,
    out: &mut Out,
) -> Result<(), JobError> {
    for name in folder.names(container)? {
        let Ok(path) = name? else {
            // A name that Nightread does not take is no document of its.
            out.pass_over();
            continue;
        };
        if path.name().starts_with(prefix)
            && out.is_document(&path)
            && !hand(named(folder, path, facts)?, wanted, out)
        {
            break;
        }
    }
    Ok(())
}

fn lines(
    list: Option<&Path>,
    folder: &FolderStore,
    facts: bool,
    wanted: &dyn Fn(&Named) -> bool,
    out: &mut Out,
) -> Result<(), JobError> {
    let shown = list.map_or_else(|| "standard input".to_owned(), |list| list.display().to_string());
    let unreadable = |error| {
        JobError::new(Stage::Fetch, ErrorCode::StorageRejected, format!("cannot read the list {shown}"))
            .with_source(error)
    };
    for name in Lines::open(list).map_err(unreadable)? {
        let path = listed(&name.map_err(unreadable)?)?;
        if !hand(named(folder, path, facts)?, wanted, out) {
            break;
        }
    }
    Ok(())
}

fn one(
    path: &Path,
    folder: &FolderStore,
    facts: bool,
    wanted: &dyn Fn(&Named) -> bool,
    out: &mut Out,
) -> Result<(), JobError> {
    let path = listed(path.as_os_str().as_bytes())?;
    hand(named(folder, path, facts)?, wanted, out);
    Ok(())
}

fn named(folder: &FolderStore, path: BlobRef, facts: bool) -> Result<Option<Named>, JobError> {
    if !facts {
        return Ok(Some(Named { path, etag: None }));
    }
    match folder.properties_now(&path) {
        Ok(properties) => Ok(Some(Named { path, etag: Some(properties.etag) })),
        Err(error) if error.is_transient() || error.is_fatal() => Err(error),
        // Gone meanwhile, or not to be opened: whoever reads it sees for himself.
        Err(_) => Ok(Some(Named { path, etag: None })),
    }
}

/// Whether somebody still listens.
fn hand(named: Option<Named>, wanted: &dyn Fn(&Named) -> bool, out: &mut Out) -> bool {
    let Some(named) = named.filter(wanted) else { return true };
    match out.full(Some(named)) {
        Some(batch) => out.sender.blocking_send(Ok(batch)).is_ok(),
        None => true,
    }
}

/// Names of an account, page by page.
pub(super) async fn listing(
    account: &AzureStore,
    container: &str,
    prefix: &str,
    wanted: impl Fn(&Named) -> bool + Send,
    mut out: Out,
) {
    if let Err(error) = pages(account, container, prefix, wanted, &mut out).await {
        let _ = out.sender.send(Err(error)).await;
    } else if let Some(last) = out.full(None) {
        let _ = out.sender.send(Ok(last)).await;
    }
}

async fn pages(
    account: &AzureStore,
    container: &str,
    prefix: &str,
    wanted: impl Fn(&Named) -> bool + Send,
    out: &mut Out,
) -> Result<(), JobError> {
    let mut marker: Option<String> = None;
    let mut walk = PageWalk::default();
    loop {
        let page = patiently(|| account.list_page(container, prefix, marker.as_deref(), false)).await?;
        if !walk.leads_on(marker.as_deref(), page.next.as_deref())? {
            continue;
        }
        for item in page.items {
            let listed = match item {
                Ok(listed) => listed,
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {
                    out.pass_over();
                    continue;
                }
            };
            let named = Named { path: listed.blob, etag: Some(listed.properties.etag) };
            if !out.is_document(&named.path) || !wanted(&named) {
                continue;
            }
            if let Some(batch) = out.full(Some(named))
                && out.sender.send(Ok(batch)).await.is_err()
            {
                return Ok(());
            }
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(());
        }
    }
}
