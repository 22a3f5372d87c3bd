//! The contract of blob storage, kept by every adapter: the folder, and Azure on a real Azurite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use nightread::adapters::storage::Spool;
use nightread::adapters::storage::azure::{Account, AzureOptions, AzureStore};
use nightread::adapters::storage::folder::FolderStore;
use nightread_domain::ports::Listing;
use nightread_domain::{
    BlobProperties, BlobRef, BlobStore, ErrorClass, ErrorCode, WriteCondition, WriteOutcome,
};
use nightread_tests::azurite::{self, Azurite};
use nightread_tests::contract::{self, Bench, ODD_NAMES, bytes_of};
use nightread_tests::parts::fresh_name;
use nightread_tests::proxy::{FaultProxy, Faults};
use sha2::{Digest, Sha256};

struct FolderBench {
    store: FolderStore,
    container: String,
}

#[async_trait]
impl Bench for FolderBench {
    fn store(&self) -> &dyn BlobStore {
        &self.store
    }

    fn listing(&self) -> &dyn Listing {
        &self.store
    }

    fn container(&self) -> &str {
        &self.container
    }

    async fn put(&self, blob: &BlobRef, body: Bytes) {
        let path = self.store.path_of(blob).expect("a path");
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        // Written beside and renamed, as careful uploaders do.
        let draft = path.with_file_name("draft");
        std::fs::write(&draft, body).expect("written");
        std::fs::rename(draft, path).expect("renamed");
    }

    async fn delete(&self, blob: &BlobRef) {
        std::fs::remove_file(self.store.path_of(blob).expect("a path")).expect("removed");
    }

    fn holds(&self, name: &str) -> bool {
        !name.contains("//")
    }
}

struct AzureBench {
    store: AzureStore,
    container: String,
}

#[async_trait]
impl Bench for AzureBench {
    fn store(&self) -> &dyn BlobStore {
        &self.store
    }

    fn listing(&self) -> &dyn Listing {
        &self.store
    }

    fn container(&self) -> &str {
        &self.container
    }

    async fn put(&self, blob: &BlobRef, body: Bytes) {
        self.store.put(blob, body).await.expect("uploaded");
    }

    async fn delete(&self, blob: &BlobRef) {
        self.store.delete(blob).await.expect("deleted");
    }

    fn holds(&self, _: &str) -> bool {
        true
    }
}

async fn azure(azurite: &Azurite, container: &str) -> AzureBench {
    let (store, container) = (azurite.store(), fresh_name(container));
    store.create_container(&container).await.expect("a container");
    AzureBench { store, container }
}

fn blob(container: &str, name: &str) -> BlobRef {
    BlobRef::new(container, name).expect("a sound name")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let container = "incoming".to_owned();
    let store = FolderStore::new([(container.clone(), folder.path().to_owned())]);
    contract::run(&FolderBench { store, container }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract_when_nothing_is_held_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let container = "incoming".to_owned();
    let store = FolderStore::new([(container.clone(), folder.path().to_owned())]).with_memory_bytes(0);
    contract::run(&FolderBench { store, container }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_to_while_it_is_read_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::new([("incoming".to_owned(), folder.path().to_owned())]).with_memory_bytes(0);
    let scan = blob("incoming", "scan.nii");
    let path = folder.path().join("scan.nii");
    std::fs::write(&path, [7; 4000]).expect("written");
    let properties = store.properties(&scan).await.expect("properties");
    let fetched = store.fetch(&scan, &properties, 1 << 30).await.expect("fetched");
    let kept = fetched.kept().expect("it lies in the folder");
    assert!(kept.is_unchanged().expect("looked at"));
    assert_eq!(fetched.head(3).expect("a head"), [7_u8; 3][..]);
    std::fs::write(&path, [8; 4001]).expect("written over");
    assert!(!kept.is_unchanged().expect("looked at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_keeps_the_contract_when_blobs_are_spooled() {
    let Some(azurite) = Azurite::shared("azure_keeps_the_contract_when_blobs_are_spooled").await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let AzureBench { store, container } = azure(azurite, "spooled").await;
    let store = store.with_spool(Spool::new(Some(folder.path().to_owned()), 100));
    let bench = AzureBench { store, container };
    contract::run(&bench).await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0, "nothing has a name");

    // A disk without room, and a folder that is not there: the machine's fault, told by its path.
    let scan = blob(&bench.container, "too-large-for-the-disk.nii");
    bench.put(&scan, Bytes::from_static(&[1; 1000])).await;
    let properties = bench.store.properties(&scan).await.expect("properties");
    let huge = BlobProperties { bytes: 1 << 52, ..properties.clone() };
    let error = bench.store.fetch(&scan, &huge, u64::MAX).await.expect_err("no disk is so large");
    assert_eq!((error.code, error.class), (ErrorCode::SpoolUnavailable, ErrorClass::Transient));
    assert!(error.message.contains(&folder.path().display().to_string()), "{error}");
    let gone = folder.path().join("gone");
    let store = bench.store.with_spool(Spool::new(Some(gone), 100));
    let error = store.fetch(&scan, &properties, u64::MAX).await.expect_err("no such folder");
    assert_eq!(error.code, ErrorCode::SpoolUnavailable);
    assert!(error.message.contains("is not there"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_keeps_the_contract() {
    let Some(azurite) = Azurite::shared("azure_keeps_the_contract").await else { return };
    contract::run(&azure(azurite, "contract").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_keeps_the_contract_behind_a_faulty_network() {
    let Some(azurite) = Azurite::shared("azure_keeps_the_contract_behind_a_faulty_network").await else {
        return;
    };
    let Some(address) = azurite.address() else { return };
    let proxy = FaultProxy::start(address, 7).await;
    let direct = azure(azurite, "faulty").await;
    let options = AzureOptions { read_timeout: Duration::from_secs(1), ..AzureOptions::default() };
    let account = Account::connection_string(&azurite::connection_string(proxy.port())).expect("sound");
    let store = AzureStore::new(account, options).expect("a store");
    let body: Bytes = (0..60_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    let digest = hex::encode(Sha256::digest(&body));
    let scan = blob(&direct.container, "scan.nii.gz");
    direct.put(&scan, body.clone()).await;
    let properties = direct.store.properties(&scan).await.expect("properties");
    proxy.set_faults(Faults {
        busy: 0.05,
        silent: 0.02,
        reset_before: 0.05,
        reset_after: 0.05,
        cut: 0.05,
        ..Faults::default()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let spooling = AzureStore::new(
        Account::connection_string(&azurite::connection_string(proxy.port())).expect("sound"),
        options,
    );
    let spool = Spool::new(Some(folder.path().to_owned()), 1 << 20);
    let spooling = spooling.expect("a store").with_spool(spool);
    for round in 0..6 {
        let store = if round % 2 == 0 { &store } else { &spooling };
        // Each range is retried by itself: fifteen ranges at one fault in five never come through in one piece.
        match store.fetch(&scan, &properties, 1 << 30).await {
            Ok(fetched) => {
                assert!(bytes_of(&fetched) == body);
                assert_eq!(fetched.sha256(), digest);
            }
            Err(error) => assert_eq!(error.class, ErrorClass::Transient, "{error}"),
        }
    }
    proxy.set_faults(Faults { cut: 1.0, ..Faults::default() });
    let error = store.fetch(&scan, &properties, 1 << 30).await.expect_err("nothing comes through");
    assert_eq!((error.code, error.class), (ErrorCode::StorageUnavailable, ErrorClass::Transient));
    proxy.set_faults(Faults { silent: 1.0, ..Faults::default() });
    let error = store.properties(&scan).await.expect_err("nobody answers");
    assert_eq!((error.code, error.class), (ErrorCode::StorageTimeout, ErrorClass::Transient));
    proxy.set_faults(Faults { busy: 1.0, ..Faults::default() });
    assert_eq!(store.properties(&scan).await.expect_err("busy").code, ErrorCode::StorageThrottled);
    proxy.set_outage(true);
    assert_eq!(store.properties(&scan).await.expect_err("away").code, ErrorCode::StorageUnavailable);
    proxy.set_outage(false);
    proxy.set_faults(Faults::default());
    let fetched = store.fetch(&scan, &properties, 1 << 30).await.expect("all is well again");
    assert!(bytes_of(&fetched) == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_write_is_found_out_by_trying_again() {
    let Some(azurite) = Azurite::shared("a_lost_answer_to_a_write_is_found_out_by_trying_again").await else {
        return;
    };
    let Some(address) = azurite.address() else { return };
    let direct = azure(azurite, "ambiguous").await;
    let proxy = FaultProxy::start(address, 1).await;
    let store = azurite::store(&azurite::connection_string(proxy.port()));
    let result = blob(&direct.container, "r.json");
    proxy.set_faults(Faults { reset_after: 1.0, ..Faults::default() });
    let nothing = BTreeMap::new();
    let write = || store.write(&result, Bytes::from_static(b"ours"), &nothing, WriteCondition::IfAbsent);
    let error = write().await.expect_err("the answer is lost");
    assert!(error.is_transient());
    proxy.set_faults(Faults::default());
    assert_eq!(write().await.expect("an answer"), WriteOutcome::ConditionFailed);
    let (body, _) = direct.store.read(&result, 100).await.expect("read").expect("it was written");
    assert_eq!(body, "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_is_renewed_once_and_then_fatal() {
    let Some(azurite) = Azurite::shared("a_refused_credential_is_renewed_once_and_then_fatal").await else {
        return;
    };
    let Some(address) = azurite.address() else { return };
    let bench = azure(azurite, "credentials").await;
    let image = blob(&bench.container, "a.png");
    bench.put(&image, Bytes::from_static(b"x")).await;
    let proxy = FaultProxy::start(address, 1).await;
    let store = azurite::store(&azurite::connection_string(proxy.port()));
    store.properties(&image).await.expect("signed in");
    proxy.set_faults(Faults { unauthorized: 1.0, ..Faults::default() });
    let (before, _) = proxy.counts();
    let error = store.properties(&image).await.expect_err("refused");
    assert_eq!((error.code, error.class), (ErrorCode::StorageUnauthenticated, ErrorClass::Transient));
    assert_eq!(proxy.counts().0 - before, 4, "twice with a new signature: to look, and to hear why not");
    // A wrong key is the same by another name.
    let wrong = azurite.connection_string().replace("AccountKey=Eby8", "AccountKey=Abcd");
    let error = azurite::store(&wrong).properties(&image).await.expect_err("refused");
    // Azure says AuthenticationFailed to this, Azurite AuthorizationFailure.
    let refusals = [ErrorCode::StorageUnauthenticated, ErrorCode::StorageForbidden];
    assert!(refusals.contains(&error.code), "{error}");
    assert!(!format!("{error:?}").contains("sig="), "no error shows a signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_shows_every_name_size_version_and_metadata() {
    let Some(azurite) = Azurite::shared("a_listing_shows_every_name_size_version_and_metadata").await else {
        return;
    };
    let bench = azure(azurite, "listing").await;
    let metadata = BTreeMap::from([
        ("status".to_owned(), "ok".to_owned()),
        ("source_etag".to_owned(), "\"0x8D\"".to_owned()),
    ]);
    // The service stores a backslash as a slash; that name is reached under either, and listed under the other.
    let listable: Vec<_> = ODD_NAMES.iter().filter(|name| !name.contains('\\')).collect();
    for name in &listable {
        let body = Bytes::from_static(b"1234");
        let written =
            bench.store.write(&blob(&bench.container, name), body, &metadata, WriteCondition::IfAbsent).await;
        assert!(matches!(written, Ok(WriteOutcome::Written(_))), "{name:?}: {written:?}");
    }
    let listed: Vec<_> = bench.store.list(&bench.container, "").expect("a listing").collect().await;
    let mut names = Vec::new();
    for item in listed {
        let item = item.expect("a sound item");
        assert_eq!(
            item.properties,
            bench.store.properties(&item.blob).await.expect("properties"),
            "{}",
            item.blob
        );
        assert_eq!(item.metadata, metadata);
        names.push(item.blob.name().to_owned());
    }
    let mut expected: Vec<_> = listable.iter().map(ToString::to_string).collect();
    expected.sort();
    names.sort();
    assert_eq!(names, expected);
    let some: Vec<_> = bench.store.list(&bench.container, "percent").expect("a listing").collect().await;
    assert_eq!(some.len(), 3);
}
