//! What comparisons find, refuse and let pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{components, document, findings, options, segments};
use nightread_compare::{
    Cohorts, CompareError, CompareOptions, Comparison, JoinKey, Limit, Reason, RolloutLimits, Truth,
    TruthColumns, Which, html, markdown, page,
};
use nightread_domain::ResultDocument;
use nightread_domain::result::{Measurement, Payload};
use proptest::prelude::*;

fn cohorts(a: &[ResultDocument], b: &[ResultDocument]) -> Cohorts {
    let mut cohorts = Cohorts::new(JoinKey::Study);
    for (side, documents) in [(Which::A, a), (Which::B, b)] {
        for document in documents {
            cohorts.add(side, document).unwrap();
        }
    }
    cohorts
}

fn compared(a: &[ResultDocument], b: &[ResultDocument], limits: RolloutLimits) -> Comparison {
    Comparison::of(&cohorts(a, b), &CompareOptions { limits, ..options() }).unwrap()
}

fn refused(a: &[ResultDocument], b: &[ResultDocument]) -> CompareError {
    Comparison::of(&cohorts(a, b), &options()).unwrap_err()
}

fn at_most_flips(limit: &str) -> RolloutLimits {
    RolloutLimits { flips: Some(limit.parse().unwrap()), ..RolloutLimits::default() }
}

/// `count` X-rays with two labels each; the first `flipped` are positive for the label Mass.
fn x_rays(version: &str, count: usize, flipped: usize) -> Vec<ResultDocument> {
    (0..count)
        .map(|n| {
            let mass = if n < flipped { 0.9 } else { 0.1 };
            document(&format!("{n:03}.png"), version, findings(&[("Mass", mass), ("Nodule", 0.2)]))
        })
        .collect()
}

/// Measurements are not compared, and that is said: agreement of findings is no agreement of them.
#[test]
fn documents_with_measurements_are_refused_in_words() {
    let measurement = Measurement { label: "Age".to_owned(), value: 54.5, unit: "a".to_owned() };
    let mut measured = document("a.png", "1.0.0", findings(&[("Mass", 0.5)]));
    let Some(Payload::Findings { measurements, .. }) = &mut measured.payload else { panic!("findings") };
    measurements.push(measurement);
    let refused = Cohorts::new(JoinKey::Study).add(Which::A, &measured).unwrap_err();
    assert!(refused.to_string().contains("measurements, which are not compared"), "{refused}");
}

#[test]
fn planted_flips_are_found_by_name_and_held_against_limits() {
    let (a, b) = (x_rays("1.0.0", 100, 0), x_rays("1.1.0", 100, 2));
    let found = compared(&a, &b, at_most_flips("1%"));
    assert_eq!((found.compared, found.decisions, found.flips, found.flip_share), (100, 200, 2, Some(0.01)));
    let named: Vec<_> =
        found.named_flips.iter().map(|flip| (flip.study.as_str(), flip.label.as_deref())).collect();
    assert_eq!(named, [("local/000.png", Some("Mass")), ("local/001.png", Some("Mass"))]);
    assert_eq!(found.named_flips[0].a.said.as_deref(), Some("negative"));
    assert_eq!((found.labels[0].became_positive, found.labels[0].became_negative), (2, 0));
    // 1 % of all decisions, but 2 % of one label.
    let past: Vec<_> =
        found.checks.iter().filter(|check| !check.passed).map(|check| check.what.as_str()).collect();
    assert_eq!(past, ["flips of Mass"]);
    assert!(!found.passed && compared(&a, &b, at_most_flips("2%")).passed);
    assert!(!compared(&a, &b, at_most_flips("1")).passed && compared(&a, &b, at_most_flips("2")).passed);
    assert!(compared(&a, &b, RolloutLimits::default()).passed, "no limit was asked for");
}

#[test]
fn what_is_missing_or_failed_on_one_side_is_past_the_limit() {
    let a = x_rays("1.0.0", 10, 0);
    let mut b = x_rays("1.1.0", 9, 0);
    b[0] = document("000.png", "1.1.0", None);
    let found = compared(&a, &b, RolloutLimits::default());
    assert_eq!((found.compared, found.studies, found.unpaired.studies), (8, 10, 2));
    let reasons: Vec<_> = found.unpaired.named.iter().map(|study| (study.reason, study.code)).collect();
    assert_eq!(reasons, [(Reason::FailedInB, Some("blob_empty")), (Reason::MissingInB, None)]);
    assert_eq!(found.failures["blob_empty"], [0, 1]);
    assert!(!found.passed);
    let few = RolloutLimits { unpaired: Limit::Percent(20.0), ..RolloutLimits::default() };
    assert!(compared(&a, &b, few).passed);
    // The other way round it is A that lacks them.
    let turned = compared(&b, &a, RolloutLimits::default());
    assert_eq!((turned.unpaired.failed_in_a, turned.unpaired.missing_in_a, turned.passed), (1, 1, false));
}

#[test]
fn failures_of_both_sides_are_no_difference_but_all_of_them_are_nothing() {
    let failed = |version| document("x.png", version, None);
    let mut a = x_rays("1.0.0", 3, 0);
    let mut b = x_rays("1.1.0", 3, 0);
    a.push(failed("1.0.0"));
    b.push(failed("1.1.0"));
    let found = compared(&a, &b, RolloutLimits::default());
    assert_eq!((found.failed_in_both, found.passed), (1, true));
    let lax = RolloutLimits { flips: None, unpaired: Limit::Percent(100.0) };
    let nothing = compared(&[failed("1.0.0")], &[failed("1.1.0")], lax);
    assert_eq!(
        (nothing.compared, nothing.decisions, nothing.flip_share, nothing.passed),
        (0, 0, None, false)
    );
}

#[test]
fn unreadable_documents_are_past_the_limit() {
    let cohorts = cohorts(&x_rays("1.0.0", 3, 0), &x_rays("1.1.0", 3, 0));
    let found = Comparison::of(&cohorts, &CompareOptions { unreadable: [0, 1], ..options() }).unwrap();
    assert!(!found.passed && found.b.unreadable == 1);
}

#[test]
fn other_bytes_under_one_name_are_not_compared() {
    let of = |version, digest: &str, mass| {
        let mut document = document("a.png", version, findings(&[("Mass", mass)]));
        document.study.sha256 = Some(digest.repeat(32));
        document
    };
    let other = x_rays("1.0.0", 1, 0);
    let a = [of("1.0.0", "ab", 0.1), other[0].clone()];
    let found = compared(&a, &[of("1.1.0", "cd", 0.9), other[0].clone()], RolloutLimits::default());
    assert_eq!((found.flips, found.unpaired.other_bytes, found.compared, found.passed), (0, 1, 1, false));
    let same = compared(&a, &[of("1.1.0", "ab", 0.9), other[0].clone()], RolloutLimits::default());
    assert_eq!((same.flips, same.unpaired.studies), (1, 0));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let a = x_rays("1.0.0", 2, 0);
    assert_eq!(refused(&a, &[]), CompareError::NoCommonStudy { a: 2, b: 0 });
    let elsewhere = [document("other.png", "1.1.0", findings(&[("Mass", 0.2)]))];
    assert_eq!(refused(&a, &elsewhere), CompareError::NoCommonStudy { a: 2, b: 1 });
    let alien = [document("000.png", "1.1.0", findings(&[("Hernia", 0.2)]))];
    assert_eq!(refused(&a, &alien), CompareError::NothingAlike);
    let twice = [x_rays("1.0.0", 1, 0), x_rays("1.1.0", 1, 0)].concat();
    let said = refused(&a, &twice).to_string();
    assert_eq!(said, "B has two documents of local/000.png: of m 1.0.0-fp32 and of m 1.1.0-fp32");
}

#[test]
fn documents_that_are_not_as_documents_are_leave_nothing_behind() {
    let mut cohorts = cohorts(&[], &[]);
    for payload in [
        findings(&[("Mass", 0.2), ("Mass", 0.3)]),
        findings(&[("Mass", f32::INFINITY)]),
        components(&[(0, Some("visual"), 0.5), (0, Some("motor"), 0.5)]),
        components(&[(0, Some("visual"), f32::NAN)]),
        segments(&[("liver", Some(1500.0), 60.0), ("liver", None, 0.0)]),
        segments(&[("liver", Some(f64::NAN), 60.0)]),
        segments(&[("liver", Some(1500.0), f64::INFINITY)]),
    ] {
        let unfit = cohorts.add(Which::A, &document("a", "1.0.0", payload));
        assert!(matches!(unfit, Err(CompareError::Unfit(_))), "{unfit:?}");
    }
    assert_eq!(cohorts.documents(Which::A), 0);
}

#[test]
fn components_are_matched_by_index_and_withheld_labels_are_changes() {
    let a = [document(
        "s.nii.gz",
        "1.0.0",
        components(&[(0, Some("visual"), 0.9), (1, Some("motor"), 0.8), (2, None, 0.0)]),
    )];
    let b = [document(
        "s.nii.gz",
        "1.1.0",
        components(&[(0, Some("visual"), 0.7), (1, None, 0.0), (3, None, 0.0)]),
    )];
    let found = compared(&a, &b, at_most_flips("0"));
    let scans = found.components.as_ref().unwrap();
    assert_eq!((scans.compared, scans.matched, scans.changed, scans.same_manifest), (2, 1, 1, Some(true)));
    let only: Vec<_> = scans.by_index.iter().map(|one| (one.index, one.only_in_a, one.only_in_b)).collect();
    assert_eq!(only, [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 0, 1)]);
    assert_eq!((found.named_flips[0].component, &found.named_flips[0].b.said), (Some(1), &None));
    let past: Vec<_> =
        found.checks.iter().filter(|check| !check.passed).map(|check| check.what.as_str()).collect();
    assert_eq!(past, ["flips", "changed labels of component 1"]);
}

#[test]
fn segments_are_joined_by_label_and_what_one_side_alone_finds_is_a_flip() {
    let a = [
        document(
            "a",
            "1.0.0",
            segments(&[("liver", Some(1500.0), 60.0), ("spleen", Some(200.0), 50.0), ("cyst", None, 0.0)]),
        ),
        document("b", "1.0.0", segments(&[("liver", Some(900.0), 40.0), ("spleen", None, 0.0)])),
    ];
    let b = [
        document(
            "a",
            "1.1.0",
            segments(&[("spleen", None, 0.0), ("liver", Some(1410.0), 61.0), ("duct", None, 0.0)]),
        ),
        document("b", "1.1.0", segments(&[("liver", Some(990.0), 38.0), ("spleen", Some(3.0), 45.0)])),
    ];
    let found = compared(&a, &b, at_most_flips("50%"));
    assert_eq!((found.decisions, found.flips, found.components.is_none()), (4, 2, true));
    let volumes = found.segments.as_ref().unwrap();
    assert_eq!((volumes.compared, volumes.matched, volumes.flips, volumes.agreement), (4, 2, 2, Some(0.5)));
    let labels: Vec<_> = volumes
        .by_label
        .iter()
        .map(|one| (one.label.as_str(), one.compared, one.only_in_a, one.only_in_b, one.flips))
        .collect();
    assert_eq!(
        labels,
        [("cyst", 0, 1, 0, 0), ("duct", 0, 0, 1, 0), ("liver", 2, 0, 0, 0), ("spleen", 2, 0, 0, 2)]
    );
    let (liver, spleen) = (&volumes.by_label[2], &volumes.by_label[3]);
    assert_eq!((liver.volume_ml.mean, liver.volume_ml.least), (Some(0.0), Some(-90.0)));
    assert_eq!((liver.mean_hu.mean, liver.found_in_both), (Some(-0.5), 2));
    // 90 of 1455, and 90 of 945.
    let share = liver.volume_percent.mean.unwrap();
    assert!((share - 50.0 * (90.0 / 945.0 - 90.0 / 1455.0)).abs() < 1e-12, "{share}");
    // What only one side found has no difference of volume: it is a flip.
    assert_eq!((spleen.appeared, spleen.vanished, spleen.volume_ml.pairs), (1, 1, 0));
    let named: Vec<_> = volumes
        .named_flips
        .iter()
        .map(|flip| (flip.study.as_str(), flip.found_in, flip.volume_ml_a, flip.volume_ml_b))
        .collect();
    assert_eq!(named, [("local/a", Which::A, 200.0, 0.0), ("local/b", Which::B, 0.0, 3.0)]);
    let past: Vec<_> =
        found.checks.iter().filter(|check| !check.passed).map(|check| check.what.as_str()).collect();
    assert_eq!(past, ["flips of the presence of spleen"]);
    let written = markdown(&page(&found));
    for words in [
        "| spleen | 2 | 0 | 0 | 0 | 0 | 1 | 1 | 0.0000 | \\-1.0000 |",
        "| local/a | spleen | A | 200.00 | 0.00 |",
        "| liver | 2 | 0.00 | 127.28 | \\-249.47 to +249.47 |",
        "2 of 4 segments are found on one side only",
    ] {
        assert!(written.contains(words), "{words}: {written}");
    }
    assert!(!written.contains("more flips"), "{written}");
}

#[test]
fn truth_of_other_studies_or_labels_is_refused() {
    let cohorts = cohorts(&x_rays("1.0.0", 3, 0), &x_rays("1.1.0", 3, 0));
    let columns = TruthColumns { study: "study".to_owned(), group: None };
    for (text, said) in [
        (
            "study,Mass\n000.png,1\n",
            "none of the compared studies is named: the first of them is \"local/000.png\", the first of the truth \"000.png\"",
        ),
        ("study,Fracture\nlocal/000.png,1\n", "no column is a label of both models; label columns: Fracture"),
    ] {
        let truth = Truth::read(text.as_bytes(), &columns).unwrap();
        let options = CompareOptions { truth: Some((&truth, None)), ..options() };
        assert_eq!(Comparison::of(&cohorts, &options).unwrap_err().to_string(), said);
    }
    let bad = Truth::read("study,Mass,Age\nlocal/000.png,-1,61\n".as_bytes(), &columns).unwrap();
    let said = Comparison::of(&cohorts, &CompareOptions { truth: Some((&bad, None)), ..options() });
    assert_eq!(said.unwrap_err().to_string(), "line 2: \"-1\" under \"Mass\" is neither 0, 1 nor empty");
    let truth = Truth::read("study,Mass,Fracture\nlocal/000.png,1,0\nx,0,1\n".as_bytes(), &columns).unwrap();
    let options = CompareOptions { truth: Some((&truth, None)), ..options() };
    let judged = Comparison::of(&cohorts, &options).unwrap().judgement.unwrap();
    assert_eq!((judged.studies, judged.studies_without_truth, judged.truth_without_study), (1, 2, 1));
    assert_eq!(
        (&judged.labels_without_truth[..], &judged.columns_without_label[..]),
        (&["Nodule".to_owned()][..], &["Fracture".to_owned()][..])
    );
    // One image: no area, no specificity, and no interval of anything.
    let mass = &judged.labels[0];
    assert_eq!(
        (mass.auc.a.value, mass.specificity.b.value, mass.sensitivity.a.value),
        (None, None, Some(0.0))
    );
    assert_eq!((mass.sensitivity.a.low, mass.brier.difference.low), (None, None));
}

#[test]
fn pages_say_what_was_found_and_names_are_text() {
    let name = "<script>|`.png";
    let a = [document(name, "1.0.0", findings(&[("<i>", 0.2)])), document("gone.png", "1.0.0", None)];
    let b = [document(name, "1.1.0", findings(&[("<i>", 0.8)]))];
    let truth = format!("study,<i>\n\"local/{name}\",1\n");
    let truth =
        Truth::read(truth.as_bytes(), &TruthColumns { study: "study".to_owned(), group: None }).unwrap();
    let options = CompareOptions { truth: Some((&truth, None)), ..options() };
    let page = page(&Comparison::of(&cohorts(&a, &b), &options).unwrap());
    let (written, shown) = (markdown(&page), html(&page));
    assert!(
        written.contains("local/\\<script\\>\\|\\`.png | \\<i\\> | negative | positive | 0.2000 | 0.8000"),
        "{written}"
    );
    assert!(
        shown.contains("<td>local&#x2f;&lt;script&gt;|`.png</td>") && !shown.contains("<script"),
        "{shown}"
    );
    assert!(shown.contains("<svg role=\"img\"") && shown.contains("Past the limits."));
    assert!(written.contains("| missing in B | 1 |") && written.ends_with("diagnosis.\n"));
}

proptest! {
    /// Nothing rests on the order in which documents come.
    #[test]
    fn order_does_not_matter(seed in any::<u64>(), flipped in 0_usize..20) {
        let (mut a, mut b) = (x_rays("1.0.0", 20, 3), x_rays("1.1.0", 18, flipped));
        let straight = serde_json::to_string(&compared(&a, &b, at_most_flips("5%"))).unwrap();
        let places = |seed: u64, n: usize| (seed.rotate_left(n as u32 * 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        a.sort_by_key(|one| places(seed, one.study.name.as_bytes()[2] as usize));
        b.sort_by_key(|one| places(!seed, one.study.name.as_bytes()[2] as usize));
        prop_assert_eq!(serde_json::to_string(&compared(&a, &b, at_most_flips("5%"))).unwrap(), straight);
    }
}
