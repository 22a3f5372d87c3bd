use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::result::{
    ArtefactFacts, ArtefactKind, Finding, ModelFacts, NOTICE, Payload, SCHEMA, StudyFacts, StudyKind,
    WorkerFacts,
};
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
            ensemble: None,
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
        wanted: Wanted::default(),
    }
}

fn of_content(version: u8, hour: u8, sha256: Option<&str>) -> ResultDocument {
    let mut document = document(version, hour, Status::Ok);
    document.study.sha256 = sha256.map(str::to_owned);
    document
}

/// The verdict on a document beside one of version 1, hour 10 and content `aa`.
fn by_content(ours: &ResultDocument) -> Verdict {
    let existing = of_content(1, 10, Some("aa"));
    let ours = Candidate { identity: Identity::Content, ..candidate(ours) };
    before_reading(&existing, &ours).expect("the same model")
}

#[test]
fn by_content_a_copy_is_the_same_and_an_older_file_is_not() {
    for (ours, verdict, why) in [
        (of_content(1, 10, None), Verdict::AlreadyDone, "the same file, not read again"),
        (of_content(2, 10, None), Verdict::Replace, "not read yet"),
        (of_content(2, 20, Some("aa")), Verdict::AlreadyDone, "a copy"),
        (of_content(2, 1, Some("bb")), Verdict::Replace, "another file with an older time"),
    ] {
        assert_eq!(by_content(&ours), verdict, "{why}");
    }
    let mut gone = of_content(2, 1, None);
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

/// What goes beside the document of a blob.
fn artefact_of(name: &str, suffix: &str) -> BlobRef {
    let source = BlobRef::new("incoming", name).expect("a sound name");
    let digest = "0123456789abcdef".repeat(4);
    artefact_blob("results", "model", "1.0.0-fp32", &source, &digest, suffix).expect("a sound artefact name")
}

#[test]
fn what_goes_beside_a_document_has_a_name_whatever_the_blob_is_called() {
    assert_eq!(
        artefact_of("ward 3/a.nii.gz", "z.nii.gz").to_string(),
        "results/model/1.0.0-fp32/incoming/ward 3/a.nii.gz.0123456789abcdef.z.nii.gz"
    );
    let longest = "s".repeat(40);
    for length in 1..=MAX_NAME_CHARS {
        let folders: String = "folder/".chars().cycle().take(length).collect();
        for name in ["x".repeat(length), "\u{1f9e0}".repeat(length), folders.trim_end_matches('/').to_owned()]
        {
            let artefact = artefact_of(&name, &longest);
            assert!(artefact.name().chars().count() <= MAX_NAME_CHARS, "{length}");
            assert!(
                artefact.name().rsplit('/').next().is_some_and(|segment| segment.len() <= 255),
                "{length}"
            );
            assert!(artefact.name().ends_with(&longest), "{length}");
            assert_ne!(artefact, artefact_of(&name, "z.nii.gz"));
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

/// The verdict on the document of another model beside this one, which both questions must agree on.
fn judged(theirs: ModelFacts, ours: &ModelFacts) -> Result<Verdict, JobError> {
    let existing = ResultDocument { model: theirs, ..document(1, 1, Status::Ok) };
    let ours = Candidate { model: ours, ..candidate(&existing) };
    let forced = Candidate { force: true, ..ours.clone() };
    assert_eq!(before_reading(&existing, &forced).expect("what is forced is read"), Verdict::Replace);
    let judged = before_reading(&existing, &ours);
    let written = before_writing(&existing, &ours, Status::Ok);
    assert_eq!(judged.is_ok(), written.is_ok(), "neither skipped nor overwritten");
    judged
}

#[test]
fn one_version_of_a_model_is_one_set_of_weights_under_one_manifest() {
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
                Verdict::Replace | Verdict::Complete => true,
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

fn artefact(kind: ArtefactKind, path: &str, of: Option<&str>) -> ArtefactFacts {
    ArtefactFacts {
        kind,
        path: path.to_owned(),
        media_type: kind.media_type().to_owned(),
        bytes: 1,
        sha256: "ab".repeat(32),
        of: of.map(str::to_owned),
    }
}

fn with_findings(positive: &[bool], artefacts: Vec<ArtefactFacts>) -> ResultDocument {
    let finding = |(n, &positive): (usize, &bool)| Finding {
        label: format!("label {n}"),
        logit: 0.0,
        probability: 0.5,
        threshold: 0.5,
        positive,
    };
    let findings = positive.iter().enumerate().map(finding).collect();
    ResultDocument {
        payload: Some(Payload::Findings { findings, measurements: Vec::new() }),
        artefacts,
        ..document(1, 1, Status::Ok)
    }
}

fn with_regression(dof: u64, artefacts: Vec<ArtefactFacts>) -> ResultDocument {
    let regression = Some(BTreeMap::from([("dof".to_owned(), dof.into())]));
    ResultDocument {
        task: Task::Components,
        payload: Some(Payload::Components { components: Vec::new(), regression }),
        artefacts,
        ..document(1, 1, Status::Ok)
    }
}

#[test]
fn what_lacks_a_file_that_is_asked_for_is_completed_once() {
    let heatmap =
        |n: usize| artefact(ArtefactKind::Heatmap, &format!("{n}.png"), Some(&format!("label {n}")));
    let named = HeatmapLabels::Named(vec!["label 1".to_owned()]);
    let [positives, all, named] = [&HeatmapLabels::Positives, &HeatmapLabels::All, &named]
        .map(|labels| Wanted { heatmaps: Some(labels), ..Wanted::default() });
    let arrays = Wanted { heatmap_arrays: true, ..positives };
    let judged = |existing: &ResultDocument, wanted: Wanted<'_>| {
        let ours = Candidate { wanted, ..candidate(existing) };
        let before = before_reading(existing, &ours).expect("one model");
        assert_eq!(before_writing(existing, &ours, Status::Ok).expect("one model"), before);
        assert_eq!(before_writing(existing, &ours, Status::Failed).expect("one model"), Verdict::AlreadyDone);
        before
    };
    let (plain, painted) =
        (with_findings(&[true, false], Vec::new()), with_findings(&[true, false], vec![heatmap(0)]));
    let embedding = Wanted { embedding: true, ..Wanted::default() };
    let embedded = with_findings(&[true, false], vec![artefact(ArtefactKind::Embedding, "e.npy", None)]);
    let negative = with_findings(&[false, false], Vec::new());
    for (existing, wanted, verdict) in [
        (&plain, Wanted::default(), Verdict::AlreadyDone),
        (&plain, positives, Verdict::Complete),
        (&painted, positives, Verdict::AlreadyDone),
        (&painted, all, Verdict::Complete),
        (&painted, named, Verdict::Complete),
        (&painted, arrays, Verdict::Complete),
        (&negative, positives, Verdict::AlreadyDone),
        (&plain, embedding, Verdict::Complete),
        (&negative, embedding, Verdict::Complete),
        (&painted, Wanted { embedding: true, ..positives }, Verdict::Complete),
        (&embedded, embedding, Verdict::AlreadyDone),
        (&embedded, Wanted { embedding: true, ..positives }, Verdict::Complete),
    ] {
        assert_eq!(judged(existing, wanted), verdict, "{wanted:?}");
    }

    let scans = Wanted {
        of_scans: &[ArtefactKind::ZMaps, ArtefactKind::TimeCourses, ArtefactKind::Motion],
        min_dof: 10,
        ..Wanted::default()
    };
    let courses = artefact(ArtefactKind::TimeCourses, "t.tsv", None);
    let z = artefact(ArtefactKind::ZMaps, "z.nii.gz", None);
    assert_eq!(judged(&with_regression(30, Vec::new()), scans), Verdict::Complete);
    assert_eq!(judged(&with_regression(30, vec![courses.clone()]), scans), Verdict::Complete);
    assert_eq!(judged(&with_regression(30, vec![courses.clone(), z]), scans), Verdict::AlreadyDone);
    assert_eq!(
        judged(&with_regression(9, vec![courses]), scans),
        Verdict::AlreadyDone,
        "there is no z to give"
    );
    assert_eq!(judged(&plain, scans), Verdict::AlreadyDone, "a radiograph has no z maps");
}

#[test]
fn a_completed_document_names_the_files_of_both() {
    let z = artefact(ArtefactKind::ZMaps, "z.nii.gz", None);
    let courses = artefact(ArtefactKind::TimeCourses, "t.tsv", None);
    let lost = ArtefactFacts { sha256: String::new(), ..artefact(ArtefactKind::TMaps, "t.nii.gz", None) };
    let existing = with_regression(30, vec![z.clone(), lost]);
    let ours = with_regression(30, vec![courses.clone()]);
    assert_eq!(completed(ours, &existing).artefacts, [courses.clone(), z.clone()]);
    let again = with_regression(30, vec![z.clone()]);
    assert_eq!(completed(again, &existing).artefacts, [z], "each once");
    let otherwise = with_regression(29, vec![courses.clone()]);
    assert_eq!(
        completed(otherwise, &existing).artefacts,
        [courses],
        "maps of another regression are not its own"
    );
}

#[test]
fn scans_with_bids_names_have_derivatives_with_bids_names() {
    let name = BidsName { stat: None, suffix: "timeseries", extension: "tsv" };
    let digest = "0123456789abcdef".repeat(4);
    let derived = |scan: &str| {
        let source = BlobRef::new("local", scan).expect("a sound name");
        bids_artefact_blob("results", "fmri-networks-demo", "1.0.0-fp32", &source, &digest, name)
            .expect("a sound name")
            .map(|blob| blob.name().to_owned())
    };
    assert_eq!(
        derived("sub-01/func/sub-01_task-rest_desc-preproc_bold.nii.gz").as_deref(),
        Some(
            "fmri-networks-demo/1.0.0-fp32/local/sub-01/func/\
             sub-01_task-rest_seg-fmrinetworksdemo_desc-preproc0123456789abcdef_timeseries.tsv"
        )
    );
    assert!(derived("sub-01_task-rest_bold.nii").is_some());
    assert_eq!(derived("scan.nii.gz"), None);
    assert_eq!(
        derived(&format!("sub-01_task-{}_bold.nii", "r".repeat(190))),
        None,
        "too long for a file system"
    );
}

const FILES: [ArtefactKind; 4] =
    [ArtefactKind::ZMaps, ArtefactKind::TMaps, ArtefactKind::Betas, ArtefactKind::TimeCourses];

/// The files that are asked for.
fn of(asked: &[bool]) -> Vec<ArtefactKind> {
    FILES.iter().zip(asked).filter(|(_, asked)| **asked).map(|(kind, _)| *kind).collect()
}

proptest! {
    /// Writers that ask for different files beside one result come in any order, some of them having looked before others
    /// wrote: the document ends with the files of all, and nobody has anything more to do.
    #[test]
    fn writers_that_ask_for_different_files_end_with_all(
        writers in prop::collection::vec((prop::collection::vec(any::<bool>(), 4), any::<bool>()), 1..8)
    ) {
        let mut stored: Option<ResultDocument> = None;
        for (asked, looks) in &writers {
            let of_scans = of(asked);
            let wanted = Wanted { of_scans: &of_scans, min_dof: 10, ..Wanted::default() };
            let files = wanted.of_scans.iter().map(|kind| artefact(*kind, &format!("{kind:?}"), None)).collect();
            let ours = with_regression(30, files);
            let Some(existing) = &stored else {
                stored = Some(ours);
                continue;
            };
            let candidate = Candidate { wanted, ..candidate(&ours) };
            if *looks && before_reading(existing, &candidate).expect("one model") == Verdict::AlreadyDone {
                continue;
            }
            match before_writing(existing, &candidate, Status::Ok).expect("one model") {
                Verdict::Complete => stored = Some(completed(ours.clone(), existing)),
                verdict => prop_assert_eq!(verdict, Verdict::AlreadyDone),
            }
        }
        let stored = stored.expect("somebody wrote");
        for (n, kind) in FILES.iter().enumerate() {
            let asked = writers.iter().any(|(asked, _)| asked[n]);
            let named = stored.artefacts.iter().filter(|artefact| artefact.kind == *kind).count();
            prop_assert_eq!(named, usize::from(asked));
        }
        for (asked, _) in &writers {
            let of_scans = of(asked);
            let wanted = Wanted { of_scans: &of_scans, min_dof: 10, ..Wanted::default() };
            let again = Candidate { wanted, ..candidate(&stored) };
            prop_assert_eq!(before_reading(&stored, &again).expect("one model"), Verdict::AlreadyDone);
        }
    }
}
