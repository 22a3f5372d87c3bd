//! What a report says of grades and of votes: neither is a finding that is present with some certainty.

use dicom_dictionary_std::tags;
use dicom_object::mem::InMemDicomObject;
use dicom_object::{DefaultDicomObject, from_reader};
use nightread_archive::{Kind, Object, Options, Scale, of_radiograph};
use nightread_domain::ResultDocument;

use crate::fixtures::{codes, cr, graded, scales, voted};

fn made(document: &ResultDocument, scales: &[Scale]) -> Vec<Object> {
    let options = Options { scales, ..Options::default() };
    of_radiograph(&cr().source(), document, &codes(), &[], &options).expect("objects")
}

fn of_kind(objects: &[Object], kind: Kind) -> DefaultDicomObject {
    let object = objects.iter().find(|object| object.kind == kind).expect("an object of the kind");
    from_reader(&object.file[128..]).expect("an object")
}

/// Name and value of every item of a measurement group: the meaning of a code, a number, or a text.
fn groups(document: &ResultDocument, scales: &[Scale]) -> Vec<Vec<(String, String)>> {
    let report = of_kind(&made(document, scales), Kind::Report);
    let mut found = Vec::new();
    gather(&report, &mut found);
    found
}

fn gather(item: &InMemDicomObject, found: &mut Vec<Vec<(String, String)>>) {
    for child in items(item, tags::CONTENT_SEQUENCE) {
        if meaning(child, tags::CONCEPT_NAME_CODE_SEQUENCE).as_deref() == Some("Measurement Group") {
            let said = items(child, tags::CONTENT_SEQUENCE).iter().map(|item| {
                let name = meaning(item, tags::CONCEPT_NAME_CODE_SEQUENCE).unwrap_or_default();
                (name, value(item).unwrap_or_default())
            });
            found.push(said.collect());
        }
        gather(child, found);
    }
}

fn items(item: &InMemDicomObject, tag: dicom_core::Tag) -> &[InMemDicomObject] {
    item.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

fn text(item: &InMemDicomObject, tag: dicom_core::Tag) -> Option<String> {
    Some(item.get(tag)?.to_str().ok()?.trim().to_owned())
}

fn meaning(item: &InMemDicomObject, tag: dicom_core::Tag) -> Option<String> {
    text(items(item, tag).first()?, tags::CODE_MEANING)
}

fn value(item: &InMemDicomObject) -> Option<String> {
    let measured = items(item, tags::MEASURED_VALUE_SEQUENCE).first();
    meaning(item, tags::CONCEPT_CODE_SEQUENCE)
        .or_else(|| text(measured?, tags::NUMERIC_VALUE))
        .or_else(|| text(item, tags::TEXT_VALUE))
}

fn has(group: &[(String, String)], name: &str, value: &str) -> bool {
    group.iter().any(|(of, is)| of == name && is == value)
}

#[test]
fn a_grade_is_what_an_evaluation_says_and_no_finding_that_is_present() {
    let found = groups(&graded(), &scales());
    let [finding, grade] = found.as_slice() else { panic!("{found:?}") };
    assert!(has(finding, "Finding", "Pneumonia") && has(finding, "Pneumonia", "Present"), "{finding:?}");
    assert!(has(grade, "Oedema grade", "none"), "{grade:?}");
    assert!(has(grade, "Certainty of Finding", "83.1"), "{grade:?}");
    assert!(grade.iter().all(|(name, value)| name != "Finding" && value != "Present"), "{grade:?}");

    let nameless = [Scale { name: None, ..scales()[0].clone() }];
    assert!(has(&groups(&graded(), &nameless)[1], "Grade", "none"));
    let page = |scales: &[Scale]| {
        let page = of_kind(&made(&graded(), scales), Kind::Capture);
        page.element(tags::PIXEL_DATA).expect("pixels").to_bytes().expect("bytes").into_owned()
    };
    assert_ne!(page(&scales()), page(&[]), "the page says it too");
}

#[test]
fn the_share_of_networks_that_vote_is_no_certainty() {
    let found = groups(&voted(), &[]);
    let [group] = found.as_slice() else { panic!("{found:?}") };
    assert!(has(group, "Share of networks that find it", "66.67"), "{group:?}");
    assert!(group.iter().all(|(name, _)| name != "Certainty of Finding"), "{group:?}");
    assert!(has(group, "Algorithm Parameters", "positive at share of networks >= 0.5"), "{group:?}");
}
