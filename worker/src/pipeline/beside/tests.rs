use nightread_domain::result::{
    ArtefactKind, ModelFacts, NOTICE, Payload, Status, StudyFacts, StudyKind, WorkerFacts,
};
use nightread_domain::storing::{Candidate, Identity, Wanted};
use nightread_domain::{Study, Task};
use proptest::prelude::*;
use time::OffsetDateTime;

use super::super::resolving::Shelves;
use super::super::store::{Stored, existing, store};
use super::*;
use crate::adapters::storage::folder::FolderStore;

const RESULTS: &str = "results";

/// A worker on its way through the steps of one forced reading, whose file has last bits of its own.
struct Worker {
    body: &'static [u8],
    force: bool,
    done: usize,
    files: Vec<Beside>,
    stored: Option<(Stored, ResultDocument)>,
}

/// What the workers share.
struct Place {
    store: FolderStore,
    cpu: CpuPool,
    file: BlobRef,
    path: BlobRef,
    study: Study,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let containers = [RESULTS, "incoming"].map(|name| (name.to_owned(), folder.path().join(name)));
        for (_, path) in &containers {
            std::fs::create_dir(path).expect("a folder");
        }
        let blob = |name: &str| BlobRef::new(RESULTS, name).expect("a name");
        Self {
            store: FolderStore::new(containers).with_results(RESULTS),
            cpu: CpuPool::new(1).expect("a thread"),
            file: blob("m/1/incoming/a.png.0123.heatmap.png"),
            path: blob("m/1/incoming/a.png.json"),
            study: Study::Blob(BlobRef::new("incoming", "a.png").expect("a name")),
            _folder: folder,
        }
    }

    /// The next step of a worker, as `process` takes them; `settles` is false where it leaves out the last one.
    async fn step(&self, worker: &mut Worker, settles: bool) {
        match worker.done {
            0 => {
                let lying = put(&self.store, &self.file, Bytes::from_static(worker.body), worker.force).await;
                let lying = lying.expect("written");
                let (bytes, sha256) = measured(&self.cpu, lying.body).await.expect("measured");
                let facts = ArtefactFacts {
                    kind: ArtefactKind::Heatmap,
                    path: self.file.name().to_owned(),
                    media_type: "image/png".to_owned(),
                    bytes,
                    sha256,
                    of: Some("Mass".to_owned()),
                };
                worker.files = vec![Beside { blob: self.file.clone(), facts, etag: lying.etag }];
            }
            1 => {
                let document = document(worker.files.iter().map(|file| file.facts.clone()).collect());
                let (model, worker_version) = (document.model.clone(), document.worker.version.clone());
                let ours = Candidate {
                    etag: None,
                    last_modified: None,
                    sha256: None,
                    identity: Identity::Version,
                    model: &model,
                    worker_version: &worker_version,
                    force: worker.force,
                    reread_failed: false,
                    wanted: Wanted::default(),
                };
                let container = self.path.container();
                let shelves =
                    Shelves { source: &self.store, results: &self.store, results_container: container };
                let stored = store(shelves, &self.path, &self.study, document, &ours).await;
                worker.stored = Some(stored.expect("stored"));
            }
            _ => {
                let (stored, document) = worker.stored.as_mut().expect("stored before");
                if *stored != Stored::Written && settles {
                    let settled = settle(&self.store, &self.cpu, &self.path, &worker.files, document).await;
                    settled.expect("settled");
                }
            }
        }
        worker.done += 1;
    }

    /// Whether the document tells what lies beside it.
    async fn is_right(&self) -> bool {
        let document = existing(&self.store, &self.path).await.expect("read").expect("a document");
        let (body, _) = self.store.read(&self.file, MAX_BYTES).await.expect("read").expect("a file");
        let told = &document.artefacts[0];
        (told.bytes, told.sha256.as_str()) == (body.len() as u64, hex::encode(Sha256::digest(&body)).as_str())
    }
}

fn document(artefacts: Vec<ArtefactFacts>) -> ResultDocument {
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status: Status::Ok,
        notice: NOTICE.to_owned(),
        task: Task::Radiograph,
        study: StudyFacts {
            kind: StudyKind::Blob,
            container: "incoming".to_owned(),
            name: "a.png".to_owned(),
            version: None,
            last_modified: None,
            sha256: None,
            bytes: None,
            media: None,
        },
        model: ModelFacts {
            name: "m".to_owned(),
            version: "1".to_owned(),
            weights_sha256: "digest".to_owned(),
            precision: "fp32".to_owned(),
            execution_provider: "cpu".to_owned(),
            manifest_sha256: None,
            preprocessing: "xrv-1".to_owned(),
            ensemble: None,
        },
        input: BTreeMap::new(),
        payload: Some(Payload::Findings { findings: Vec::new(), measurements: Vec::new() }),
        artefacts,
        warnings: Vec::new(),
        timing_ms: BTreeMap::new(),
        worker: WorkerFacts { version: "0.1.0".to_owned() },
        read_at: OffsetDateTime::UNIX_EPOCH,
        error: None,
    }
}

/// Lets the workers take their steps in this order; what is left of them afterwards, one worker after the other.
fn run(order: &[usize], forced: [bool; 3], settles: bool) -> bool {
    let bodies: [&'static [u8]; 3] = [b"bits of one", b"of another, more", b"of a third"];
    let place = Place::new();
    let mut workers: Vec<Worker> = bodies
        .into_iter()
        .zip(forced)
        .map(|(body, force)| Worker { body, force, done: 0, files: Vec::new(), stored: None })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let rest = (0..workers.len()).flat_map(|worker| [worker; 3]);
        for worker in order.iter().copied().chain(rest) {
            if workers[worker].done < 3 {
                place.step(&mut workers[worker], settles).await;
            }
        }
        place.is_right().await
    })
}

/// One writes its file last and the other its document.
#[test]
fn without_a_last_look_a_document_would_tell_of_other_bits() {
    let order = [0, 1, 0, 0, 1, 1];
    let crossed = [1, 0, 0, 0, 1, 1];
    let forced = [true, true, false];
    assert!(!run(&crossed, forced, false), "the fault that this module is for");
    assert!(run(&crossed, forced, true) && run(&order, forced, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_the_order_the_document_tells_what_lies_there(
        order in proptest::collection::vec(0..3usize, 9),
        forced in proptest::array::uniform3(any::<bool>()),
    ) {
        prop_assert!(run(&order, forced, true));
    }
}
