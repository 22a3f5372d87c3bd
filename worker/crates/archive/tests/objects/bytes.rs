//! The same content gives the same bytes, and another content another UID.

use dicom_core::header::Header as _;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject, from_reader};
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use nightread_archive::{
    CtResult, Kind, Object, Options, Panel, Predecessor, Reference, ReportClass, content_digest, of_ct,
    of_radiograph, study_digest,
};
use nightread_domain::ETag;
use nightread_domain::result::{ArtefactFacts, ArtefactKind, EnsembleFacts, Finding, ResultDocument};
use proptest::prelude::*;
use time::Duration;

use crate::fixtures::{codes, cr, document, dx, finding, png, radiographs, usual};

fn made(document: &ResultDocument) -> Vec<Object> {
    let panel = png(3);
    let panels = [Panel { label: "Pneumonia", png: &panel }];
    of_radiograph(&cr().source(), document, &codes(), &panels, &Options::default()).expect("objects")
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.sop_instance.as_str()).collect()
}

fn opened(object: &Object) -> DefaultDicomObject {
    from_reader(&object.file[128..]).expect("an object")
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    assert_eq!(made(&usual()), made(&usual()));
    let kinds: Vec<Kind> = made(&usual()).iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [Kind::Capture, Kind::Report]);
}

/// Both forms of a data set say the same.
#[test]
fn implicit_data_sets_are_the_same_objects() {
    let case = crate::series::all().remove(2);
    let result = CtResult {
        organs: &crate::series::organs(),
        missing: &[],
        voxels: Some(case.input()),
        preview: None,
        slices: &case.references(),
    };
    let of_series =
        of_ct(&crate::fixtures::ct().source(), &document(Vec::new()), &result, &Options::default());
    let mut read = 0;
    for object in made(&usual()).into_iter().chain(of_series.expect("objects")) {
        let implicit = object.implicit_data_set().expect("written").expect("plain");
        let set = InMemDicomObject::read_dataset_with_ts(&implicit[..], &IMPLICIT_VR_LITTLE_ENDIAN.erased());
        let (implicit, explicit) = (set.expect("a data set"), opened(&object));
        for element in explicit.iter().filter(|element| element.vr() != VR::SQ) {
            let other = implicit.get(element.tag()).expect("the element");
            let bytes =
                |element: &dicom_object::mem::InMemElement| element.to_bytes().expect("bytes").into_owned();
            assert_eq!(bytes(element), bytes(other), "{}", element.tag());
        }
        assert_eq!(implicit.iter().count(), explicit.iter().count());
        read += 1;
    }
    assert_eq!(read, 5);
}

/// What is not content: when it was read, how fast, on which engine, by which worker, from which warnings.
#[test]
fn another_reading_with_the_same_scores_is_the_same_object() {
    let mut again = usual();
    again.read_at += Duration::days(3);
    again.timing_ms.insert("total".to_owned(), 77.0);
    again.model.execution_provider = "openvino".to_owned();
    again.worker.version = "9.9.9".to_owned();
    let digest = |document: &ResultDocument| content_digest(document, &codes()).expect("a digest");
    assert_eq!(names(&made(&usual())), names(&made(&again)));
    assert_eq!(digest(&usual()), digest(&again));
}

type Change = fn(&mut ResultDocument);

#[test]
fn whatever_changes_the_bytes_changes_the_uid() {
    let changes: [(&str, Change); 10] = [
        ("source version", |document| document.study.version = Some(ETag("0x2".to_owned()))),
        ("threshold", |document| change(document, |finding| finding.threshold += 0.001)),
        ("score", |document| change(document, |finding| finding.probability -= 0.001)),
        ("weights", |document| document.model.weights_sha256 = "12".repeat(32)),
        ("manifest", |document| document.model.manifest_sha256 = None),
        ("model version", |document| document.model.version = "1.0.2".to_owned()),
        ("precision", |document| document.model.precision = "int8".to_owned()),
        ("preprocessing", |document| document.model.preprocessing = "xrv-2".to_owned()),
        ("ensemble", |document| {
            document.model.ensemble = Some(EnsembleFacts { combine: "mean".to_owned(), members: Vec::new() });
        }),
        ("artefact", |document| document.artefacts.push(artefact())),
    ];
    let usual_names: Vec<String> = names(&made(&usual())).into_iter().map(str::to_owned).collect();
    for (what, change) in changes {
        let mut other = usual();
        change(&mut other);
        for name in names(&made(&other)) {
            assert!(!usual_names.iter().any(|usual| usual == name), "{what} left a UID as it was");
        }
    }
    let source = cr().source();
    let class = Options { report: ReportClass::Comprehensive3d, ..Options::default() };
    let before = Predecessor {
        study_sha256: study_digest(&source.study),
        report: Reference {
            series: "2.25.1".to_owned(),
            sop_class: "1.2.840.10008.5.1.4.1.1.88.33".to_owned(),
            sop_instance: "2.25.2".to_owned(),
        },
    };
    let elsewhere = Predecessor { study_sha256: study_digest("2.25.9"), ..before.clone() };
    let superseding = Options { predecessors: &[elsewhere.clone(), before.clone()], ..Options::default() };
    let others = Options { predecessors: &[elsewhere], ..Options::default() };
    let report = |options: &Options<'_>| {
        let objects = of_radiograph(&source, &usual(), &codes(), &[], options).expect("objects");
        objects.into_iter().find(|object| object.kind == Kind::Report).expect("a report")
    };
    let plain = report(&Options::default()).sop_instance;
    assert_ne!(report(&class).sop_instance, plain);
    assert_ne!(report(&superseding).sop_instance, plain);
    assert_eq!(report(&others).sop_instance, plain, "a report of another study is not replaced");
    let uncoded = of_radiograph(&source, &usual(), &[], &[], &Options::default()).expect("objects");
    assert_ne!(uncoded.last().expect("a report").sop_instance, plain, "another code of a label");
}

fn change(document: &mut ResultDocument, how: impl Fn(&mut Finding)) {
    let mut findings = document.findings().to_vec();
    how(&mut findings[0]);
    document.payload =
        Some(nightread_domain::result::Payload::Findings { findings, measurements: Vec::new() });
}

fn artefact() -> ArtefactFacts {
    ArtefactFacts {
        kind: ArtefactKind::Heatmap,
        path: "x.png".to_owned(),
        media_type: "image/png".to_owned(),
        bytes: 1,
        sha256: "34".repeat(32),
        of: None,
    }
}

#[test]
fn only_the_listed_attributes_are_copied() {
    for (case, header) in radiographs() {
        let objects =
            of_radiograph(&header.source(), &usual(), &codes(), &[], &Options::default()).expect("objects");
        for object in objects {
            let read = opened(&object);
            for tag in [tags::PATIENT_COMMENTS, tags::PATIENT_ADDRESS, tags::PIXEL_SPACING] {
                assert!(read.get(tag).is_none(), "{case}: {tag}");
            }
            assert!(!object.file.windows(8).any(|window| window == b"a secret"), "{case}");
            assert_eq!(text(&read, tags::STUDY_INSTANCE_UID), object.study);
            assert_ne!(text(&read, tags::SERIES_INSTANCE_UID), crate::fixtures::SERIES);
            for tag in [tags::PATIENT_NAME, tags::PATIENT_ID, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX] {
                assert!(read.get(tag).is_some(), "{case}: {tag} may be empty, and is there");
            }
        }
    }
}

/// A name comes back as it was, to the byte, where its encoding is known; else it is the same name in UTF-8.
#[test]
fn names_stay_what_they_were() {
    for (case, header) in radiographs() {
        let source = header.source();
        let objects = of_radiograph(&source, &usual(), &codes(), &[], &Options::default()).expect("objects");
        let read = opened(&objects[0]);
        let charset = text(&read, tags::SPECIFIC_CHARACTER_SET);
        let name = text(&read, tags::PATIENT_NAME);
        let expected = match case {
            "dx" => "Łukasz^Ågot",
            "chinese" => "Wang^XiaoDong=王^小东",
            "bare" => "",
            // The reader here knows no escapes: highdicom's test reads these.
            "japanese" | "korean" => {
                let bytes = header.value(tags::PATIENT_NAME);
                assert!(objects[0].file.windows(bytes.len()).any(|window| window == bytes), "{case}");
                continue;
            }
            _ => "García^José",
        };
        assert_eq!(name, expected, "{case}");
        assert_eq!(
            charset == "ISO_IR 192",
            matches!(case, "dx" | "unnamed" | "unknown"),
            "{case}: {charset}"
        );
    }
    // A label of ours that needs more than ASCII takes all into UTF-8.
    let beyond = document(vec![finding("Épanchement", 0.9, 0.2)]);
    let objects = of_radiograph(&cr().source(), &beyond, &[], &[], &Options::default()).expect("objects");
    let report = opened(objects.last().expect("a report"));
    assert_eq!(text(&report, tags::SPECIFIC_CHARACTER_SET), "ISO_IR 192");
    assert_eq!(text(&report, tags::PATIENT_NAME), "García^José");
}

#[test]
fn dates_are_in_the_time_zone_of_the_source() {
    let at = |header: crate::fixtures::Header| {
        let objects = of_radiograph(&header.source(), &usual(), &codes(), &[], &Options::default());
        let read = opened(&objects.expect("objects")[0]);
        (text(&read, tags::CONTENT_DATE), text(&read, tags::CONTENT_TIME))
    };
    // 1790000000 is 2026-09-21 14:13:20 UTC.
    assert_eq!(at(cr()), ("20260921".to_owned(), "141320.000000".to_owned()));
    assert_eq!(at(dx()), ("20260921".to_owned(), "094320.000000".to_owned()));
    let late = cr().with(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, b"+1200");
    assert_eq!(at(late).0, "20260922");
}

fn text(object: &DefaultDicomObject, tag: Tag) -> String {
    object.get(tag).map_or_else(String::new, |element| {
        element.to_str().expect("text").trim_end_matches([' ', '\0']).to_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// UIDs are equal exactly when what is said is equal.
    #[test]
    fn uids_change_exactly_with_the_content(
        scores in prop::collection::vec((0_u16..1000, 1_u16..1000), 1..5),
        others in prop::collection::vec((0_u16..1000, 1_u16..1000), 1..5),
        same in any::<bool>(),
    ) {
        let of = |scores: &[(u16, u16)]| {
            let findings = scores.iter().enumerate().map(|(nth, (score, threshold))| {
                finding(&format!("label {nth}"), f32::from(*score) / 1000.0, f32::from(*threshold) / 1000.0)
            });
            document(findings.collect())
        };
        let others = if same { scores.clone() } else { others };
        let (one, two) = (made(&of(&scores)), made(&of(&others)));
        prop_assert_eq!(names(&one) == names(&two), scores == others);
        prop_assert_eq!(one == two, scores == others);
    }
}
