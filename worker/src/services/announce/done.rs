//! Leaving out what has a result: of the model that will read it, and of the version that the blob has now.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use nightread_domain::ports::Listing;
use nightread_domain::result::{Parsed, ResultDocument};
use nightread_domain::routing::Routing;
use nightread_domain::set::{self, SetDocument};
use nightread_domain::storing::result_blob;
use nightread_domain::{BlobRef, ETag, ErrorCode, JobError, Status, Study};

use super::item::Work;
use super::merge::{Cursor, Pages, Reorder, Standing};
use crate::services::pages::{PageWalk, patiently};

/// Questions to storage at once, where listings do not answer.
const LOOKUPS: usize = 16;

/// Larger documents are none of ours.
const MAX_DOCUMENT: u64 = 16 << 20;

/// What was found out about one blob.
#[derive(Debug)]
pub(super) enum Decision {
    Announce(Work),
    Done,
    /// Named, and no longer there.
    Gone,
}

/// Decides what has a result.
pub(super) struct Done {
    pub storage: Arc<dyn Listing>,
    pub results: String,
    pub routing: Routing,
    /// The version of every model that the routes name, as result paths have it.
    pub versions: BTreeMap<String, String>,
    pub retry_failed: bool,
    /// The names are those of set documents: their series have results.
    pub sets: bool,
    /// Follow listings of results beside the names, which come in order.
    pub merging: bool,
    /// The start of all names of a part.
    pub prefixes: Vec<String>,
    beside: Beside,
}

/// The listings beside one container's names.
#[derive(Default)]
struct Beside {
    of: Option<(usize, String)>,
    reorder: Reorder<Work>,
    cursors: BTreeMap<String, Cursor<Results>>,
}

/// The results of one blob that are there, by model.
type Found = BTreeMap<String, Standing>;

/// A blob and what the listings say of it; `None` when they cannot say.
type Asked = (Work, Option<Found>);

impl Done {
    pub fn new(
        storage: Arc<dyn Listing>,
        results: String,
        routing: Routing,
        versions: BTreeMap<String, String>,
    ) -> Self {
        Self {
            storage,
            results,
            routing,
            versions,
            retry_failed: false,
            sets: false,
            merging: false,
            prefixes: Vec::new(),
            beside: Beside::default(),
        }
    }

    /// Decides about the next blobs of a part, in their order. Some may be held back until later ones have come.
    pub async fn decide(&mut self, part: usize, works: Vec<Work>) -> Result<Vec<Decision>, JobError> {
        let mut asked = Vec::with_capacity(works.len());
        for work in works {
            let is_plain = self.is_plain(&work.blob);
            if !self.merging || !is_plain {
                asked.push((work, None));
                continue;
            }
            let of = (part, work.blob.container().to_owned());
            if self.beside.of.as_ref() != Some(&of) {
                self.finish_part(&mut asked).await?;
                self.open_part(of);
            }
            let name = work.blob.name().to_owned();
            match self.beside.reorder.push(&name, work) {
                Ok(ready) => self.ask_listings(ready, &mut asked).await?,
                Err(work) => asked.push((work, None)),
            }
        }
        self.judge_all(asked).await
    }

    /// Decides about what was held back.
    pub async fn finish(&mut self) -> Result<Vec<Decision>, JobError> {
        let mut asked = Vec::new();
        self.finish_part(&mut asked).await?;
        self.judge_all(asked).await
    }

    /// What is held back.
    pub fn held(&self) -> impl Iterator<Item = &Work> {
        self.beside.reorder.held()
    }

    /// Whether the result has the plain name; long names are shortened, and sort anywhere.
    fn is_plain(&self, blob: &BlobRef) -> bool {
        self.routing.candidates(blob).iter().all(|model| {
            let Some(version) = self.versions.get(*model) else { return false };
            let plain = format!("{model}/{version}/{blob}.json");
            result_blob(&self.results, model, version, blob).is_ok_and(|result| result.name() == plain)
        })
    }

    fn open_part(&mut self, of: (usize, String)) {
        let (part, container) = &of;
        let prefix = self.prefixes.get(*part).cloned().unwrap_or_default();
        let cursor = |(model, version): (&String, &String)| {
            let before = format!("{model}/{version}/{container}/");
            let pages = Results {
                store: Arc::clone(&self.storage),
                container: self.results.clone(),
                before,
                prefix: prefix.clone(),
                marker: None,
                walk: PageWalk::default(),
                ended: false,
            };
            (model.clone(), Cursor::new(pages))
        };
        self.beside.cursors = self.versions.iter().map(cursor).collect();
        self.beside.of = Some(of);
    }

    async fn finish_part(&mut self, asked: &mut Vec<Asked>) -> Result<(), JobError> {
        let ready = self.beside.reorder.finish();
        self.beside.of = None;
        self.ask_listings(ready, asked).await
    }

    async fn ask_listings(
        &mut self,
        ready: Vec<(String, Work)>,
        asked: &mut Vec<Asked>,
    ) -> Result<(), JobError> {
        for (key, work) in ready {
            let mut answers = Found::new();
            for model in self.routing.candidates(&work.blob) {
                if let Some(cursor) = self.beside.cursors.get_mut(model)
                    && let Some(standing) = cursor.seek(&key).await?
                {
                    answers.insert(model.to_owned(), standing);
                }
            }
            asked.push((work, Some(answers)));
        }
        Ok(())
    }

    async fn judge_all(&self, asked: Vec<Asked>) -> Result<Vec<Decision>, JobError> {
        let decisions = futures::stream::iter(asked).map(|(work, answers)| self.judge(work, answers));
        let decisions: Vec<_> = decisions.buffered(LOOKUPS).collect().await;
        decisions.into_iter().collect()
    }

    async fn judge(&self, mut work: Work, answers: Option<Found>) -> Result<Decision, JobError> {
        if self.sets {
            return self.judge_set(work).await;
        }
        if work.etag.is_none() {
            match etag(&*self.storage, &work.blob).await? {
                Some(etag) => work.etag = Some(etag),
                None => return Ok(Decision::Gone),
            }
        }
        let found = match answers {
            Some(answers) => answers,
            None => self.look_up(&work.blob).await?,
        };
        let (blob, version) = (work.blob.clone(), work.etag.clone());
        Ok(self.decided(work, &blob, &found, version.as_ref()))
    }

    /// The first route whose models have any result of this version decides: all of them are to have one. `name`: what the
    /// results are called by.
    fn decided(&self, work: Work, name: &BlobRef, found: &Found, version: Option<&ETag>) -> Decision {
        for models in self.routing.alternatives(name) {
            let ours: Vec<&Standing> = models
                .iter()
                .filter_map(|model| found.get(model))
                .filter(|standing| standing.source_etag.as_ref() == version)
                .collect();
            if ours.is_empty() {
                continue;
            }
            let redriven = self.retry_failed && ours.iter().any(|found| found.failed && !found.may_pass);
            let lacks = ours.len() < models.len() || ours.iter().any(|found| found.may_pass);
            return if redriven || lacks {
                Decision::Announce(Work { redriven: redriven || work.redriven, ..work })
            } else {
                Decision::Done
            };
        }
        Decision::Announce(work)
    }

    /// By the name and the version of the series that a set document names.
    async fn judge_set(&self, work: Work) -> Result<Decision, JobError> {
        let read = patiently(|| self.storage.read(&work.blob, set::MAX_BYTES)).await?;
        let Some((body, _)) = read else { return Ok(Decision::Gone) };
        match SetDocument::parse(&body).and_then(|document| document.series()) {
            Ok(series) => {
                let version = series.version();
                let study = Study::Series(series);
                let found = self.look_up(study.name()).await?;
                Ok(self.decided(work, study.name(), &found, Some(&version)))
            }
            // The worker that is asked says what is wrong with it.
            Err(_) => Ok(Decision::Announce(work)),
        }
    }

    async fn look_up(&self, blob: &BlobRef) -> Result<Found, JobError> {
        let mut found = Found::new();
        for model in self.routing.candidates(blob) {
            if let Some(version) = self.versions.get(model) {
                let result = result_blob(&self.results, model, version, blob)?;
                if let Some(standing) = standing_of(&*self.storage, &result).await? {
                    found.insert(model.to_owned(), standing);
                }
            }
        }
        Ok(found)
    }
}

/// The version of a blob; `None` when it is gone.
async fn etag(store: &dyn Listing, blob: &BlobRef) -> Result<Option<ETag>, JobError> {
    match patiently(|| store.properties(blob)).await {
        Ok(properties) => Ok(Some(properties.etag)),
        Err(error) if error.code == ErrorCode::BlobNotFound => Ok(None),
        // It becomes another version when its copy ends: none that was read.
        Err(error) if error.code == ErrorCode::BlobBusy => Ok(Some(ETag(String::new()))),
        Err(error) => Err(error),
    }
}

/// What a result says of itself: in its metadata, or in its text where a store keeps none.
async fn standing_of(store: &dyn Listing, result: &BlobRef) -> Result<Option<Standing>, JobError> {
    if store.keeps_metadata() {
        let metadata = patiently(|| store.metadata(result)).await?;
        return Ok(metadata.map(|metadata| standing(&metadata)));
    }
    let body = store.read(result, MAX_DOCUMENT).await?;
    Ok(body.and_then(|(body, _)| document_standing(&body)))
}

/// What cannot be read here says nothing: the worker that is asked decides.
fn document_standing(body: &[u8]) -> Option<Standing> {
    let Parsed::Document(document) = ResultDocument::parse(body) else { return None };
    Some(Standing {
        source_etag: document.study.version,
        failed: document.status == Status::Failed,
        may_pass: document.error.is_some_and(|error| error.code.may_pass()),
    })
}

fn standing(metadata: &BTreeMap<String, String>) -> Standing {
    Standing {
        source_etag: metadata.get("source_etag").cloned().map(ETag),
        failed: metadata.get("status").is_some_and(|status| status == Status::Failed.as_str()),
        may_pass: metadata.get("code").and_then(|code| ErrorCode::of(code)).is_some_and(ErrorCode::may_pass),
    }
}

/// The results of one model version for one container.
#[derive(Debug)]
struct Results {
    store: Arc<dyn Listing>,
    container: String,
    /// `<model>/<version>/<container>/`, which stands before every key.
    before: String,
    prefix: String,
    marker: Option<String>,
    walk: PageWalk,
    ended: bool,
}

#[async_trait]
impl Pages for Results {
    async fn next(&mut self) -> Result<Option<Vec<(String, Standing)>>, JobError> {
        if self.ended {
            return Ok(None);
        }
        let prefix = format!("{}{}", self.before, self.prefix);
        let page = patiently(|| self.store.list_page(&self.container, &prefix, self.marker.as_deref(), true))
            .await?;
        if !self.walk.leads_on(self.marker.as_deref(), page.next.as_deref())? {
            return Ok(Some(Vec::new()));
        }
        self.marker = page.next;
        self.ended = self.marker.is_none();
        let mut results = Vec::with_capacity(page.items.len());
        for item in page.items {
            match item {
                Ok(listed) => {
                    if let Some(key) = listed.blob.name().strip_prefix(&self.before) {
                        results.push((key.to_owned(), standing(&listed.metadata)));
                    }
                }
                Err(error) if error.is_transient() => return Err(error),
                // A name that Nightread does not take is no result of its.
                Err(_) => {}
            }
        }
        Ok(Some(results))
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::Task;
    use nightread_domain::routing::Rule;
    use serde_json::json;

    use super::*;
    use crate::adapters::storage::folder::FolderStore;

    /// Where a store keeps no metadata the document itself is asked, whichever of our forms it has.
    #[test]
    fn a_document_of_either_form_tells_how_it_stands() {
        let common = json!({"notice": "", "warnings": [], "timing_ms": {}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z", "status": "failed",
            "error": {"code": "blob_archived", "stage": "fetch", "message": ""}});
        let with = |more: serde_json::Value| {
            let mut document = common.clone();
            document.as_object_mut().expect("an object").append(&mut more.as_object().expect("one").clone());
            document_standing(document.to_string().as_bytes())
        };
        let newest = with(json!({"schema": "nightread.result.v2", "task": "radiograph", "artefacts": [],
            "study": {"kind": "blob", "container": "incoming", "name": "a.png", "version": "7", "last_modified": null,
                "bytes": null, "sha256": null, "media": null},
            "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "",
                "execution_provider": "cpu", "preprocessing": ""}}));
        let older = with(json!({"schema": "nightread.result.v1",
            "source": {"container": "incoming", "blob": "a.png", "etag": "7", "last_modified": null, "sha256": null,
                "bytes": null, "media": null},
            "model": {"name": "m", "version": "1.0.0-fp32", "sha256": "", "precision": "fp32",
                "execution_provider": "cpu", "preprocessing": ""}}));
        for standing in [newest, older] {
            let standing = standing.expect("a document");
            assert_eq!(standing.source_etag, Some(ETag("7".to_owned())));
            assert!(standing.failed && standing.may_pass);
        }
        assert!(with(json!({"schema": "nightread.result.v9"})).is_none());
        assert!(document_standing(b"{").is_none());
    }

    /// What is decided of a blob of version 1 whose route names `a` and `b`, by what is there: each model with the version of its
    /// result and how it stands (`o`k, `f`ailed, may `p`ass).
    fn decided(retry_failed: bool, there: &[(&str, &str, char)]) -> &'static str {
        let rule = |models: &[&str]| Rule {
            container: None,
            prefix: String::new(),
            task: Task::Radiograph,
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            instances: false,
        };
        let routing = Routing { rules: vec![rule(&["a", "b"]), rule(&["c"])] };
        let storage = Arc::new(FolderStore::new([]));
        let mut done = Done::new(storage, "results".to_owned(), routing, BTreeMap::new());
        done.retry_failed = retry_failed;
        let found = there.iter().map(|(model, version, how)| {
            let source_etag = Some(ETag((*version).to_owned()));
            let standing = Standing { source_etag, failed: *how != 'o', may_pass: *how == 'p' };
            ((*model).to_owned(), standing)
        });
        let blob = BlobRef::parse("incoming/a.png").expect("a name");
        let work = Work { blob: blob.clone(), etag: Some(ETag("1".to_owned())), redriven: false };
        match done.decided(work, &blob, &found.collect(), Some(&ETag("1".to_owned()))) {
            Decision::Announce(Work { redriven: true, .. }) => "redriven",
            Decision::Announce(_) => "announced",
            Decision::Done => "done",
            Decision::Gone => "gone",
        }
    }

    #[test]
    fn a_blob_is_done_when_every_model_of_its_route_has_a_result_of_its_version() {
        type Case<'c> = (&'c [(&'c str, &'c str, char)], &'c str, &'c str);
        let cases: [Case<'_>; 8] = [
            (&[], "announced", "announced"),
            (&[("a", "1", 'o')], "announced", "announced"),
            (&[("a", "1", 'o'), ("b", "0", 'o')], "announced", "announced"),
            (&[("a", "1", 'o'), ("b", "1", 'o')], "done", "done"),
            (&[("a", "1", 'o'), ("b", "1", 'f')], "done", "redriven"),
            (&[("a", "1", 'o'), ("b", "1", 'p')], "announced", "announced"),
            (&[("a", "1", 'f'), ("b", "1", 'p')], "announced", "redriven"),
            (&[("c", "1", 'o')], "done", "done"),
        ];
        for (there, plainly, retrying) in cases {
            assert_eq!((decided(false, there), decided(true, there)), (plainly, retrying), "{there:?}");
        }
    }
}
