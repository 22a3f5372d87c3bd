//! What networks give back: arrays of any rank, by name. What they mean is the reading's business.

use std::sync::Arc;
use std::time::Duration;

use ndarray::{ArrayD, Dimension};
use nightread_domain::{ErrorCode, JobError, Stage};

/// The arrays of one item, in the manifest's order, without the axis of the batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays(Vec<(Arc<str>, ArrayD<f32>)>);

impl FromIterator<(Arc<str>, ArrayD<f32>)> for Arrays {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, ArrayD<f32>)>>(arrays: I) -> Self {
        Self(arrays.into_iter().collect())
    }
}

impl Arrays {
    pub(crate) fn push(&mut self, name: &Arc<str>, array: ArrayD<f32>) {
        self.0.push((Arc::clone(name), array));
    }

    /// The output of this name.
    ///
    /// Errors: `model_mismatch` when the network gives none.
    pub fn get(&self, name: &str) -> Result<&ArrayD<f32>, JobError> {
        let found = self.0.iter().find(|(own, _)| &**own == name);
        found.map(|(_, array)| array).ok_or_else(|| {
            let words = format!("the network gives no output {name:?}");
            JobError::new(Stage::Infer, ErrorCode::ModelMismatch, words)
        })
    }

    /// The numbers of the output of this name, row-major.
    ///
    /// Errors: as [`Arrays::get`].
    pub fn values(&self, name: &str) -> Result<&[f32], JobError> {
        // Every array was made of a vector in standard order.
        self.get(name).map(|array| array.as_slice().unwrap_or_default())
    }

    /// NaN or infinite values mean that the study cannot be scored. Errors: `scores_not_finite`.
    pub(crate) fn check_finite(&self) -> Result<(), JobError> {
        for (name, array) in &self.0 {
            if array.iter().all(|value| value.is_finite()) {
                continue;
            }
            let first = array.indexed_iter().find(|(_, value)| !value.is_finite());
            let words = first.map_or_else(String::new, |(at, value)| format!("{:?} is {value}", at.slice()));
            return Err(JobError::new(
                Stage::Infer,
                ErrorCode::ScoresNotFinite,
                format!("the model's output {name}{words}"),
            ));
        }
        Ok(())
    }
}

/// Where an item's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From [`Engine::infer`](crate::Engine::infer) until a session took the item.
    pub queued: Duration,
    /// In the session, the whole batch.
    pub run: Duration,
    /// Items that ran together.
    pub batch: usize,
}

/// What the engine gives for one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// All finite.
    pub arrays: Arrays,
    pub timing: Timing,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrays(values: Vec<f32>) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.push(&"logits".into(), ArrayD::zeros(vec![3]));
        let shape = vec![2, 2, values.len() / 4];
        arrays.push(&"mask".into(), ArrayD::from_shape_vec(shape, values).unwrap());
        arrays
    }

    #[test]
    fn outputs_of_any_rank_are_had_by_name() {
        let arrays = arrays((0..12).map(|x| x as f32).collect());
        assert_eq!(arrays.get("mask").unwrap().shape(), [2, 2, 3]);
        assert_eq!(arrays.values("mask").unwrap()[11].to_bits(), 11.0_f32.to_bits());
        assert_eq!(arrays.values("logits").unwrap(), [0.0; 3]);
        assert_eq!(arrays.get("cam").unwrap_err().code, ErrorCode::ModelMismatch);
    }

    #[test]
    fn what_is_not_finite_is_told_with_its_place() {
        assert!(arrays(vec![1.0; 12]).check_finite().is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![0.0; 12];
            values[7] = bad;
            let error = arrays(values).check_finite().unwrap_err();
            assert_eq!(error.code, ErrorCode::ScoresNotFinite);
            assert!(error.message.contains("mask[1, 0, 1]"), "{error}");
        }
    }
}
