//! `nightread assemble` as a process: files come in any order, more than once, and late; replicas die at any instant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

use nightread::adapters::amqp::topology;
use nightread_domain::{ETag, ErrorCode, Lane};
use nightread_tests::announcing::summary;
use nightread_tests::assembling::{Assembly, Sets};
use nightread_tests::azurite;
use nightread_tests::images::grey;
use nightread_tests::proxy::Method;
use nightread_tests::slices::Slice;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Of the storm: series, and slices of each.
const SERIES: u16 = 8;
const SLICES: u16 = 24;

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("a child");
}

fn once(assembly: &Assembly) -> Value {
    let mut command = assembly.settings.command(&["assemble", "--once", "--format", "json"]);
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    summary(&output)
}

/// The set that an announcement names.
fn set_name(assembly: &Assembly, uid: &str) -> String {
    format!("{}/_series/{}/ct/{uid}.json", assembly.bench.results, assembly.bench.incoming)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_mixed_files_becomes_its_series_and_nothing_is_lost() {
    let test = "a_folder_of_mixed_files_becomes_its_series_and_nothing_is_lost";
    let Some(assembly) = Assembly::new(test, 1).await else { return };
    let mut etags: BTreeMap<String, BTreeMap<String, ETag>> = BTreeMap::new();
    for number in 0..12_u16 {
        for uid in ["1.2.1", "1.2.2"] {
            let name = format!("ct/drop/{number}-{}.dcm", uid.replace('.', "_"));
            // The header of one is longer than what is read of a file at first.
            let private_bytes = if number == 3 { 300_000 } else { 0 };
            let slice = Slice { private_bytes, ..Slice::new(uid, number + 1) };
            let etag = assembly.upload(&name, slice.bytes()).await;
            etags.entry(uid.to_owned()).or_default().insert(name.clone(), etag);
            assembly.tell(&name).await;
        }
    }
    let without = Slice::new("", 1).bytes();
    assembly.upload("ct/drop/no-series.dcm", without).await;
    let whole = Slice::new("1.2.3", 1).bytes();
    assembly.upload("ct/drop/cut.dcm", whole.slice(..whole.len() - 600)).await;
    assembly.upload("ct/drop/image.png", grey(7, 32, 1)).await;
    assembly.upload("xray/image.png", grey(9, 32, 2)).await;
    for name in [
        "ct/drop/no-series.dcm",
        "ct/drop/cut.dcm",
        "ct/drop/image.png",
        "xray/image.png",
        "ct/drop/gone.dcm",
    ] {
        assembly.tell(name).await;
    }
    assembly.queue.main.put("no event").await.expect("put");
    let told = once(&assembly);
    let events = &told["events"];
    assert_eq!(told["announced"], 2, "{told}");
    for (outcome, count) in
        [("added", 24), ("passed_on", 2), ("gone", 1), ("dead_lettered", 2), ("poisoned", 1)]
    {
        assert_eq!(events[outcome], count, "{outcome}: {told}");
    }
    assert!(assembly.queue.is_empty().await);

    for (uid, etags) in &etags {
        let set = assembly.set(uid).await.expect("a set document");
        let named: BTreeMap<_, _> =
            set.instances.iter().map(|one| (one.name.clone(), one.etag.clone())).collect();
        assert_eq!(&named, etags);
        assert_eq!((set.series_uid.as_str(), set.modality.as_deref()), (uid.as_str(), Some("CT")));
        assert!(
            set.instances.iter().all(|one| one.instance_uid.as_ref().is_some_and(|one| one.starts_with(uid)))
        );
    }
    let announced: BTreeSet<_> = assembly.announced().await.into_values().collect();
    let expected = ["1.2.1", "1.2.2"].map(|uid| (set_name(&assembly, uid), 1));
    assert_eq!(announced, expected.into());
    let passed: Vec<Value> = assembly
        .observer
        .drain(&topology::lane_queue(Lane::Ingest))
        .await
        .iter()
        .map(|delivery| serde_json::from_slice(&delivery.data).expect("JSON"))
        .collect();
    let ids: BTreeSet<_> = passed.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids, ["ct/drop/image.png", "xray/image.png"].into());
    let dead = assembly.bench.dead().await;
    let codes: Vec<_> = dead.iter().map(|letter| letter.code).collect();
    assert_eq!(codes.len(), 2);
    assert!(codes.contains(&ErrorCode::HeaderInvalid), "no Series UID: {codes:?}");
    assert_eq!(assembly.queue.poison.depth().await.expect("a depth"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_series_does_not_wait_and_a_late_file_makes_one_more_version() {
    let test = "a_complete_series_does_not_wait_and_a_late_file_makes_one_more_version";
    // Quiet would come after the test.
    let Some(assembly) = Assembly::new(test, 3_600).await else { return };
    let child = assembly.start(&assembly.settings);
    for number in 0..5_u16 {
        let name = format!("ct/{number}");
        assembly.upload(&name, Slice::new("1.2.9", number).of(5).bytes()).await;
        assembly.tell(&name).await;
    }
    assembly.settled().await;
    let first = assembly.announced().await;
    assert_eq!(first.values().cloned().collect::<Vec<_>>(), [(set_name(&assembly, "1.2.9"), 1)]);
    kill(child);

    // Replaced, told of twice, and one more than its headers say.
    let child = assembly.start(&assembly.settings.clone().with("NIGHTREAD_ASSEMBLE_QUIET_SECONDS", "1"));
    let replaced =
        assembly.upload("ct/0", Slice { number: 77, ..Slice::new("1.2.9", 0).of(5) }.bytes()).await;
    assembly.upload("ct/late", Slice::new("1.2.9", 9).of(5).bytes()).await;
    for name in ["ct/0", "ct/late", "ct/0", "ct/1"] {
        assembly.tell(name).await;
    }
    assembly.queue_is_empty().await;
    assembly.settled().await;
    let second = assembly.announced().await;
    assert_eq!(second.values().map(|(_, times)| *times).collect::<Vec<_>>(), [1]);
    assert!(second.keys().all(|id| !first.contains_key(id)), "another version has another id");
    let set = assembly.set("1.2.9").await.expect("a set document");
    assert_eq!((set.instances.len(), set.expected), (6, Some(5)));
    let held = set.instances.iter().find(|one| one.name == "ct/0").expect("there");
    assert_eq!(held.etag, replaced);
    kill(child);
}

/// One series of three files that is kept and not announced, and the bench's proxy as a way to storage.
async fn kept(test: &str) -> Option<(Assembly, WorkerSettings)> {
    let assembly = Assembly::new(test, 3_600).await?;
    let child = assembly.start(&assembly.settings);
    for number in 0..3_u16 {
        let name = format!("ct/{number}");
        assembly.upload(&name, Slice::new("1.2.9", number).bytes()).await;
        assembly.tell(&name).await;
    }
    assembly.queue_is_empty().await;
    kill(child);
    let soon = assembly.settings.clone().with("NIGHTREAD_ASSEMBLE_QUIET_SECONDS", "1");
    Some((assembly, soon))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_announcement_it_is_made_once() {
    let Some((assembly, soon)) = kept("killed_before_the_announcement_it_is_made_once").await else { return };
    let storage = azurite::connection_string(assembly.bench.proxy.port());
    let gate = assembly.bench.proxy.gate(Method::PUT, "/_series%2F");
    let doomed = assembly.start(&soon.clone().with("NIGHTREAD_STORAGE_CONNECTION_STRING", &storage));
    gate.reached(1).await;
    kill(doomed);
    assert!(assembly.set("1.2.9").await.is_none(), "begun, and not written");
    let heirs = [assembly.start(&soon), assembly.start(&soon)];
    assembly.settled().await;
    assert_eq!(
        assembly.announced().await.into_values().collect::<Vec<_>>(),
        [(set_name(&assembly, "1.2.9"), 1)]
    );
    heirs.into_iter().for_each(kill);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_confirmation_and_record_it_is_made_once_more_under_its_id() {
    let test = "killed_between_confirmation_and_record_it_is_made_once_more_under_its_id";
    let Some((assembly, soon)) = kept(test).await else { return };
    let storage = azurite::connection_string(assembly.bench.proxy.port());
    // The beginning passes; the record does not.
    let gate = assembly.bench.proxy.gate_after(1, Method::PUT, "_assemble%2Fseries%2F");
    let doomed = assembly.start(&soon.clone().with("NIGHTREAD_STORAGE_CONNECTION_STRING", &storage));
    gate.reached(2).await;
    assembly.observer.wait_for_depth(&topology::lane_queue(Lane::Volumes), 1).await;
    kill(doomed);
    let heirs = [assembly.start(&soon), assembly.start(&soon)];
    assembly.settled().await;
    let announced = assembly.announced().await;
    assert_eq!(
        announced.values().cloned().collect::<Vec<_>>(),
        [(set_name(&assembly, "1.2.9"), 2)],
        "one id"
    );
    assert_eq!(assembly.state("1.2.9").await.expect("kept")["announced"]["tries"], 2);
    heirs.into_iter().for_each(kill);
}

/// Three replicas over one queue.
struct Replicas<'a> {
    assembly: &'a Assembly,
    children: Vec<Child>,
    random: StdRng,
    kills: usize,
}

impl Replicas<'_> {
    /// Kills one at a random instant, and starts another in its place.
    async fn kill_one(&mut self) {
        let wait = self.random.random_range(50..900);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let at = self.random.random_range(0..self.children.len());
        kill(self.children.swap_remove(at));
        self.children.push(self.assembly.start(&self.assembly.settings));
        self.kills += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_that_are_killed_again_and_again_announce_each_version_of_each_set() {
    let test = "three_replicas_that_are_killed_again_and_again_announce_each_version_of_each_set";
    let Some(assembly) = Assembly::new(test, 2).await else { return };
    let uid = |series: u16| format!("1.2.{series}");
    // Of the even series each file says how many there are; of series 0 one is missing at first.
    let slice = |series: u16, number: u16| {
        let slice = Slice::new(&uid(series), number);
        if series.is_multiple_of(2) { slice.of(usize::from(SLICES)) } else { slice }
    };
    let name = |series: u16, number: u16| match series {
        7 => format!("ct/{series}/{number}.dcm"),
        _ => format!("ct/drop/{number}-{series}.dcm"),
    };
    let late: Vec<_> = [(0, SLICES - 1), (1, SLICES - 1), (6, SLICES - 1)].into();
    let all: Vec<_> =
        (0..SERIES).flat_map(|series| (0..SLICES).map(move |number| (series, number))).collect();
    let mut etags: BTreeMap<u16, BTreeMap<String, ETag>> = BTreeMap::new();
    let mut random = StdRng::seed_from_u64(17);
    let mut first: Vec<_> = all.iter().copied().filter(|one| !late.contains(one)).collect();
    for &(series, number) in &first {
        let etag = assembly.upload(&name(series, number), slice(series, number).bytes()).await;
        etags.entry(series).or_default().insert(name(series, number), etag);
    }
    // Every third comes twice.
    first.extend(first.clone().into_iter().step_by(3));
    first.shuffle(&mut random);
    let children = (0..3).map(|_| assembly.start(&assembly.settings)).collect();
    let mut replicas = Replicas { assembly: &assembly, children, random, kills: 0 };
    for part in first.chunks(first.len() / 12) {
        for &(series, number) in part {
            assembly.tell(&name(series, number)).await;
        }
        replicas.kill_one().await;
    }
    assembly.queue_is_empty().await;
    assembly.settled().await;
    let before = assembly.announced().await;
    for (series, number) in late {
        let etag = assembly.upload(&name(series, number), slice(series, number).bytes()).await;
        etags.entry(series).or_default().insert(name(series, number), etag);
        assembly.tell(&name(series, number)).await;
        assembly.tell(&name(series, number)).await;
        replicas.kill_one().await;
    }
    while replicas.kills < 20 {
        replicas.kill_one().await;
    }
    assembly.queue_is_empty().await;
    assembly.settled().await;
    // Nothing is taken up again by those that come later.
    replicas.kill_one().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = assembly.announced().await;
    replicas.children.into_iter().for_each(kill);

    let mut final_ids = BTreeSet::new();
    let mut repeats = 0;
    for series in 0..SERIES {
        let set = assembly.set(&uid(series)).await.expect("a set document");
        let named: BTreeMap<_, _> =
            set.instances.iter().map(|one| (one.name.clone(), one.etag.clone())).collect();
        assert_eq!(named, etags[&series], "series {series}");
        let version = set.series().expect("sound").version().0;
        let state = assembly.state(&uid(series)).await.expect("kept");
        assert_eq!(state["announced"]["version"], json!(version), "series {series}: {state}");
        let id = id_of(&set_name(&assembly, &uid(series)), &version);
        let times = of(&before, &id) + of(&after, &id);
        let tries = state["announced"]["tries"].as_u64().expect("a number") as usize;
        assert!((1..=tries).contains(&times), "series {series}: {times} announcements in {tries} tries");
        repeats += times - 1;
        final_ids.insert(id);
    }
    let earlier: usize = before.iter().chain(&after).filter(|(id, _)| !final_ids.contains(*id)).count();
    let twice = before.values().chain(after.values()).filter(|(_, times)| *times > 1).count();
    println!(
        "{} kills, {} sets, {} earlier versions, {repeats} repeats of final ones, {twice} ids twice",
        replicas.kills,
        final_ids.len(),
        earlier
    );
    // Of the three that got a late file the version without it was announced too.
    for series in [0, 1, 6] {
        let name = set_name(&assembly, &uid(series));
        assert!(before.values().any(|(set, _)| *set == name), "series {series}");
        assert!(after.values().any(|(set, _)| *set == name), "series {series}");
    }
    assert!(assembly.bench.dead().await.is_empty());
    assert_eq!(assembly.queue.poison.depth().await.expect("a depth"), 0);
}

fn of(sets: &Sets, id: &str) -> usize {
    sets.get(id).map_or(0, |(_, times)| *times)
}

/// The id of a version's announcement, reckoned apart from the program.
fn id_of(set: &str, version: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(set).chain_update([0]).chain_update(version).finalize();
    hex::encode(&digest[..16])
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_well_and_it_says_what_it_waits_for() {
    let Some(assembly) = Assembly::new("sigterm_ends_it_well_and_it_says_what_it_waits_for", 1).await else {
        return;
    };
    let port = nightread_tests::parts::free_port();
    let mut child = nightread_tests::queues::serve_at(port, &assembly.settings, "assemble");
    let ask =
        async |path: &str| nightread_tests::server::get(&format!("http://127.0.0.1:{port}/{path}")).await;
    wait::until("it to be ready", || async {
        ask("ready").await.filter(|ready| ready.starts_with("HTTP/1.1 200"))
    })
    .await;
    assembly.upload("ct/1", Slice::new("1.2.9", 1).bytes()).await;
    assembly.tell("ct/1").await;
    assembly.observer.wait_for_depth(&topology::lane_queue(Lane::Volumes), 1).await;
    wait::until("the announcement to be counted", || async {
        ask("metrics").await.filter(|text| {
            text.contains("nightread_assemble_sets_total{outcome=\"announced\"} 1")
                && text.contains("nightread_assemble_events_total{outcome=\"added\"} 1")
        })
    })
    .await;
    let told = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(told.expect("a signal").success());
    assert!(child.wait().expect("a child").success());
}

#[test]
fn without_a_queue_or_a_route_it_says_so() {
    if !Worker::is_built("without_a_queue_or_a_route_it_says_so") {
        return;
    }
    let settings = WorkerSettings::new("amqp://guest:secret@127.0.0.1:1");
    let output = settings.command(&["assemble"]).stdin(Stdio::null()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for what in ["NIGHTREAD_ASSEMBLE_QUEUE_URL", "instances = true", "[storage]"] {
        assert!(told.contains(what), "{told}");
    }
    assert!(!told.contains("secret"), "{told}");
}
