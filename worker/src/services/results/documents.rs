//! The documents of a results store, one after another: many are read at a time, and memory does not grow with their number.
//! They come in the order in which the store lists them; whoever wants another sorts.

use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::result::{ArtefactFacts, Parsed, ResultDocument};
use nightread_domain::storing::result_blob;
use nightread_domain::{BlobRef, ETag, JobError, Stage};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::filter::Filter;
pub use super::names::{Counts, Named};
use super::names::{Out, counted, listing, names_here};
pub use super::reading::{Found, MAX_DOCUMENT};
use super::reading::{GONE, download, read_blob, read_here};
use super::source::{DocumentSource, FILES, FOLDER};
use crate::adapters::storage::azure::{AzureOptions, AzureStore};
use crate::adapters::storage::folder::FolderStore;
use crate::app::{self, WrongUse};
use crate::cli::Common;
use crate::flow::aside::blocking;
use crate::settings::{Problems, Settings, StorageSettings};

/// What runs beside the reactor here.
const TASK: &str = "reading documents";

/// One document, or what should be one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lies. Below a folder that was named the container is `results`; a file of a list has the container `local` and
    /// its absolute path.
    pub path: BlobRef,
    /// The store's mark of the version that was read.
    pub etag: ETag,
    /// Or why it is none that can be read here: of a later form, not to be opened, a file of a list that is no document.
    pub document: Result<Box<ResultDocument>, String>,
}

/// A store of documents.
#[derive(Clone)]
pub struct Documents {
    store: Store,
    source: Arc<DocumentSource>,
    filter: Arc<Filter>,
    counts: Arc<Mutex<Counts>>,
}

/// What documents and studies are read from.
#[derive(Clone)]
pub(super) enum Store {
    Here(FolderStore),
    Account(Arc<AzureStore>),
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents")
            .field("source", &self.source)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl Documents {
    /// Opens a source as it was typed; settings are asked only for what lies in their storage.
    ///
    /// # Errors
    /// [`WrongUse`]; what the account says.
    pub fn open(typed: &Path, common: &Common, filter: Filter) -> Result<Self> {
        let source = DocumentSource::parse(typed).map_err(WrongUse)?;
        let store = match &source {
            DocumentSource::Container { name, .. } => in_settings(common, name)?,
            DocumentSource::Folder(folder) => Store::here([(FOLDER, folder.as_path())]),
            DocumentSource::List(_) | DocumentSource::File(_) => Store::here([(FILES, Path::new("/"))]),
        };
        let (source, filter) = (Arc::new(source), Arc::new(filter));
        Ok(Self { store, source, filter, counts: Arc::new(Mutex::default()) })
    }

    /// All that lies below a folder.
    pub fn of_folder(folder: &Path) -> Self {
        Self {
            store: Store::here([(FOLDER, folder)]),
            source: Arc::new(DocumentSource::Folder(folder.to_owned())),
            filter: Arc::new(Filter::default()),
            counts: Arc::new(Mutex::default()),
        }
    }

    /// Every document that the filter takes, and everything that should be one. An error ends the stream: then nobody knows
    /// what is missing.
    pub fn entries(&self) -> BoxStream<'static, Result<Entry, JobError>> {
        let own = self.clone();
        let batches = self.batches(|_| true, move |found| own.judged(found).collect::<Vec<_>>());
        batches.map_ok(|entries| stream::iter(entries.into_iter().map(Ok))).try_flatten().boxed()
    }

    /// What `make` makes of each batch of documents' bytes, for names that are `wanted`. It runs on threads that may wait.
    pub fn batches<T: Send + 'static>(
        &self,
        wanted: impl Fn(&Named) -> bool + Send + 'static,
        make: impl Fn(Vec<Found>) -> T + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<T, JobError>> {
        let (store, counts) = (self.store.clone(), Arc::clone(&self.counts));
        let make = Arc::new(make);
        let names = self.names(false, wanted);
        let names = stream::unfold(names, async |mut names| Some((names.recv().await?, names)));
        let at_once = match &self.store {
            // One more, so that nobody waits while what they made is taken.
            Store::Here(_) => available_parallelism().map_or(1, NonZero::get) + 1,
            Store::Account(_) => 2,
        };
        let is_named = self.is_named();
        let read = move |named: Result<Vec<Named>, JobError>| {
            let (store, counts, make) = (store.clone(), Arc::clone(&counts), Arc::clone(&make));
            async move {
                let named = named?;
                let asked = named.len();
                let downloaded = match &store {
                    Store::Here(_) => None,
                    Store::Account(account) => Some(download(account, named.clone()).await?),
                };
                blocking(Stage::Fetch, TASK, move || {
                    let mut found = match (downloaded, &store) {
                        (Some(found), _) => found,
                        (None, Store::Here(folder)) => read_here(folder, named)?,
                        (None, Store::Account(_)) => Vec::new(),
                    };
                    if !is_named {
                        found.retain(|found| found.body != Err(GONE.to_owned()));
                        counted(&counts, |counts| counts.gone += (asked - found.len()) as u64);
                    }
                    Ok(make(found))
                })
                .await
            }
        };
        names.map(read).buffered(at_once).boxed()
    }

    /// The names of what may be documents, some at a time; with the marks of their versions where `facts` are asked for.
    pub fn names(
        &self,
        facts: bool,
        wanted: impl Fn(&Named) -> bool + Send + 'static,
    ) -> mpsc::Receiver<Result<Vec<Named>, JobError>> {
        let (sender, names) = mpsc::channel(4);
        let out = Out::new(sender, Arc::clone(&self.counts));
        let (store, source, filter) =
            (self.store.clone(), Arc::clone(&self.source), Arc::clone(&self.filter));
        match (store, &*source) {
            (Store::Account(account), DocumentSource::Container { name, prefix }) => {
                let (name, prefix) = (name.clone(), narrowed(prefix, &filter));
                tokio::spawn(async move { listing(&account, &name, &prefix, wanted, out).await });
            }
            (Store::Here(folder), _) => {
                tokio::task::spawn_blocking(move || names_here(&folder, &source, facts, &wanted, out));
            }
            (Store::Account(_), _) => {}
        }
        names
    }

    /// Judges bytes: an entry for each that is a document and asked for, or should be one.
    pub fn judged(&self, found: Vec<Found>) -> impl Iterator<Item = Entry> {
        found.into_iter().filter_map(|Found { path, body }| {
            let (body, etag) = match body {
                Ok(read) => read,
                Err(why) => return Some(Entry { path, etag: ETag(String::new()), document: Err(why) }),
            };
            let document = match ResultDocument::parse(&body) {
                Parsed::Document(document) if !self.filter.takes(&document) => {
                    counted(&self.counts, |counts| counts.filtered += 1);
                    return None;
                }
                Parsed::Document(document) => Ok(document),
                Parsed::Unknown(why) => Err(why),
                Parsed::NoDocument if self.is_meant(&body) => Err("is no result document".to_owned()),
                Parsed::NoDocument => {
                    counted(&self.counts, |counts| counts.others += 1);
                    return None;
                }
            };
            Some(Entry { path, etag, document })
        })
    }

    /// Whether somebody named each document, so that what is none is a mistake.
    fn is_named(&self) -> bool {
        matches!(*self.source, DocumentSource::List(_) | DocumentSource::File(_))
    }

    /// Whether what is no document was meant as one. Lists that `find` makes name sidecars too: whole JSON of another kind.
    fn is_meant(&self, body: &[u8]) -> bool {
        match *self.source {
            DocumentSource::File(_) => true,
            DocumentSource::List(_) => serde_json::from_slice::<IgnoredAny>(body).is_err(),
            DocumentSource::Folder(_) | DocumentSource::Container { .. } => false,
        }
    }

    /// Whether its names come from standard input, and so but once.
    pub fn is_read_once(&self) -> bool {
        matches!(*self.source, DocumentSource::List(None))
    }

    /// Which documents are asked for, in words that are the same for the same wish to the same program.
    pub fn asked(&self) -> String {
        format!("{} {:?}", env!("CARGO_PKG_VERSION"), self.filter)
    }

    /// Begins to count anew, where documents are gone through twice.
    pub fn forget_counts(&self) {
        counted(&self.counts, |counts| *counts = Counts::default());
    }

    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a file beside a document lies; `None` when nothing tells.
    pub fn beside(&self, entry: &Entry, artefact: &ArtefactFacts) -> Option<BlobRef> {
        let document = entry.document.as_ref().ok()?;
        BlobRef::new(entry.path.container(), beside(&entry.path, document, artefact)?).ok()
    }

    /// The bytes under a name in the store of the documents; `None` when there are none.
    ///
    /// # Errors
    /// `blob_too_large` for more than `limit` bytes; what storage says.
    pub async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<Bytes>, JobError> {
        self.store.read(blob, limit).await
    }

    /// The file under a name, where documents are files of this machine.
    pub fn file_of(&self, path: &BlobRef) -> Option<PathBuf> {
        match &self.store {
            Store::Here(folder) => folder.path_of(path).ok(),
            Store::Account(_) => None,
        }
    }
}

impl Store {
    pub(super) async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<Bytes>, JobError> {
        let read = match self {
            Self::Here(folder) => {
                let (folder, blob) = (folder.clone(), blob.clone());
                blocking(Stage::Fetch, TASK, move || folder.read_now(&blob, limit)).await?
            }
            Self::Account(account) => read_blob(account, blob, limit).await?,
        };
        Ok(read.map(|(body, _)| body))
    }

    pub(super) fn here<const N: usize>(containers: [(&str, &Path); N]) -> Self {
        let containers = containers.map(|(name, folder)| (name.to_owned(), folder.to_owned()));
        Self::Here(FolderStore::of_a_person(containers))
    }
}

/// A version's mark without quotation marks, which listings leave out and answers have.
pub fn bare(etag: &ETag) -> String {
    etag.strong().trim_matches('"').to_owned()
}

/// The storage of the settings, for one container.
pub(super) fn in_settings(common: &Common, container: &str) -> Result<Store> {
    let settings = app::sound_settings(common, require_storage)?;
    let storage = settings.storage.as_ref().context("storage was required above")?;
    Ok(match storage {
        StorageSettings::Folder(root) => {
            Store::Here(FolderStore::new([(container.to_owned(), root.join(container))]))
        }
        StorageSettings::Azure(access) => {
            Store::Account(Arc::new(AzureStore::new(app::account(access)?, AzureOptions::default())?))
        }
    })
}

fn require_storage(settings: &Settings, problems: &mut Problems) {
    if settings.storage.is_none() {
        problems.add("[storage] is incomplete: kind folder needs folder, kind azure needs a way in");
    }
}

/// The longer of two starts of names, where one is a start of the other.
fn narrowed(prefix: &str, filter: &Filter) -> String {
    let start = filter.start_of_names();
    if start.starts_with(prefix) { start } else { prefix.to_owned() }
}

/// Where a file beside a document lies in the document's container. The document's own name tells what of a result's name
/// stands before it there, or is missing.
fn beside(path: &BlobRef, document: &ResultDocument, artefact: &ArtefactFacts) -> Option<String> {
    let model = &document.model;
    let blob = document.study_name().ok()?;
    let named = result_blob(FOLDER, &model.name, &model.version_in_paths(), &blob).ok()?;
    if let Some(before) = path.name().strip_suffix(named.name()) {
        return Some(format!("{before}{}", artefact.path));
    }
    let missing = named.name().strip_suffix(path.name())?;
    artefact.path.strip_prefix(missing).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// A document of `name` by a model, as JSON.
    fn document(name: &str, status: &str) -> String {
        let mut document = json!({"schema": "nightread.result.v2", "status": status, "notice": "n",
            "task": "radiograph",
            "study": {"kind": "blob", "container": "local", "name": name, "version": "1", "last_modified": null,
                "bytes": 1, "sha256": null, "media": "png"},
            "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "w",
                "execution_provider": "cpu", "preprocessing": "p"},
            "artefacts": [{"kind": "heatmap", "path": format!("m/1.0.0-fp32/local/{name}.ab.heat.0-a.png"),
                "media_type": "image/png", "bytes": 1, "sha256": "", "of": "a"}],
            "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"});
        if status == "ok" {
            document["findings"] = json!([]);
        } else {
            document["error"] = json!({"code": "blob_empty", "stage": "fetch", "message": "m"});
        }
        document.to_string()
    }

    fn write(root: &Path, name: &str, body: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, body).expect("a file");
    }

    fn open(typed: &Path, filter: Filter) -> Documents {
        let common = Common { config: None, models: None };
        Documents::open(typed, &common, filter).expect("opened")
    }

    /// The heatmap of an entry, as the report reads it.
    async fn artefact(documents: &Documents, entry: &Entry, limit: u64) -> Option<Bytes> {
        let heatmap = &entry.document.as_ref().expect("read").artefacts[0];
        let place = documents.beside(entry, heatmap).expect("a place");
        documents.read(&place, limit).await.expect("read")
    }

    async fn read(documents: &Documents) -> Vec<Entry> {
        documents.entries().try_collect().await.expect("documents")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_gives_its_documents_and_counts_the_rest() {
        let root = tempfile::tempdir().expect("a folder");
        let below = "m/1.0.0-fp32/local/ward";
        for name in ["a.png", "b.png", "c.png"] {
            let status = if name == "c.png" { "failed" } else { "ok" };
            write(root.path(), &format!("{below}/{name}.json"), &document(&format!("ward/{name}"), status));
        }
        write(root.path(), &format!("{below}/a.png.ab.heat.0-a.png"), "image");
        for own in [
            "_outbox/x.json",
            "_series/incoming/1.2.json",
            "_assemble/series/incoming/1.2.json",
            "_deliveries/pacs/1/2.json",
            "_starts/ab/0",
        ] {
            write(root.path(), own, "{}");
        }
        write(root.path(), "other.json", "[]");
        write(root.path(), "newer.json", r#"{"schema": "nightread.result.v9"}"#);
        write(root.path(), ".nightread-draft.json", "{");

        let documents = open(root.path(), Filter::default());
        let entries = read(&documents).await;
        let names: Vec<&str> = entries.iter().map(|entry| entry.path.name()).collect();
        assert_eq!(
            names,
            [
                "newer.json",
                &*format!("{below}/a.png.json"),
                &*format!("{below}/b.png.json"),
                &*format!("{below}/c.png.json")
            ]
        );
        assert!(entries[0].document.as_ref().expect_err("unknown").contains("nightread.result.v9"));
        assert_eq!(documents.counts(), Counts { filtered: 0, others: 7, gone: 0 });

        let bytes = artefact(&documents, &entries[1], 1 << 20).await;
        assert_eq!(bytes.as_deref(), Some(&b"image"[..]));
        assert_eq!(artefact(&documents, &entries[2], 1).await, None);

        // From within the results, and by the files' own names, the same lies beside the same.
        for typed in [root.path().join("m/1.0.0-fp32"), root.path().join(below).join("a.png.json")] {
            let documents = open(&typed, Filter::default());
            let entries = read(&documents).await;
            let first = entries.first().expect("a document");
            let bytes = artefact(&documents, first, 1 << 20).await;
            assert_eq!(bytes.as_deref(), Some(&b"image"[..]), "{}", typed.display());
        }

        let failed = Filter { status: Some(nightread_domain::Status::Failed), ..Filter::default() };
        let documents = open(root.path(), failed);
        assert_eq!(read(&documents).await.iter().filter(|entry| entry.document.is_ok()).count(), 1);
        assert_eq!(documents.counts().filtered, 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_list_names_and_is_no_document_is_told() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "a.json", &document("a", "ok"));
        write(root.path(), "b.json", r#"{"schema": "nightread.result.v2""#);
        write(root.path(), "sidecar.json", "{}");
        let name = |name: &str| root.path().join(name).display().to_string();
        write(root.path(), "list", &["a.json", "sidecar.json", "b.json", "none.json"].map(name).join("\n"));
        let list = std::path::PathBuf::from(format!("@{}", name("list")));
        let documents = open(&list, Filter::default());
        let good: Vec<bool> = read(&documents).await.iter().map(|entry| entry.document.is_ok()).collect();
        assert_eq!(good, [true, false, false], "one that is torn, and one that is not there");
        assert_eq!(documents.counts().others, 1, "JSON of another kind is no mistake");
        let sidecar = open(&root.path().join("sidecar.json"), Filter::default());
        assert!(read(&sidecar).await[0].document.is_err(), "named by itself, it was meant");
    }
}
