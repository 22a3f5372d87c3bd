//! Which provider computes a model fastest here, of those that answer alike.

use std::time::{Duration, Instant};

use nightread_domain::JobError;

use crate::configure::SessionOptions;
use crate::manifest::{ArrayShape, Manifest};
use crate::measurements::measurements;
use crate::model::VerifiedModel;
use crate::outputs::Arrays;
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::scores::scores;
use crate::session::ModelSession;
use crate::tune::{RUNS, median, sample};

/// How far answers of two providers may lie apart and be taken for the same: in a probability, and in any other number as a share of
/// the largest of its kind. Kernels that add in another order differ by some 1e-6 here; bfloat16, or 8-bit numbers that are
/// rounded elsewhere, by 1e-3 and more. It is the distance that this project holds itself to against other programs.
pub const TOLERANCE: f64 = 1e-4;

/// A provider must be faster than the CPU's own by this share to be taken: a choice that turns with the machine's load helps
/// nobody.
const CLEARLY: f64 = 1.03;

/// The provider with the least median time of single items in a session of one thread, of those whose answers to generated images
/// lie within [`TOLERANCE`] of ONNX Runtime's own kernels. One that cannot run the model is none. Where the library has only
/// those kernels, nothing is timed. Blocks for a second or two.
///
/// # Errors
/// As [`ModelSession::open`] and [`ModelSession::run`] of the CPU's own provider.
pub fn fastest_provider(runtime: &Runtime, model: &VerifiedModel) -> Result<Provider, JobError> {
    let mut fastest = Provider::Cpu;
    if runtime.providers().iter().all(|provider| *provider == fastest) {
        return Ok(fastest);
    }
    let items = generated(model.manifest());
    let mut reference = Candidate::open(runtime, model, Provider::Cpu)?;
    let expected = reference.answers(&items)?;
    let mut least = None;
    for provider in runtime.providers().iter().copied().filter(|provider| *provider != Provider::Cpu) {
        let other = Candidate::open(runtime, model, provider);
        let tried = other.and_then(|mut other| Ok((other.answers(&items)?, other)));
        let (found, mut other) = match tried {
            Ok(tried) => tried,
            Err(error) => {
                tracing::info!(model = %model.key(), %provider, %error, "this provider cannot run the model");
                continue;
            }
        };
        let apart = apart(model.manifest(), &expected, &found);
        let agrees = apart.is_some_and(|apart| apart <= TOLERANCE);
        if agrees {
            // In turns, so that a machine whose load changes favours neither.
            for _ in 0..RUNS {
                reference.time(&items[0])?;
                other.time(&items[0])?;
            }
            let (ours, theirs) = (median(&mut reference.times), median(&mut other.times));
            if ours > theirs.mul_f64(CLEARLY) && least.is_none_or(|least| theirs < least) {
                (fastest, least) = (provider, Some(theirs));
            }
            tracing::info!(model = %model.key(), %provider, ?theirs, ?ours, apart, "timed a provider beside the CPU's own");
        } else {
            tracing::info!(model = %model.key(), %provider, apart, "answers of this provider differ: it is not taken");
        }
    }
    tracing::info!(model = %model.key(), chosen = %fastest, "tried the providers");
    Ok(fastest)
}

struct Candidate {
    session: ModelSession,
    times: Vec<Duration>,
}

impl Candidate {
    fn open(runtime: &Runtime, model: &VerifiedModel, provider: Provider) -> Result<Self, JobError> {
        let options = SessionOptions { provider, intra_threads: 1, shares_cores: true, memory_plan: false };
        let session = ModelSession::open(runtime, model, options)?;
        model.verify()?;
        Ok(Self { session, times: Vec::new() })
    }

    /// The outputs for each item, run alone.
    fn answers(&mut self, items: &[Vec<f32>]) -> Result<Vec<Arrays>, JobError> {
        let run = |item: &Vec<f32>| self.session.run(&[item]);
        Ok(items.iter().map(run).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn time(&mut self, item: &[f32]) -> Result<(), JobError> {
        let start = Instant::now();
        self.session.run(&[item])?;
        self.times.push(start.elapsed());
        Ok(())
    }
}

/// Items within the manifest's range that differ in what they show: grain alone, and slopes and waves of several widths below it.
fn generated(manifest: &Manifest) -> Vec<Vec<f32>> {
    let [low, high] = manifest.input.value_range;
    let grain = sample(manifest);
    let side = manifest.input.item_shape.last().copied().unwrap_or(1).max(1);
    let waves = |width: f64| {
        let value = |(at, grain): (usize, &f32)| {
            let (x, y) = ((at % side) as f64, (at / side) as f64);
            let wave = 0.5 + 0.5 * (x / width).sin() * (y / (1.7 * width)).cos();
            (0.9 * (low + (high - low) * wave) + 0.1 * f64::from(*grain)) as f32
        };
        grain.iter().enumerate().map(value).collect::<Vec<f32>>()
    };
    let widths = [3.0, 20.0, 70.0].map(waves);
    std::iter::once(grain.clone()).chain(widths).collect()
}

/// The greatest distance between two providers' answers to the same items, as [`TOLERANCE`] measures it; `None` where they cannot
/// be compared.
fn apart(manifest: &Manifest, expected: &[Arrays], found: &[Arrays]) -> Option<f64> {
    let mut greatest = 0.0_f64;
    for (expected, found) in expected.iter().zip(found) {
        let probabilities = scores(manifest, expected).ok()?.into_iter().zip(scores(manifest, found).ok()?);
        for (ours, theirs) in probabilities {
            greatest = greatest.max(f64::from((ours.probability - theirs.probability).abs()));
        }
        let numbers =
            measurements(manifest, expected).ok()?.into_iter().zip(measurements(manifest, found).ok()?);
        for (ours, theirs) in numbers {
            greatest = greatest.max(share(&[ours.value], &[theirs.value])?);
        }
        for ArrayShape { name, .. } in manifest.outputs() {
            greatest = greatest.max(share(expected.values(&name).ok()?, found.values(&name).ok()?)?);
        }
    }
    Some(greatest)
}

/// The greatest difference between two arrays of the same shape, as a share of the largest value, where that is above one.
fn share(ours: &[f32], theirs: &[f32]) -> Option<f64> {
    let is_number = |values: &[f32]| values.iter().all(|value| value.is_finite());
    if ours.len() != theirs.len() || !is_number(ours) || !is_number(theirs) {
        return None;
    }
    let largest = ours.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    let greatest = ours.iter().zip(theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    Some(f64::from(greatest) / f64::from(largest))
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;
    use crate::testing;

    fn arrays(logits: [f32; 2]) -> Vec<Arrays> {
        let mut arrays = Arrays::default();
        arrays.push(&"logits".into(), ArrayD::from_shape_vec(vec![2], logits.to_vec()).unwrap());
        vec![arrays]
    }

    #[test]
    fn a_probability_or_a_number_that_differs_is_seen() {
        let manifest = testing::manifest("model", 2);
        let apart = |ours, theirs| apart(&manifest, &arrays(ours), &arrays(theirs));
        assert_eq!(apart([0.5, -1.0], [0.5, -1.0]), Some(0.0));
        // sigmoid(0) and sigmoid(0.001): 2.5e-4 in probability, and 1e-3 in the logit.
        let found = apart([0.0, -1.0], [0.001, -1.0]).unwrap();
        assert!((found - 1e-3).abs() < 1e-6, "{found}");
        // Probabilities are one for both: the logits tell.
        let found = apart([100.0, 50.0], [100.0, 51.0]).unwrap();
        assert!((found - 0.01).abs() < 1e-6, "{found}");
        assert_eq!(apart([0.0, 0.0], [f32::NAN, 0.0]), None);
    }

    #[test]
    fn generated_items_are_within_the_range_and_differ() {
        let mut manifest = testing::manifest("model", 1);
        manifest.input.item_shape = vec![1, 64, 64];
        let [low, high] = manifest.input.value_range.map(|bound| bound as f32);
        let items = generated(&manifest);
        for (number, item) in items.iter().enumerate() {
            assert_eq!(item.len(), 64 * 64);
            assert!(item.iter().all(|value| (low..=high).contains(value)));
            assert!(items[..number].iter().all(|other| other != item));
        }
    }
}
