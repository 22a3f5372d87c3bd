//! Watches storage through the calls that jobs make of it, asks again what was refused, and says when it is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use nightread_domain::ports::{Guard, Guarded, StoreCall};
use nightread_domain::{BlobStore, ETag, ErrorCode, JobError, WriteCondition};
use tokio::sync::{Notify, watch};

use super::breaker::{Breakers, Call};
use crate::flow::observer::Observer;

/// What the jobs of one worker know together of storage.
#[derive(Debug)]
pub struct Outages {
    source: Arc<dyn BlobStore>,
    results: Arc<dyn BlobStore>,
    results_container: String,
    breakers: Mutex<Breakers>,
    opened: Notify,
    /// Why no job can end, while none can.
    paused: watch::Sender<Option<String>>,
}

impl Outages {
    /// `sources`: the containers that announcements may name; without any nothing is watched. `threshold`: how many
    /// failures in a row mean an outage.
    pub fn new(
        source: Arc<dyn BlobStore>,
        results: Arc<dyn BlobStore>,
        sources: Vec<String>,
        results_container: String,
        threshold: u32,
    ) -> Self {
        let breakers = Mutex::new(Breakers::new(threshold, sources, results_container.clone()));
        let (opened, paused) = (Notify::new(), watch::Sender::new(None));
        Self { source, results, results_container, breakers, opened, paused }
    }

    /// What a container answers to its jobs, while it does not let them in.
    pub fn closed(&self, container: &str) -> Option<(ErrorCode, String)> {
        self.with(|breakers| breakers.why_open(container).map(|(code, why)| (code, why.to_owned())))
    }

    /// Why no job can end, while none can.
    pub fn paused(&self) -> Option<(ErrorCode, String)> {
        self.with(|breakers| breakers.paused().map(|(code, why)| (code, why.to_owned())))
    }

    /// Follows the reason of [`Self::paused`] as [`Self::watch`] finds it out.
    pub fn pauses(&self) -> watch::Receiver<Option<String>> {
        self.paused.subscribe()
    }

    /// Notes a container that did not answer at the start.
    pub fn closed_at_start(&self, container: &str, error: &JobError) {
        if self.with(|breakers| breakers.open(&Call::Container(container.to_owned()), error)) {
            self.opened.notify_one();
        }
    }

    fn saw<T>(&self, call: &Call, result: &mut Result<T, JobError>) {
        match result {
            Err(error) if error.code.is_outage() && error.is_transient() => {
                if error.code.is_refusal() {
                    error.beside_answers = self.with(|breakers| breakers.is_own_refusal(call.container()));
                }
                if self.with(|breakers| breakers.failed(call, error)) {
                    tracing::error!(%error, container = call.container(), asked = call.as_str(), "a container does not answer; its jobs wait");
                    self.opened.notify_one();
                }
            }
            Ok(_) | Err(_) => self.with(|breakers| breakers.answered(call.container())),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Breakers) -> T) -> T {
        act(&mut self.breakers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never ends. When a container opens, asks the others whether they are away too; then repeats in every open one what
    /// was refused there, until all are closed.
    pub async fn watch(&self, every: Duration, observer: &dyn Observer) {
        self.tell(observer);
        loop {
            self.opened.notified().await;
            loop {
                self.ask_the_others().await;
                self.tell(observer);
                tokio::time::sleep(every).await;
                self.probe().await;
                self.tell(observer);
                if self.with(|breakers| breakers.open_calls().is_empty()) {
                    break;
                }
            }
        }
    }

    async fn ask_the_others(&self) {
        let asked = self.with(|breakers| breakers.closed()).into_iter().map(|name| async move {
            let answer = self.store(&name).probe(&name).await;
            (name, answer)
        });
        for (name, answer) in join_all(asked).await {
            let Err(error) = answer else { continue };
            let call = Call::Container(name);
            if error.code.is_outage() && self.with(|breakers| breakers.open(&call, &error)) {
                tracing::error!(%error, container = call.container(), "a container does not answer either");
            }
        }
    }

    async fn probe(&self) {
        let asked = self.with(|breakers| breakers.open_calls()).into_iter().map(|(call, code)| async move {
            let answer = repeat(self.store(call.container()), &call, code).await;
            (call, answer)
        });
        for (call, answer) in join_all(asked).await {
            match answer {
                Err(error) if error.code.is_outage() => {
                    tracing::warn!(%error, container = call.container(), asked = call.as_str(), "a container still does not answer");
                }
                Ok(()) | Err(_) => {
                    tracing::info!(container = call.container(), "a container answers again");
                    self.with(|breakers| breakers.probe_passed(call.container()));
                }
            }
        }
    }

    fn store(&self, container: &str) -> &dyn BlobStore {
        if container == self.results_container { &*self.results } else { &*self.source }
    }

    fn tell(&self, observer: &dyn Observer) {
        let (open, closed, paused) = self.with(|breakers| {
            let paused = breakers.paused().map(|(_, why)| why.to_owned());
            (breakers.open_calls(), breakers.closed(), paused)
        });
        for (call, _) in open {
            observer.container(call.container(), false);
        }
        for name in closed {
            observer.container(&name, true);
        }
        self.paused.send_if_modified(|known| {
            let changed = *known != paused;
            match (&paused, known.is_some()) {
                (Some(why), false) => {
                    tracing::error!(why, "storage is away; intake pauses until a probe passes");
                    observer.outage(true);
                }
                (None, true) => {
                    tracing::info!("storage answers again; intake goes on");
                    observer.outage(false);
                }
                _ => {}
            }
            *known = paused;
            changed
        });
    }
}

/// Asks again what failed with `code`, without an effect.
async fn repeat(store: &dyn BlobStore, call: &Call, code: ErrorCode) -> Result<(), JobError> {
    match call {
        Call::Container(container) => store.probe(container).await,
        Call::Properties(blob) => store.properties(blob).await.map(drop),
        // One piece comes, and is thrown away.
        Call::Read(blob) => store.read(blob, 1).await.map(drop),
        Call::Write(blob, bytes) => {
            // A disk decides before the condition does, by where and how much is written. The container's probe comes first:
            // room for one small document would be used up at once, and the pause would come and go.
            let body = if code == ErrorCode::StorageUnwritable {
                store.probe(blob.container()).await?;
                Bytes::from(vec![0; *bytes])
            } else {
                Bytes::new()
            };
            // No version has this mark: whoever may write is told that the condition does not hold.
            let nothing = WriteCondition::IfMatch(ETag("\"nightread-probe\"".to_owned()));
            store.write(blob, body, &BTreeMap::new(), nothing).await.map(drop)
        }
    }
}

/// A store whose answers are noted.
pub type WatchedStore = Guarded<Noting>;

/// Notes how the calls of jobs end.
#[derive(Debug)]
pub struct Noting(Arc<Outages>);

impl Noting {
    pub fn new(outages: Arc<Outages>) -> Self {
        Self(outages)
    }
}

impl Guard for Noting {
    async fn around<T: Send, F: Future<Output = Result<T, JobError>> + Send>(
        &self,
        call: StoreCall<'_>,
        mut make: impl FnMut() -> F + Send,
    ) -> Result<T, JobError> {
        let mut result = make().await;
        let call = match call {
            StoreCall::Properties(blob) => Call::Properties(blob.clone()),
            StoreCall::Read(blob) => Call::Read(blob.clone()),
            StoreCall::Write(blob, bytes) => Call::Write(blob.clone(), bytes),
            // No job's business, so that nothing is concluded from how these end.
            StoreCall::Probe(_) | StoreCall::SomeBelow(_) | StoreCall::Remove(_) => return result,
        };
        self.0.saw(&call, &mut result);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use nightread_domain::{BlobProperties, BlobRef, Body, Disposition, Stage, WriteOutcome};

    use super::*;
    use crate::flow::report::JobReport;

    /// Results on a disk with so many bytes left, one folder of which belongs to somebody else.
    #[derive(Debug, Default)]
    struct Disk {
        left: AtomicUsize,
        others: Mutex<Option<&'static str>>,
        probed: AtomicUsize,
    }

    const PROBED: usize = 64 << 10;

    impl Disk {
        fn takes(&self, name: &str, bytes: usize) -> Result<(), JobError> {
            let others = *self.others.lock().unwrap();
            if others.is_some_and(|folder| name.starts_with(folder))
                || bytes > self.left.load(Ordering::Relaxed)
            {
                return Err(JobError::new(Stage::Store, ErrorCode::StorageUnwritable, "it takes nothing"));
            }
            Ok(())
        }
    }

    #[async_trait]
    impl BlobStore for Disk {
        async fn properties(&self, _: &BlobRef) -> Result<BlobProperties, JobError> {
            unimplemented!()
        }

        async fn fetch(&self, _: &BlobRef, _: &BlobProperties, _: u64) -> Result<Body, JobError> {
            unimplemented!()
        }

        async fn head(&self, _: &BlobRef, _: &BlobProperties, _: u64) -> Result<Bytes, JobError> {
            unimplemented!()
        }

        async fn read(&self, _: &BlobRef, _: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
            unimplemented!()
        }

        async fn write(
            &self,
            blob: &BlobRef,
            body: Bytes,
            _: &BTreeMap<String, String>,
            condition: WriteCondition,
        ) -> Result<WriteOutcome, JobError> {
            self.takes(blob.name(), body.len())?;
            Ok(match condition {
                WriteCondition::IfAbsent => WriteOutcome::Written(ETag("1".to_owned())),
                WriteCondition::IfMatch(_) => WriteOutcome::ConditionFailed,
            })
        }

        async fn probe(&self, container: &str) -> Result<(), JobError> {
            if container == "results" {
                self.probed.fetch_add(1, Ordering::Relaxed);
                return self.takes("probe", PROBED);
            }
            Ok(())
        }

        async fn some_below(&self, _: &str, _: &str) -> Result<Vec<BlobRef>, JobError> {
            unimplemented!()
        }

        async fn all_below(
            &self,
            _: &str,
            _: &str,
            _: usize,
        ) -> Result<Vec<(BlobRef, BlobProperties)>, JobError> {
            unimplemented!()
        }

        async fn remove(&self, _: &BlobRef) -> Result<(), JobError> {
            unimplemented!()
        }
    }

    #[derive(Debug)]
    struct Nobody;

    impl Observer for Nobody {
        fn job_ended(&self, _: &[JobReport], _: &Disposition) {}
    }

    /// Whether the pause holds over many probes after a refused write of `bytes`, and ends when `mend` was done.
    async fn holds(disk: &Arc<Disk>, bytes: usize, mend: impl FnOnce(&Disk)) {
        let store: Arc<dyn BlobStore> = Arc::<Disk>::clone(disk);
        let (source, results) = (Arc::clone(&store), Arc::clone(&store));
        let outages = Outages::new(source, results, vec!["in".to_owned()], "results".to_owned(), 5);
        let outages = Arc::new(outages);
        let watching = Arc::clone(&outages);
        let watching = tokio::spawn(async move { watching.watch(Duration::from_secs(1), &Nobody).await });
        let watched = WatchedStore::new(store, Noting::new(Arc::clone(&outages)));
        let blob = BlobRef::new("results", "maps/a.nii.gz").expect("a name");
        let (body, none) = (Bytes::from(vec![7; bytes]), BTreeMap::new());
        let refused = watched.write(&blob, body, &none, WriteCondition::IfAbsent).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::StorageUnwritable);
        let mut pauses = outages.pauses();
        pauses.wait_for(Option::is_some).await.expect("a pause");
        let before = disk.probed.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(disk.probed.load(Ordering::Relaxed) >= before + 10, "it is asked again and again");
        assert!(pauses.borrow().is_some() && !pauses.has_changed().expect("watched"), "it came and went");
        mend(disk);
        pauses.wait_for(Option::is_none).await.expect("no pause");
        watching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_has_room_for_the_probe_alone_is_still_full() {
        let disk = Arc::new(Disk { left: AtomicUsize::new(2 * PROBED), ..Disk::default() });
        holds(&disk, 3 * PROBED, |disk| disk.left.store(4 * PROBED, Ordering::Relaxed)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_full_until_the_probe_fits() {
        let disk = Arc::new(Disk::default());
        holds(&disk, PROBED / 8, |disk| disk.left.store(PROBED, Ordering::Relaxed)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_refuses_is_asked_itself() {
        let disk = Arc::new(Disk { left: AtomicUsize::new(usize::MAX), ..Disk::default() });
        *disk.others.lock().unwrap() = Some("maps/");
        holds(&disk, 10, |disk| *disk.others.lock().unwrap() = None).await;
    }
}
