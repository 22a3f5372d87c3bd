//! What no object is made of.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use nightread_archive::{
    CtResult, Fault, Options, Other, Panel, SegInput, SourceInstance, no_study, of_ct, of_radiograph,
};
use nightread_domain::result::Status;

use crate::fixtures::{codes, cr, ct, document, png, usual};
use crate::series;

#[test]
fn a_source_without_identity_has_no_results() {
    for tag in
        [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID, tags::SOP_CLASS_UID]
    {
        for header in [cr().without(tag), cr().with(tag, VR::UI, b""), cr().with(tag, VR::UI, b"none")] {
            let error = SourceInstance::open(&header.file(), 1 << 20).expect_err("refused");
            assert_eq!(error.fault, Fault::NoIdentity, "{error}");
        }
    }
    let error =
        SourceInstance::open(b"\x89PNG\r\n\x1a\n and more that is no DICOM", 1 << 20).expect_err("refused");
    assert!(matches!(error.fault, Fault::Source | Fault::NoIdentity), "{error}");
}

#[test]
fn documents_without_results_and_panels_of_others_are_refused() {
    let source = cr().source();
    let mut failed = usual();
    failed.status = Status::Failed;
    for document in [failed, document(Vec::new())] {
        let made = of_radiograph(&source, &document, &codes(), &[], &Options::default());
        assert_eq!(made.expect_err("refused").fault, Fault::NoResult);
    }
    let good = png(0);
    for bytes in [&b"no PNG"[..], &good[..good.len() / 2]] {
        let panels = [Panel { label: "Pneumonia", png: bytes }];
        let made = of_radiograph(&source, &usual(), &codes(), &panels, &Options::default());
        assert_eq!(made.expect_err("refused").fault, Fault::ArtefactChanged);
    }
}

fn fault(input: SegInput<'_>) -> Fault {
    let result =
        CtResult { organs: &series::organs(), missing: &[], voxels: Some(input), preview: None, slices: &[] };
    of_ct(&ct().source(), &document(Vec::new()), &result, &Options::default()).expect_err("refused").fault
}

#[test]
fn label_maps_that_contradict_themselves_are_refused() {
    let case = series::all().remove(0);
    let good = case.input();
    let cut = SegInput { labels: &case.labels[1..], ..good };
    assert_eq!(fault(cut), Fault::Contradiction, "voxels that are not the shape's");
    assert_eq!(
        fault(SegInput { slices: &case.slices[1..], ..good }),
        Fault::Contradiction,
        "a slice too few"
    );
    assert_eq!(
        fault(SegInput { segments: &case.segments[1..], ..good }),
        Fault::Contradiction,
        "a value of nobody"
    );
    let mut twice = case.segments.clone();
    twice[1].number = twice[0].number;
    assert_eq!(fault(SegInput { segments: &twice, ..good }), Fault::Contradiction, "a value of two");
    assert_eq!(fault(SegInput { spacing: [0.0, 0.0], ..good }), Fault::Contradiction, "no spacing");
    assert_eq!(fault(SegInput { slice_spacing: f64::NAN, ..good }), Fault::Contradiction, "no number");
    // An organ with a volume and without voxels.
    let empty = vec![0; case.labels.len()];
    let mut one = empty.clone();
    one[5] = 9;
    assert_eq!(fault(SegInput { labels: &one, ..good }), Fault::Contradiction);
    let without = ct().without(tags::FRAME_OF_REFERENCE_UID);
    let result = CtResult {
        organs: &series::organs(),
        missing: &[],
        voxels: Some(good),
        preview: None,
        slices: &case.references(),
    };
    let made = of_ct(&without.source(), &document(Vec::new()), &result, &Options::default());
    assert_eq!(made.expect_err("refused").fault, Fault::NoIdentity);
}

#[test]
fn our_own_objects_and_those_of_others_are_no_studies() {
    let objects =
        of_radiograph(&cr().source(), &usual(), &codes(), &[], &Options::default()).expect("objects");
    for object in &objects {
        assert_eq!(no_study(&object.file, 1 << 20), Some(Other::Own), "{:?}", object.kind);
    }
    for class in [
        "1.2.840.10008.5.1.4.1.1.88.33",
        "1.2.840.10008.5.1.4.1.1.88.59",
        "1.2.840.10008.5.1.4.1.1.11.1",
        "1.2.840.10008.5.1.4.1.1.66.4",
    ] {
        let header = cr().with(tags::SOP_CLASS_UID, VR::UI, class.as_bytes());
        assert_eq!(no_study(&header.file(), 1 << 20), Some(Other::Foreign), "{class}");
    }
    // A secondary capture of another maker may be a scanned film: that is the gate's to judge.
    let capture = cr().with(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.7");
    for header in [cr(), ct(), capture] {
        assert_eq!(no_study(&header.file(), 1 << 20), None);
    }
    assert_eq!(no_study(b"no DICOM", 1 << 20), None);
}

/// What the meta group says of an image is enough: neither its header is walked for this, nor its data set inflated.
#[test]
fn an_image_is_known_before_its_data_set() {
    let report = cr().with(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.88.33").file();
    let named = |class: &[u8]| {
        let mut file = report[..132].to_vec();
        file.extend([0x02, 0, 0x02, 0, b'U', b'I', class.len() as u8, 0]);
        file.extend(class);
        file.extend(&report[132..]);
        file
    };
    assert_eq!(
        no_study(&report, 1 << 20),
        Some(Other::Foreign),
        "the data set is asked where nothing else tells"
    );
    assert_eq!(no_study(&named(b"1.2.840.10008.5.1.4.1.1.88.33\0"), 1 << 20), Some(Other::Foreign));
    assert_eq!(no_study(&named(b"1.2.840.10008.5.1.4.1.1.1\0"), 1 << 20), None, "it was not looked at");
}
