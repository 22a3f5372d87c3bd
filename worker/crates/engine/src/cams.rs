//! Class-activation maps: the network's own, or made here of what it gives before its classifier.
//!
//! A network that ends in a mean over places and a linear classifier has the map c(l, y, x) = sum over channels k of
//! w(l, k) f(k, y, x) (Zhou et al. 2016): its mean and the label's bias are the label's logit.

use ndarray::ArrayD;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::manifest::{Cam, ClassifierWeights, Manifest, Precision};
use crate::outputs::Arrays;
use crate::{digest, initialiser, npy};

/// How the maps of each head of a model are had, in the manifest's order; of none where it gives no maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cams(Vec<Source>);

#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// An output (labels, h, w).
    Output(String),
    /// An output (channels, h, w), and the classifier's weights.
    Features { features: String, classifier: Classifier },
}

/// The weights of a linear classifier, (labels, channels) row-major.
#[derive(Clone, Debug, PartialEq)]
struct Classifier {
    labels: usize,
    channels: usize,
    weights: Vec<f32>,
}

impl Cams {
    /// Reads the weights that a manifest names. Call it when the digests of the model's files were compared.
    ///
    /// Errors: `model_mismatch` when they are not there, have another digest, or do not fit the labels.
    pub(crate) fn open(manifest: &Manifest, precision: Precision) -> Result<Self, JobError> {
        let mut sources = Vec::new();
        for (number, head) in manifest.output.heads.iter().enumerate() {
            match &head.cam {
                None => {}
                Some(Cam::Output(name)) => sources.push(Source::Output(name.clone())),
                Some(Cam::Features { features, weights }) => {
                    let labels = manifest.columns(number).count();
                    let classifier = read(manifest, precision, weights)
                        .and_then(|(shape, weights)| Classifier::new(&shape, weights, labels));
                    let classifier = classifier.map_err(|words| mismatch(Stage::Start, words))?;
                    sources.push(Source::Features { features: features.clone(), classifier });
                }
            }
        }
        Ok(Self(sources))
    }

    /// The maps of one item by head, each (labels, h, w), in logits without the bias.
    ///
    /// Errors: `model_mismatch` when an output is not there or has not the classifier's channels.
    pub fn of_item(&self, arrays: &Arrays) -> Result<Vec<ArrayD<f32>>, JobError> {
        let maps = self.0.iter().map(|source| match source {
            Source::Output(name) => arrays.get(name).cloned(),
            Source::Features { features, classifier } => classifier
                .maps(arrays.get(features)?)
                .map_err(|words| mismatch(Stage::Infer, format!("output {features:?} {words}"))),
        });
        maps.collect()
    }
}

/// Shape and values of the classifier's weights. Errors are words.
fn read(
    manifest: &Manifest,
    precision: Precision,
    weights: &ClassifierWeights,
) -> Result<(Vec<usize>, Vec<f32>), String> {
    match weights {
        ClassifierWeights::Initialiser(name) => {
            let graph = manifest.weights(precision).map_or("", |weights| weights.file.as_str());
            initialiser::read(&manifest.path_of(graph), name).map_err(|words| format!("{graph:?} {words}"))
        }
        ClassifierWeights::File(listed) => {
            let file = &listed.file;
            let bytes = std::fs::read(manifest.path_of(file))
                .map_err(|error| format!("{file:?} cannot be read: {error}"))?;
            let found = digest::of_bytes(&bytes);
            if found != listed.sha256 {
                return Err(format!("{file:?} has sha256 {found}, the manifest says {}", listed.sha256));
            }
            npy::read(&bytes).map_err(|words| format!("{file:?} {words}"))
        }
    }
}

impl Classifier {
    /// Of a matrix (labels, channels), or a convolution of 1 x 1 places. Errors are words.
    fn new(shape: &[usize], weights: Vec<f32>, labels: usize) -> Result<Self, String> {
        let channels = match *shape {
            [rows, channels] | [rows, channels, 1, 1] if rows == labels && channels > 0 => channels,
            _ => {
                return Err(format!(
                    "the classifier's weights for maps are {shape:?}, not ({labels} labels, channels): name others, or \
                     save them turned as .npy (weights_file)"
                ));
            }
        };
        if weights.len() != labels * channels || weights.iter().any(|weight| !weight.is_finite()) {
            return Err("the classifier's weights for maps are not all there, or not all finite".to_owned());
        }
        Ok(Self { labels, channels, weights })
    }

    /// Sums in `f64`. Errors are words.
    fn maps(&self, features: &ArrayD<f32>) -> Result<ArrayD<f32>, String> {
        let Self { labels, channels, weights } = self;
        let (height, width) = match *features.shape() {
            [found, height, width] if found == *channels => (height, width),
            ref other => return Err(format!("is {other:?}; the classifier has {channels} channels")),
        };
        let size = height * width;
        let values = features.as_slice().unwrap_or_default();
        let mut maps = Vec::with_capacity(labels * size);
        for row in weights.chunks_exact(*channels) {
            let mut map = vec![0.0_f64; size];
            for (weight, plane) in row.iter().zip(values.chunks_exact(size)) {
                for (sum, value) in map.iter_mut().zip(plane) {
                    *sum += f64::from(*weight) * f64::from(*value);
                }
            }
            maps.extend(map.into_iter().map(|sum| sum as f32));
        }
        ArrayD::from_shape_vec(vec![*labels, height, width], maps).map_err(|error| error.to_string())
    }
}

fn mismatch(stage: Stage, words: String) -> JobError {
    JobError::new(stage, ErrorCode::ModelMismatch, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_the_classifier_at_each_place() {
        let classifier = Classifier::new(&[2, 3], vec![1.0, 0.0, -1.0, 0.5, 2.0, 0.0], 2).unwrap();
        let features = ArrayD::from_shape_vec(vec![3, 1, 2], vec![1.0, 2.0, 10.0, 20.0, 4.0, 8.0]).unwrap();
        let maps = classifier.maps(&features).unwrap();
        assert_eq!(maps.shape(), [2, 1, 2]);
        assert_eq!(maps.as_slice().unwrap(), [-3.0, -6.0, 20.5, 41.0]);
        let convolved = Classifier::new(&[2, 3, 1, 1], classifier.weights.clone(), 2).unwrap();
        assert_eq!(convolved, classifier);
        let other = ArrayD::zeros(vec![4, 1, 2]);
        assert!(classifier.maps(&other).unwrap_err().contains("has 3 channels"));
    }

    #[test]
    fn weights_that_do_not_fit_the_labels_are_refused() {
        for (shape, weights) in [
            (vec![3, 2], vec![0.0; 6]),
            (vec![6], vec![0.0; 6]),
            (vec![2, 3, 3, 3], vec![0.0; 54]),
            (vec![2, 0], Vec::new()),
        ] {
            let words = Classifier::new(&shape, weights, 2).unwrap_err();
            assert!(words.contains("(2 labels, channels)"), "{words}");
        }
        assert!(Classifier::new(&[1, 2], vec![1.0, f32::NAN], 1).unwrap_err().contains("finite"));
        assert!(Classifier::new(&[1, 2], vec![1.0], 1).unwrap_err().contains("not all there"));
    }
}
