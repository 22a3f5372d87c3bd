//! The files that make up a model.

use std::collections::BTreeSet;

use super::{Cam, ClassifierWeights, MANIFEST_FILE, Manifest, Precision};

impl Manifest {
    /// The names of all files in the folder that the model is read with: the manifest, what it names, and the card. Weights
    /// and maps that a template leaves to be brought are none of them.
    pub fn files(&self) -> BTreeSet<&str> {
        let weights = Precision::WITH_FILES.into_iter().filter_map(|precision| self.weights(precision));
        let weights = weights.filter(|weights| weights.sha256.is_some()).flat_map(|weights| {
            std::iter::once(&weights.file).chain(weights.data.iter().map(|data| &data.file))
        });
        let classifiers = self.output.heads.iter().filter_map(|head| match &head.cam {
            Some(Cam::Features { weights: ClassifierWeights::File(listed), .. }) => Some(&listed.file),
            _ => None,
        });
        let maps = self.maps.iter().filter(|maps| maps.sha256.is_some());
        let maps = maps.flat_map(|maps| std::iter::once(&maps.file).chain(&maps.mask));
        let named = weights.chain(classifiers).chain(maps).chain([&self.card]);
        named.map(String::as_str).chain([MANIFEST_FILE]).collect()
    }
}
