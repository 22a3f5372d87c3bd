use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use nightread_domain::ports::{Guard, Guarded, StoreCall};
use nightread_domain::{ErrorClass, ErrorCode, JobError};
use nightread_engine::{Catalogue, Manifest, Precision, VerifiedModel};
use tempfile::TempDir;

use super::sums::{SUMS_FILE, digest_of};
use super::*;
use crate::adapters::storage::folder::FolderStore;
use crate::settings::Pin;

const MOST: u64 = 1 << 20;

/// Counts what is downloaded, and takes its time.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Guard for Counting {
    async fn around<T: Send, F: Future<Output = Result<T, JobError>> + Send>(
        &self,
        call: StoreCall<'_>,
        mut make: impl FnMut() -> F + Send,
    ) -> Result<T, JobError> {
        if matches!(call, StoreCall::Read(_)) {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        make().await
    }
}

/// A registry in a folder, a cache, and a model of one's own.
struct Shelf {
    folder: TempDir,
    registry: Registry,
    counting: Counting,
}

impl Shelf {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let shelf = folder.path().join("registry");
        fs::create_dir(&shelf).unwrap();
        let counting = Counting::default();
        let store = FolderStore::new([("models".to_owned(), shelf)]);
        let store = Guarded::new(Arc::new(store), counting.clone());
        let registry = Registry::new(Arc::new(store), "models/prod".parse().unwrap());
        let made = Self { folder, registry, counting };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/one-node");
        fs::create_dir(made.model()).unwrap();
        for entry in fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), made.model().join(entry.file_name())).unwrap();
        }
        made
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("one-node")
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path().join("cache"))
    }

    /// A file of a version in the registry.
    fn published(&self, pin: &Pin, file: &str) -> PathBuf {
        self.folder.path().join("registry/prod").join(pin.name()).join(pin.sha256()).join(file)
    }

    async fn push(&self) -> Result<Pushed, JobError> {
        push(&self.registry, &self.model(), MOST).await
    }

    async fn fetch(&self, pin: &Pin) -> Result<PathBuf, JobError> {
        let pins = std::slice::from_ref(pin);
        let fetched = fetch(&self.registry, &self.cache(), pins, Extent::All, MOST).await;
        fetched.map(|folders| folders[0].to_path_buf())
    }

    fn reads(&self) -> usize {
        self.counting.0.swap(0, Ordering::SeqCst)
    }

    /// The registry is away.
    fn away(&self) {
        fs::rename(self.folder.path().join("registry"), self.folder.path().join("elsewhere")).unwrap();
    }
}

/// As if a version had so many bytes more, and were not used since yesterday.
fn unused_for_long(cache: &Cache, pin: &Pin, bytes: u64) {
    let place = cache.place_of(pin);
    // In a race it may be gone.
    let _ = File::create(place.join("ballast")).and_then(|ballast| ballast.set_len(bytes));
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    let _ = File::open(place.join(".used")).and_then(|mark| mark.set_modified(yesterday));
}

fn openable(folder: &Path) {
    let manifest = Arc::new(Manifest::load(folder).unwrap());
    VerifiedModel::open(&manifest, Precision::Fp32).unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_published_is_fetched_once_and_the_same() {
    let shelf = Shelf::new();
    fs::write(shelf.model().join("train.py"), "no part of it").unwrap();
    fs::write(shelf.model().join("LICENSE"), "a part of it").unwrap();
    let pushed = shelf.push().await.unwrap();
    assert_eq!((pushed.files, pushed.written, pushed.version.as_str()), (4, 4, "1.0.0"));
    let again = shelf.push().await.unwrap();
    assert_eq!((&again.pin, again.written), (&pushed.pin, 0));

    let pin = pushed.pin;
    let list = fs::read(shelf.published(&pin, SUMS_FILE)).unwrap();
    assert_eq!(digest_of(&list), pin.sha256(), "`sha256sum SHA256SUMS` gives the pin");
    shelf.reads();
    let folder = shelf.fetch(&pin).await.unwrap();
    openable(&folder);
    assert_eq!(names_in(&folder), ["LICENSE", "README.md", "SHA256SUMS", "manifest.toml", "model.onnx"]);
    assert_eq!(shelf.reads(), 5);

    shelf.away();
    assert_eq!(shelf.fetch(&pin).await.unwrap(), folder, "nobody is asked for what is here");
    assert_eq!(shelf.reads(), 0);
}

#[tokio::test]
async fn a_version_that_is_published_is_not_published_otherwise() {
    let shelf = Shelf::new();
    let first = shelf.push().await.unwrap().pin;
    let [manifest, card] = ["manifest.toml", "README.md"].map(|file| shelf.model().join(file));
    let (sound, card_text) = (fs::read_to_string(&manifest).unwrap(), fs::read(&card).unwrap());
    let changed = sound.replace("threshold = 0.5", "threshold = 0.25");
    assert_ne!(changed, sound);
    fs::write(&manifest, &changed).unwrap();
    let refused = shelf.push().await.unwrap_err();
    assert_eq!((refused.code, refused.class), (ErrorCode::ModelMismatch, ErrorClass::Fatal));
    for part in ["one-node 1.0.0", &first.to_string(), "another manifest.toml:", "raise version"] {
        assert!(refused.message.contains(part), "{refused}");
    }
    let prod = shelf.folder.path().join("registry/prod/one-node");
    assert_eq!(names_in(&prod), [first.sha256()], "nothing was written");
    fs::write(&manifest, &sound).unwrap();
    fs::write(&card, "another card").unwrap();
    assert!(shelf.push().await.unwrap_err().message.contains("another README.md:"));

    // The same bytes again, and others under the next version, are well.
    fs::write(&card, card_text).unwrap();
    assert_eq!(shelf.push().await.unwrap().pin, first);
    fs::write(&manifest, changed.replace("version = \"1.0.0\"", "version = \"1.0.1\"")).unwrap();
    let second = shelf.push().await.unwrap();
    assert_eq!((second.version.as_str(), second.written), ("1.0.1", 3));
    // What was never whole was never published.
    fs::remove_file(shelf.published(&first, SUMS_FILE)).unwrap();
    fs::write(&manifest, changed).unwrap();
    assert_eq!(shelf.push().await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn a_version_that_is_not_there_is_told_with_those_that_are() {
    let shelf = Shelf::new();
    let there = shelf.push().await.unwrap().pin;
    let asked = Pin::new("one-node", "0".repeat(64)).unwrap();
    let refused = shelf.fetch(&asked).await.unwrap_err();
    assert_eq!((refused.code, refused.class), (ErrorCode::ModelMissing, ErrorClass::Fatal));
    for part in [asked.to_string(), there.to_string(), "the registry models/prod".to_owned()] {
        assert!(refused.message.contains(&part) && !refused.message.contains('\n'), "{refused}");
    }
    for (models, told) in [(&["one-node"][..], "one-node is not pinned"), (&[], "no model is pinned")] {
        let refused = shelf.registry.unpinned(models).await;
        assert_eq!(refused.code, ErrorCode::SettingsInvalid);
        assert!(refused.message.contains(told) && refused.message.contains(&there.to_string()), "{refused}");
    }
    let refused = shelf.registry.unpinned(&["other"]).await;
    assert!(refused.message.contains("has of it: none"), "{refused}");
    // What only looks like a version is not offered.
    fs::write(shelf.published(&there, SUMS_FILE), "changed").unwrap();
    assert!(shelf.registry.unpinned(&[]).await.message.contains("has: none"));
}

#[tokio::test]
async fn bytes_that_are_others_than_the_list_says_are_not_kept() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    let path = shelf.published(&pin, "model.onnx");
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let refused = shelf.fetch(&pin).await.unwrap_err();
    assert_eq!((refused.code, refused.class), (ErrorCode::ModelMismatch, ErrorClass::Fatal));
    let blob = format!("models/prod/one-node/{}/model.onnx", pin.sha256());
    for part in [digest_of(&damaged), digest_of(&sound), blob] {
        assert!(refused.message.contains(&part), "{refused}");
    }
    assert!(!shelf.cache().folder_of(&pin).join("model.onnx").exists());
    // It cannot be mended in silence either.
    let refused = shelf.push().await.unwrap_err();
    assert!(refused.message.contains("remove it"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is written over");
    fs::write(&path, &sound).unwrap();
    openable(&shelf.fetch(&pin).await.unwrap());

    fs::write(shelf.published(&pin, SUMS_FILE), "0000  manifest.toml\n").unwrap();
    fs::remove_dir_all(shelf.folder.path().join("cache")).unwrap();
    let refused = shelf.fetch(&pin).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ModelMismatch);
    assert!(
        refused.message.contains(pin.sha256()) && refused.message.contains("SHA256SUMS has sha256"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_damaged_in_the_cache_is_fetched_again_and_nothing_else() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    let folder = shelf.fetch(&pin).await.unwrap();
    for (file, reads) in [("model.onnx", 1), ("manifest.toml", 1), ("README.md", 1), (SUMS_FILE, 1)] {
        for damage in ["", "other bytes"] {
            fs::write(folder.join(file), damage).unwrap();
            shelf.reads();
            openable(&shelf.fetch(&pin).await.unwrap());
            assert_eq!(shelf.reads(), reads, "{file}");
        }
        fs::remove_file(folder.join(file)).unwrap();
        openable(&shelf.fetch(&pin).await.unwrap());
    }
    // As a worker leaves it that is killed while it writes.
    fs::write(folder.join(".nightread-abc"), "half").unwrap();
    fs::remove_file(folder.join("model.onnx")).unwrap();
    openable(&shelf.fetch(&pin).await.unwrap());
    assert!(!folder.join(".nightread-abc").exists());

    fs::write(folder.join("model.onnx"), "other bytes").unwrap();
    shelf.away();
    let refused = shelf.fetch(&pin).await.unwrap_err();
    assert!(refused.message.contains("the registry models/prod"), "{refused}");
}

#[tokio::test]
async fn those_who_start_together_download_once() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    shelf.reads();
    let all = (0..6).map(|_| shelf.fetch(&pin));
    for folder in futures::future::join_all(all).await {
        openable(&folder.unwrap());
    }
    assert_eq!(shelf.reads(), 4, "the list and three files");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_whole_whoever_makes_room_beside() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    shelf.reads();
    let ended = AtomicBool::new(false);
    let read = || async {
        for _ in 0..30 {
            let pins = std::slice::from_ref(&pin);
            let held = fetch(&shelf.registry, &shelf.cache(), pins, Extent::All, MOST).await.unwrap();
            unused_for_long(&shelf.cache(), &pin, 2 << 30);
            for _ in 0..20 {
                openable(&held[0]);
                tokio::task::yield_now().await;
            }
            drop(held);
            unused_for_long(&shelf.cache(), &pin, 2 << 30);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    shelf.cache().prune(&[]);
                }
            });
        }
        tokio::task::block_in_place(|| {
            let handle = tokio::runtime::Handle::current();
            handle.block_on(futures::future::join_all((0..3).map(|_| read())));
        });
        ended.store(true, Ordering::SeqCst);
    });
    assert!(shelf.reads() > 4 * 5, "it was removed between, and fetched again");
}

#[tokio::test]
async fn a_pinned_list_that_leaves_its_folder_is_refused() {
    let shelf = Shelf::new();
    let text = format!("{0}  manifest.toml\n{0}  ../../../escaped\n", "a".repeat(64));
    let pin = Pin::new("one-node", digest_of(text.as_bytes())).unwrap();
    let list = shelf.published(&pin, SUMS_FILE);
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(list, text).unwrap();
    let refused = shelf.fetch(&pin).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ModelMismatch);
    assert!(refused.message.contains("../../../escaped"), "{refused}");
}

#[tokio::test]
async fn more_bytes_than_a_model_may_have_are_neither_published_nor_fetched() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    let sizes = names_in(&shelf.model())
        .into_iter()
        .map(|name| fs::metadata(shelf.model().join(name)).unwrap().len());
    let size: u64 = sizes.sum();
    let pins = std::slice::from_ref(&pin);
    // However often: files that were kept before it was refused would be fetched no more, and counted no more.
    for _ in 0..4 {
        let refused = fetch(&shelf.registry, &shelf.cache(), pins, Extent::All, size - 1).await.unwrap_err();
        assert!(refused.message.contains("[limits] model_bytes"), "{refused}");
    }
    assert!(!shelf.cache().folder_of(&pin).join("model.onnx").exists());
    assert!(fetch(&shelf.registry, &shelf.cache(), pins, Extent::All, size).await.is_ok());
    fs::remove_file(shelf.cache().folder_of(&pin).join("README.md")).unwrap();
    assert!(
        fetch(&shelf.registry, &shelf.cache(), pins, Extent::All, size - 1).await.is_err(),
        "one of three"
    );
    let refused = push(&shelf.registry, &shelf.model(), size - 1).await.unwrap_err();
    assert!(refused.message.contains("[limits] model_bytes"), "{refused}");
}

#[tokio::test]
async fn a_model_that_is_not_whole_is_not_published() {
    let shelf = Shelf::new();
    fs::write(shelf.model().join("model.onnx"), "other bytes").unwrap();
    let refused = shelf.push().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ModelMismatch, "{refused}");
    fs::remove_file(shelf.model().join("model.onnx")).unwrap();
    assert!(shelf.push().await.unwrap_err().message.contains("model.onnx"));
    assert!(names_in(&shelf.folder.path().join("registry")).is_empty());
}

#[tokio::test]
async fn who_asks_what_a_model_is_fetches_its_manifest_alone() {
    let shelf = Shelf::new();
    let pin = shelf.push().await.unwrap().pin;
    let pins = std::slice::from_ref(&pin);
    shelf.reads();
    let most = fs::metadata(shelf.model().join("manifest.toml")).unwrap().len();
    let folders = fetch(&shelf.registry, &shelf.cache(), pins, Extent::Manifest, most).await.unwrap();
    assert_eq!(shelf.reads(), 2, "the list and the manifest");
    let folder = shelf.cache().folder_of(&pin);
    assert_eq!(names_in(&folder), ["SHA256SUMS", "manifest.toml"]);
    assert_eq!(Catalogue::described(String::new(), folders).get("one-node").unwrap().version, "1.0.0");
    fs::write(folder.join("manifest.toml"), "other bytes").unwrap();
    assert!(!shelf.cache().has_manifest(&pin));
    openable(&shelf.fetch(&pin).await.unwrap());
    assert_eq!(shelf.reads(), 3, "the rest, and the manifest again");
    fetch(&shelf.registry, &shelf.cache(), pins, Extent::Manifest, MOST).await.unwrap();
    assert_eq!(shelf.reads(), 0);
}

#[tokio::test]
async fn a_list_in_another_order_is_kept_as_it_is() {
    let shelf = Shelf::new();
    let sorted = shelf.push().await.unwrap().pin;
    let text = fs::read_to_string(shelf.published(&sorted, SUMS_FILE)).unwrap();
    let turned: String = text.lines().rev().flat_map(|line| [line, "\r\n"]).collect();
    let pin = Pin::new("one-node", digest_of(turned.as_bytes())).unwrap();
    let place = shelf.published(&pin, "");
    fs::create_dir_all(&place).unwrap();
    for name in names_in(&shelf.published(&sorted, "")) {
        fs::copy(shelf.published(&sorted, &name), place.join(&name)).unwrap();
    }
    fs::write(place.join(SUMS_FILE), &turned).unwrap();
    openable(&shelf.fetch(&pin).await.unwrap());
    assert_eq!(fs::read_to_string(shelf.cache().folder_of(&pin).join(SUMS_FILE)).unwrap(), turned);
}
