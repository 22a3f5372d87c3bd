//! What every blob store must do, whatever is behind it. One suite, run against each.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use nightread_domain::ports::{Listed, Listing};
use nightread_domain::{
    BlobProperties, BlobRef, BlobStore, Body, ETag, ErrorCode, WriteCondition, WriteOutcome,
};
use sha2::{Digest, Sha256};

/// A store under test, with the two things that a worker's port does not have.
#[async_trait]
pub trait Bench: Send + Sync {
    fn store(&self) -> &dyn BlobStore;
    /// The same store.
    fn listing(&self) -> &dyn Listing;
    /// A container that is there.
    fn container(&self) -> &str;
    /// Puts an input there, over what was there.
    async fn put(&self, blob: &BlobRef, body: Bytes);
    async fn delete(&self, blob: &BlobRef);
    /// Whether this store can hold such a name at all; a folder cannot hold all that Azure can.
    fn holds(&self, name: &str) -> bool;
}

/// Names that have broken clients: what they encode, decode, or take for structure.
pub const ODD_NAMES: &[&str] = &[
    "plain.png",
    "with space.png",
    "a/b/c.png",
    "röntgen/胸部.png",
    "emoji \u{1fa7b}.png",
    "percent%.png",
    "percent%20encoded.png",
    "percent%2Fslash.png",
    "plus+plus.png",
    "hash#hash.png",
    "question?mark=1&b.png",
    "semi;colon,comma.png",
    "quotes'\"`.png",
    "(brackets)[square]{curly}.png",
    "at@colon:.png",
    "a..b/...png",
    "tilde~dollar$.png",
    "double//slash.png",
    "back\\slash.png",
    "trailing /space .png",
];

/// Runs all of it.
pub async fn run(bench: &dyn Bench) {
    a_blob_comes_back_whole(bench).await;
    every_name_is_kept_apart(bench).await;
    what_is_not_there_is_said_so(bench).await;
    a_replaced_blob_is_noticed(bench).await;
    limits_hold(bench).await;
    only_one_create_wins(bench).await;
    only_the_known_version_is_replaced(bench).await;
    a_container_answers_or_does_not(bench).await;
    a_listing_names_every_blob_once(bench).await;
}

/// All bytes of a fetched blob, wherever they are held.
pub fn bytes_of(body: &Body) -> Bytes {
    body.clone().into_bytes().expect("what was fetched can be read")
}

fn blob(bench: &dyn Bench, name: &str) -> BlobRef {
    BlobRef::new(bench.container(), name).expect("a sound name")
}

async fn a_blob_comes_back_whole(bench: &dyn Bench) {
    // Around the sizes at which downloads are cut into ranges.
    for size in [0, 1, 4_194_303, 4_194_304, 4_194_305, 13_000_000] {
        let blob = blob(bench, &format!("whole/{size}"));
        let body: Bytes =
            (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
        bench.put(&blob, body.clone()).await;
        let properties = bench.store().properties(&blob).await.expect("properties");
        assert_eq!(properties.bytes, u64::from(size));
        let fetched = bench.store().fetch(&blob, &properties, 1 << 30).await.expect("fetched");
        assert!(bytes_of(&fetched) == body, "{size} bytes come back as they were");
        assert_eq!(fetched.sha256(), hex::encode(Sha256::digest(&body)), "{size} bytes");
        let again = bench.store().properties(&blob).await.expect("properties");
        assert_eq!(again, properties, "looking changes nothing");
    }
}

async fn every_name_is_kept_apart(bench: &dyn Bench) {
    let names: Vec<_> = ODD_NAMES.iter().filter(|name| bench.holds(name)).collect();
    for (number, name) in names.iter().enumerate() {
        bench.put(&blob(bench, name), Bytes::from(format!("{number} {name}"))).await;
    }
    for (number, name) in names.iter().enumerate() {
        let blob = blob(bench, name);
        let properties = bench.store().properties(&blob).await.expect(name);
        let fetched = bench.store().fetch(&blob, &properties, 1000).await.expect(name);
        assert_eq!(bytes_of(&fetched), format!("{number} {name}"), "{name:?}");
        let result = BlobRef::new(bench.container(), format!("results/{name}.json")).expect("a sound name");
        let written = write(bench, &result, name, WriteCondition::IfAbsent).await;
        assert!(matches!(written, WriteOutcome::Written(_)), "{name:?}");
        let (read, _) = bench.store().read(&result, 1000).await.expect(name).expect(name);
        assert_eq!(read, *name);
    }
}

async fn what_is_not_there_is_said_so(bench: &dyn Bench) {
    let missing = blob(bench, "missing/blob.png");
    let error = bench.store().properties(&missing).await.expect_err("missing");
    assert_eq!(error.code, ErrorCode::BlobNotFound);
    assert!(bench.store().read(&missing, 1000).await.expect("no error").is_none());
    bench.put(&missing, Bytes::from_static(b"short-lived")).await;
    let properties = bench.store().properties(&missing).await.expect("properties");
    bench.delete(&missing).await;
    let error = bench.store().fetch(&missing, &properties, 1000).await.expect_err("deleted");
    // Some judge the condition before they look; whoever asks for the properties again learns the rest.
    assert!(matches!(error.code, ErrorCode::BlobNotFound | ErrorCode::BlobChanged), "{error}");
}

async fn a_replaced_blob_is_noticed(bench: &dyn Bench) {
    let blob = blob(bench, "replaced.bin");
    let versions = [vec![1_u8; 9_000_000], vec![2; 9_000_000], vec![3; 10]];
    bench.put(&blob, versions[0].clone().into()).await;
    let mut known = bench.store().properties(&blob).await.expect("properties");
    for version in &versions[1..] {
        bench.put(&blob, version.clone().into()).await;
        let error = bench.store().fetch(&blob, &known, 1 << 30).await.expect_err("another version");
        assert_eq!(error.code, ErrorCode::BlobChanged);
        assert!(error.is_transient());
        let now = bench.store().properties(&blob).await.expect("properties");
        assert_ne!(now.etag, known.etag);
        assert!(now.last_modified >= known.last_modified);
        let fetched = bench.store().fetch(&blob, &now, 1 << 30).await.expect("the version of now");
        assert!(bytes_of(&fetched) == *version);
        known = now;
    }
}

async fn limits_hold(bench: &dyn Bench) {
    let blob = blob(bench, "limited.bin");
    bench.put(&blob, Bytes::from(vec![7; 1001])).await;
    let properties = bench.store().properties(&blob).await.expect("properties");
    for limit in [0, 1000] {
        let error = bench.store().fetch(&blob, &properties, limit).await.expect_err("too large");
        assert_eq!(error.code, ErrorCode::BlobTooLarge);
        let error = bench.store().read(&blob, limit).await.expect_err("too large");
        assert_eq!(error.code, ErrorCode::BlobTooLarge);
    }
    assert_eq!(bench.store().fetch(&blob, &properties, 1001).await.expect("fits").len(), 1001);
    assert_eq!(bench.store().read(&blob, 1001).await.expect("fits").expect("is there").0.len(), 1001);
    // A size that storage never had costs no memory: the version is checked by whoever answers.
    let lying = BlobProperties { bytes: 1, ..properties };
    let outcome = bench.store().fetch(&blob, &lying, 1000).await;
    assert!(outcome.is_err() || outcome.is_ok_and(|fetched| fetched.len() == 1));
}

async fn only_one_create_wins(bench: &dyn Bench) {
    let blob = blob(bench, "results/created once.json");
    let writers = (0..16).map(|number| {
        let blob = &blob;
        async move { write(bench, blob, &format!("writer {number}"), WriteCondition::IfAbsent).await }
    });
    let outcomes = futures::future::join_all(writers).await;
    let won: Vec<_> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| **outcome != WriteOutcome::ConditionFailed)
        .collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let (body, etag) = bench.store().read(&blob, 1000).await.expect("read").expect("is there");
    assert_eq!(body, format!("writer {}", won[0].0));
    assert_eq!(*won[0].1, WriteOutcome::Written(etag));
}

async fn only_the_known_version_is_replaced(bench: &dyn Bench) {
    let blob = blob(bench, "results/replaced.json");
    let nothing = WriteCondition::IfMatch(ETag("\"0x8D0000000000000\"".to_owned()));
    assert_eq!(write(bench, &blob, "x", nothing).await, WriteOutcome::ConditionFailed, "nothing to replace");
    let WriteOutcome::Written(first) = write(bench, &blob, "1", WriteCondition::IfAbsent).await else {
        panic!("the first write is alone");
    };
    let writers = (0..8).map(|number| {
        let (blob, first) = (&blob, first.clone());
        async move { write(bench, blob, &format!("2 {number}"), WriteCondition::IfMatch(first)).await }
    });
    let outcomes = futures::future::join_all(writers).await;
    let won = outcomes.iter().filter(|outcome| **outcome != WriteOutcome::ConditionFailed).count();
    assert_eq!(won, 1, "{outcomes:?}");
    assert_eq!(write(bench, &blob, "3", WriteCondition::IfMatch(first)).await, WriteOutcome::ConditionFailed);
    let (body, _) = bench.store().read(&blob, 1000).await.expect("read").expect("is there");
    assert!(body.starts_with(b"2 "));
}

async fn a_container_answers_or_does_not(bench: &dyn Bench) {
    bench.store().probe(bench.container()).await.expect("it is there");
    assert!(bench.store().probe("no-such-container").await.is_err());
}

async fn write(bench: &dyn Bench, blob: &BlobRef, body: &str, condition: WriteCondition) -> WriteOutcome {
    let metadata = BTreeMap::from([
        ("source_etag".to_owned(), "\"0x8D\"".to_owned()),
        ("status".to_owned(), "ok".to_owned()),
    ]);
    let body = Bytes::from(body.to_owned());
    bench.store().write(blob, body, &metadata, condition).await.expect("an answer")
}

/// What stands below one folder, so that nothing else of the suite is in the way.
async fn a_listing_names_every_blob_once(bench: &dyn Bench) {
    let names = ["listed/a-b", "listed/a/b", "listed/a/c/d", "listed/a.png", "listed/r\u{f6}ntgen/1.png"];
    for name in names {
        bench.put(&blob(bench, name), Bytes::from(name.to_owned())).await;
    }
    let mut expected = names.to_vec();
    expected.sort_unstable();
    for prefix in ["listed/", "listed/a", "listed/a/", "listed/r\u{f6}", "listed/nothing"] {
        let found = all_below(bench, prefix).await;
        let fitting: Vec<_> = expected.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        let listed: Vec<_> = found.iter().map(|listed| listed.blob.name()).collect();
        assert_eq!(listed, fitting, "below {prefix:?}, in name order");
        for listed in &found {
            let properties = bench.store().properties(&listed.blob).await.expect("properties");
            assert_eq!(listed.properties, properties, "{}", listed.blob);
            let kept = bench.listing().metadata(&listed.blob).await.expect("metadata");
            assert!(kept.is_some(), "{} is there", listed.blob);
        }
    }
    let gone = blob(bench, "listed/nothing");
    assert_eq!(bench.listing().metadata(&gone).await.expect("an answer"), None);
    let written = BTreeMap::from([("status".to_owned(), "ok".to_owned())]);
    let result = blob(bench, "listed/z.json");
    let body = Bytes::from_static(b"{}");
    bench.store().write(&result, body, &written, WriteCondition::IfAbsent).await.expect("written");
    let kept = if bench.listing().keeps_metadata() { written } else { BTreeMap::new() };
    let page = bench.listing().list_page(bench.container(), "listed/z", None, true).await.expect("a page");
    let item = page.items.into_iter().next().expect("one").expect("sound");
    assert_eq!((item.blob, item.metadata), (result, kept));
    assert!(bench.listing().list_page("nowhere", "", None, false).await.is_err(), "no such container");
}

async fn all_below(bench: &dyn Bench, prefix: &str) -> Vec<Listed> {
    let (mut found, mut marker) = (Vec::new(), None::<String>);
    loop {
        let page = bench.listing().list_page(bench.container(), prefix, marker.as_deref(), false);
        let page = page.await.expect("a page");
        found.extend(page.items.into_iter().map(|item| item.expect("a sound item")));
        marker = page.next;
        if marker.is_none() {
            return found;
        }
    }
}
