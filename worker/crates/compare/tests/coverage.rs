//! How often the intervals hold what they should, over simulated cohorts of patients with several images each, whose true figures are known.
//!
//! An image's score is its truth's shift + the patient's own + its own deviation, normal of variance 0.7 and 0.3, so that the area under
//! the curve is Phi(shift / sqrt 2) whatever the patients are, and the sensitivity at 0.5 is Phi(shift / 2) with the border midway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fmt::Write;

use common::{bootstrap, document, options};
use nightread_compare::{
    Cohorts, CompareOptions, Comparison, JoinKey, JudgedLabel, Truth, TruthColumns, Which,
};
use nightread_domain::result::{Finding, Payload};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

const COHORTS: u64 = 1000;
/// Of them, those whose images are drawn one by one too.
const BY_IMAGE: u64 = 200;
const PATIENTS: usize = 200;
const DRAWS: usize = 300;
/// Shifts of the true images in A and B.
const SHIFTS: [f64; 2] = [1.2, 1.5];
/// Phi(1.2 / sqrt 2), Phi(1.5 / sqrt 2).
const AUC: [f64; 2] = [0.801_930_57, 0.855_577_83];
/// Phi(0.6), Phi(0.75).
const SENSITIVITY: [f64; 2] = [0.725_746_88, 0.773_372_65];

struct Normal(Xoshiro256PlusPlus);

impl Normal {
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box and Muller (1958).
    fn next(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A cohort and its truth: one label, 1 to 6 images a patient, half of the patients ill.
fn cohort(seed: u64) -> (Cohorts, String) {
    let mut normal = Normal(Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut cohorts = Cohorts::new(JoinKey::Name);
    let mut truth = "study,patient,Mass\n".to_owned();
    for patient in 0..PATIENTS {
        let is_ill = patient % 2 == 0;
        let own = [normal.next(), normal.next()].map(|own| 0.7_f64.sqrt() * own);
        for image in 0..=(normal.uniform() * 6.0) as usize {
            let study = format!("{patient}-{image}");
            writeln!(truth, "{study},{patient},{}", u8::from(is_ill)).unwrap();
            for (side, which) in [Which::A, Which::B].into_iter().enumerate() {
                let shift = if is_ill { SHIFTS[side] } else { 0.0 };
                // The border of a decision is midway.
                let logit = shift + own[side] + 0.3_f64.sqrt() * normal.next() - SHIFTS[side] / 2.0;
                let probability = (1.0 / (1.0 + (-logit).exp())) as f32;
                let (label, logit) = ("Mass".to_owned(), logit as f32);
                let finding =
                    Finding { label, logit, probability, threshold: 0.5, positive: probability >= 0.5 };
                let payload = Some(Payload::Findings { findings: vec![finding], measurements: Vec::new() });
                cohorts.add(which, &document(&study, "1.0.0", payload)).unwrap();
            }
        }
    }
    (cohorts, truth)
}

fn judged(cohorts: &Cohorts, truth: &str, group: Option<&str>, seed: u64) -> JudgedLabel {
    let columns = TruthColumns { study: "study".to_owned(), group: group.map(str::to_owned) };
    let truth = Truth::read(truth.as_bytes(), &columns).unwrap();
    let options =
        CompareOptions { truth: Some((&truth, group)), bootstrap: bootstrap(DRAWS, seed), ..options() };
    Comparison::of(cohorts, &options).unwrap().judgement.unwrap().labels.remove(0)
}

/// Counts which intervals hold the true figure.
fn count(held: &mut [u64; 5], label: &JudgedLabel) {
    let figures = [
        (&label.auc.a, AUC[0]),
        (&label.auc.b, AUC[1]),
        (&label.auc.difference, AUC[1] - AUC[0]),
        (&label.sensitivity.a, SENSITIVITY[0]),
        (&label.specificity.b, SENSITIVITY[1]),
    ];
    for (count, (interval, figure)) in held.iter_mut().zip(figures) {
        *count += u64::from(interval.low.unwrap() <= figure && figure <= interval.high.unwrap());
    }
}

#[test]
fn intervals_by_patient_hold_as_often_as_they_say_and_those_by_image_do_not() {
    let mut by_patient = [0_u64; 5];
    let mut by_image = [0_u64; 5];
    for seed in 0..COHORTS {
        let (cohorts, truth) = cohort(seed);
        count(&mut by_patient, &judged(&cohorts, &truth, Some("patient"), seed));
        if seed < BY_IMAGE {
            count(&mut by_image, &judged(&cohorts, &truth, None, seed));
        }
    }
    let share = |held: [u64; 5], of: u64| held.map(|count| count as f64 / of as f64);
    let (by_patient, by_image) = (share(by_patient, COHORTS), share(by_image, BY_IMAGE));
    println!("by patient {by_patient:?}, by image {by_image:?}");
    assert!(by_patient.iter().all(|share| (0.92..=0.98).contains(share)), "{by_patient:?}");
    assert!(by_image.iter().all(|share| *share < 0.85), "{by_image:?}");
}
