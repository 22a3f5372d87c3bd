use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::result::{ModelFacts, NOTICE, SCHEMA, StudyFacts, StudyKind, WorkerFacts};
use crate::task::Task;

fn document(version: u8, hour: u8, status: Status) -> ResultDocument {
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status,
        notice: NOTICE.to_owned(),
        task: Task::Radiograph,
        study: StudyFacts {
            kind: StudyKind::Blob,
            container: "incoming".to_owned(),
            name: "a.png".to_owned(),
            version: Some(ETag(version.to_string())),
            last_modified: Some(at(hour)),
            sha256: None,
            bytes: None,
            media: None,
        },
        model: ModelFacts {
            name: "m".to_owned(),
            version: "1.0.0".to_owned(),
            weights_sha256: "digest".to_owned(),
            precision: "fp32".to_owned(),
            execution_provider: "cpu".to_owned(),
            manifest_sha256: None,
            preprocessing: "xrv-1".to_owned(),
        },
        input: BTreeMap::new(),
        payload: None,
        artefacts: Vec::new(),
        warnings: Vec::new(),
        timing_ms: BTreeMap::new(),
        worker: WorkerFacts { version: "0.1.0".to_owned() },
        read_at: at(0),
        error: None,
    }
}

fn at(hour: u8) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::hours(i64::from(hour))
}

fn candidate(document: &ResultDocument) -> Candidate<'_> {
    Candidate {
        etag: document.study.version.as_ref(),
        last_modified: document.study.last_modified,
        sha256: document.study.sha256.as_deref(),
        identity: Identity::Version,
        model: &document.model,
        worker_version: &document.worker.version,
        force: false,
        reread_failed: false,
    }
}

#[test]
fn by_content_a_copy_is_the_same_and_an_older_file_is_not() {
    let with = |version, hour, sha256: Option<&str>| {
        let mut document = document(version, hour, Status::Ok);
        document.study.sha256 = sha256.map(str::to_owned);
        document
    };
    let by_content = |ours: &ResultDocument| {
        let existing = with(1, 10, Some("aa"));
        let ours = Candidate { identity: Identity::Content, ..candidate(ours) };
        before_reading(&existing, &ours).expect("the same model")
    };
    assert_eq!(by_content(&with(1, 10, None)), Verdict::AlreadyDone, "the same file, not read again");
    assert_eq!(by_content(&with(2, 10, None)), Verdict::Replace, "not read yet");
    assert_eq!(by_content(&with(2, 20, Some("aa"))), Verdict::AlreadyDone, "a copy");
    assert_eq!(by_content(&with(2, 1, Some("bb"))), Verdict::Replace, "another file with an older time");
    let mut gone = with(2, 1, None);
    gone.study.version = None;
    assert_eq!(by_content(&gone), Verdict::NewerExists);
}

#[test]
fn result_names_are_plain_until_they_are_too_long() {
    let source = BlobRef::parse("incoming/ward 3/a.png").expect("a sound name");
    let plain = result_blob("results", "m", "1.0.0-fp32", &source).expect("a sound result name");
    assert_eq!(plain.to_string(), "results/m/1.0.0-fp32/incoming/ward 3/a.png.json");

    for name in ["x".repeat(1024), format!("{}/{}", "d".repeat(900), "y".repeat(120)), "ü".repeat(200)] {
        let source = BlobRef::new("incoming", &name).expect("a sound name");
        let long = result_blob("results", "m", "1.0.0-fp32", &source).expect("a sound result name");
        assert!(long.name().chars().count() <= MAX_NAME_CHARS);
        assert!(long.name().rsplit('/').next().is_some_and(|segment| segment.len() <= 255));
        assert!(long.name().contains('~'));
        let last = name.char_indices().last().map_or(0, |(at, _)| at);
        let other = BlobRef::new("incoming", format!("{}z", &name[..last]));
        let other = result_blob("results", "m", "1.0.0-fp32", &other.expect("a sound name"));
        assert_ne!(other.expect("a sound result name"), long);
    }
}

#[test]
fn what_goes_beside_a_document_has_a_name_whatever_the_blob_is_called() {
    let digest = "0123456789abcdef".repeat(4);
    let named = |name: &str, suffix: &str| {
        let source = BlobRef::new("incoming", name).expect("a sound name");
        artefact_blob("results", "model", "1.0.0-fp32", &source, &digest, suffix)
            .expect("a sound artefact name")
    };
    assert_eq!(
        named("ward 3/a.nii.gz", "z.nii.gz").to_string(),
        "results/model/1.0.0-fp32/incoming/ward 3/a.nii.gz.0123456789abcdef.z.nii.gz"
    );
    let longest = "s".repeat(40);
    for length in 1..=MAX_NAME_CHARS {
        let folders: String = "folder/".chars().cycle().take(length).collect();
        for name in ["x".repeat(length), "\u{1f9e0}".repeat(length), folders.trim_end_matches('/').to_owned()]
        {
            let artefact = named(&name, &longest);
            assert!(artefact.name().chars().count() <= MAX_NAME_CHARS, "{length}");
            assert!(
                artefact.name().rsplit('/').next().is_some_and(|segment| segment.len() <= 255),
                "{length}"
            );
            assert!(artefact.name().ends_with(&longest), "{length}");
            assert_ne!(artefact, named(&name, "z.nii.gz"));
        }
    }
}

#[test]
fn a_worked_reading_is_never_lost_to_a_failed_one() {
    let ok = document(1, 1, Status::Ok);
    let verdict = before_writing(&ok, &candidate(&ok), Status::Failed).expect("one model");
    assert_eq!(verdict, Verdict::AlreadyDone);
    let forced = Candidate { force: true, ..candidate(&ok) };
    assert_eq!(before_writing(&ok, &forced, Status::Failed).expect("one model"), Verdict::AlreadyDone);
    assert_eq!(before_writing(&ok, &forced, Status::Ok).expect("one model"), Verdict::Replace);
}

#[test]
fn a_failed_reading_is_tried_again_on_redrive_force_or_a_new_worker() {
    let failed = document(1, 1, Status::Failed);
    let plain = candidate(&failed);
    assert_eq!(before_reading(&failed, &plain).expect("one model"), Verdict::AlreadyDone);
    for again in [
        Candidate { force: true, ..plain.clone() },
        Candidate { reread_failed: true, ..plain.clone() },
        Candidate { worker_version: "0.2.0", ..plain.clone() },
    ] {
        assert_eq!(before_reading(&failed, &again).expect("one model"), Verdict::Replace);
    }
}

/// The facts of `document`'s model with other digests.
fn model(sha256: &str, manifest: Option<&str>) -> ModelFacts {
    let facts = document(1, 1, Status::Ok).model;
    ModelFacts { weights_sha256: sha256.to_owned(), manifest_sha256: manifest.map(str::to_owned), ..facts }
}

#[test]
fn one_version_of_a_model_is_one_set_of_weights_under_one_manifest() {
    let judged = |theirs: ModelFacts, ours: &ModelFacts| {
        let existing = ResultDocument { model: theirs, ..document(1, 1, Status::Ok) };
        let ours = Candidate { model: ours, ..candidate(&existing) };
        let forced = Candidate { force: true, ..ours.clone() };
        assert_eq!(before_reading(&existing, &forced).expect("what is forced is read"), Verdict::Replace);
        let judged = before_reading(&existing, &ours);
        let written = before_writing(&existing, &ours, Status::Ok);
        assert_eq!(judged.is_ok(), written.is_ok(), "neither skipped nor overwritten");
        judged
    };
    let ours = model("weights", Some("manifest"));
    assert_eq!(judged(ours.clone(), &ours).expect("one model"), Verdict::AlreadyDone);
    let older = model("weights", None);
    assert_eq!(judged(older, &ours).expect("counts by its weights"), Verdict::AlreadyDone);

    for theirs in [model("others", Some("manifest")), model("others", None), model("weights", Some("others"))]
    {
        let refused = judged(theirs, &ours).expect_err("another model of that version");
        assert_eq!(refused.code, ErrorCode::ModelMismatch);
        let ours = if refused.message.contains("a manifest of") { "has manifest" } else { "has weights" };
        assert!(refused.message.contains("sha256 others") && refused.message.contains(ours), "{refused}");
    }
}

proptest! {
    /// Writers of several source versions arrive in any order; the store must end with the newest, and with a
    /// worked reading of it if there was one. Versions that share a time are settled by what the source has now.
    #[test]
    fn any_order_of_writers_ends_with_the_newest_version(
        writers in prop::collection::vec((0_u8..6, any::<bool>()), 1..12)
    ) {
        // Versions 0 and 1 share an hour, so do 2 and 3, 4 and 5.
        let newest = writers.iter().map(|(version, _)| version / 2).max().unwrap_or_default();
        let current = writers.iter().filter(|(version, _)| version / 2 == newest).map(|w| w.0).max();
        let mut stored: Option<ResultDocument> = None;
        for (version, worked) in &writers {
            let status = if *worked { Status::Ok } else { Status::Failed };
            let ours = document(*version, version / 2, status);
            let verdict = match &stored {
                None => Verdict::Replace,
                Some(existing) => before_writing(existing, &candidate(&ours), status).expect("one model"),
            };
            let replace = match verdict {
                Verdict::Replace => true,
                Verdict::AlreadyDone | Verdict::NewerExists => false,
                Verdict::AskSource => Some(*version) == current,
            };
            if replace {
                stored = Some(ours);
            }
        }
        let stored = stored.expect("somebody wrote");
        prop_assert_eq!(stored.study.version.clone(), current.map(|version| ETag(version.to_string())));
        let worked = writers.iter().any(|(version, worked)| Some(*version) == current && *worked);
        prop_assert_eq!(stored.status == Status::Ok, worked);
    }
}
