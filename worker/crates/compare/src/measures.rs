//! How well scores and decisions meet the truth, with whole numbers as weights: those of a bootstrap draw.

use crate::roc::RocArea;

/// Bins of the reliability diagram, of equal width over [0, 1].
pub(crate) const BINS: usize = 10;

/// One image under one label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub score: f32,
    /// Of the patient.
    pub group: u32,
    pub truth: bool,
    pub positive: bool,
}

/// Images under one label, by ascending score.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    /// Group, truth and decision in one number each (`packed`): a draw goes over all of them.
    images: Vec<u32>,
    ties: Vec<Tie>,
}

/// Images of one score.
#[derive(Clone, Copy, Debug)]
struct Tie {
    score: f32,
    images: usize,
}

/// A bin of the reliability diagram, weighted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bin {
    pub images: u64,
    pub true_images: u64,
    /// Sum of the scores.
    pub scores: f64,
}

impl Bin {
    /// The share of images with the finding; NaN of none.
    pub(crate) const fn observed(&self) -> f64 {
        self.true_images as f64 / self.images as f64
    }
}

/// Of one set of weights. NaN is undefined; it does not leave this crate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub images: u64,
    pub true_images: u64,
    /// Area under the ROC curve, [`RocArea::value`].
    pub auc: f64,
    /// Share of the true images that were decided positive.
    pub sensitivity: f64,
    /// Share of the false images that were decided negative.
    pub specificity: f64,
    /// Mean square of score - truth (Brier 1950).
    pub brier: f64,
    pub bins: [Bin; BINS],
}

impl Ranked {
    pub(crate) fn new(mut images: Vec<Scored>) -> Self {
        for image in &mut images {
            // -0 is 0, and tied with it.
            image.score += 0.0;
        }
        images.sort_by(|one, other| one.score.total_cmp(&other.score));
        let ties = images
            .chunk_by(|one, other| one.score.to_bits() == other.score.to_bits())
            .filter_map(|tied| Some(Tie { score: tied.first()?.score, images: tied.len() }))
            .collect();
        Self { images: images.iter().map(packed).collect(), ties }
    }

    /// The measures with each image counted as often as its group's weight says.
    pub(crate) fn measure(&self, weights: &[u32]) -> Measured {
        let mut bins = [Bin::default(); BINS];
        let mut area = RocArea::default();
        let (mut hits, mut rejections, mut squares) = (0_u64, 0_u64, 0.0);
        let mut rest = self.images.as_slice();
        for tie in &self.ties {
            let (tied, after) = rest.split_at(tie.images);
            rest = after;
            // By decision and truth.
            let mut counts = [0_u64; 4];
            for image in tied {
                let weight = weights.get((image >> 2) as usize).copied().unwrap_or(0);
                counts[(image & 3) as usize] += u64::from(weight);
            }
            let [rejected, missed, alarmed, hit] = counts;
            let (tied_trues, tied_falses) = (missed + hit, rejected + alarmed);
            let score = f64::from(tie.score);
            let images = tied_trues + tied_falses;
            squares += tied_trues as f64 * (1.0 - score).powi(2) + tied_falses as f64 * score.powi(2);
            let bin = &mut bins[bin_of(score)];
            bin.images += images;
            bin.true_images += tied_trues;
            bin.scores += images as f64 * score;
            area.add(tied_trues, tied_falses);
            hits += hit;
            rejections += rejected;
        }
        let (trues, falses) = (area.trues(), area.falses());
        Measured {
            images: trues + falses,
            true_images: trues,
            auc: area.value(),
            sensitivity: hits as f64 / trues as f64,
            specificity: rejections as f64 / falses as f64,
            brier: squares / (trues + falses) as f64,
            bins,
        }
    }
}

/// The group above two bits: decided positive, true. There are fewer than 2^30 patients.
fn packed(image: &Scored) -> u32 {
    image.group << 2 | u32::from(image.positive) << 1 | u32::from(image.truth)
}

/// [0, 0.1), [0.1, 0.2), ... [0.9, 1].
fn bin_of(score: f64) -> usize {
    // A cast of what is below 0 gives 0.
    ((score * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(score: f32, group: u32, truth: bool) -> Scored {
        Scored { score, group, truth, positive: score >= 0.5 }
    }

    #[test]
    fn measures_are_as_by_hand() {
        let images = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let images = images.map(|(score, truth)| image(score, 0, truth));
        let found = Ranked::new(images.into()).measure(&[1]);
        assert_eq!((found.auc, found.sensitivity, found.specificity), (0.75, 0.5, 1.0));
        let brier = (0.01 + 0.16 + 0.4225 + 0.04) / 4.0;
        assert!((found.brier - brier).abs() < 1e-7, "{}", found.brier);
        assert_eq!(found.bins.map(|bin| bin.images), [0, 1, 0, 1, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn one_class_alone_leaves_undefined_what_needs_both() {
        let found = Ranked::new(vec![image(0.2, 0, true), image(0.9, 0, true)]).measure(&[1]);
        assert!(found.auc.is_nan() && found.specificity.is_nan());
        assert!((found.sensitivity - 0.5).abs() < 1e-15);
        assert!(Ranked::new(Vec::new()).measure(&[]).brier.is_nan());
    }

    #[test]
    fn the_last_bin_has_both_ends() {
        assert_eq!([0.0, 0.1, 0.999, 1.0].map(bin_of), [0, 1, 9, 9]);
    }

    proptest! {
        /// A weight is so many copies; and the area is the share of pairs, counted one by one.
        #[test]
        fn weights_are_copies(
            rows in prop::collection::vec((0_u8..6, 0_u32..4, any::<bool>()), 1..25),
            weights in prop::collection::vec(0_u32..4, 4),
        ) {
            let images: Vec<_> =
                rows.into_iter().map(|(score, group, truth)| image(f32::from(score) / 5.0, group, truth)).collect();
            let copies: Vec<_> = images
                .iter()
                .flat_map(|image| std::iter::repeat_n(*image, weights[image.group as usize] as usize))
                .collect();
            let weighted = Ranked::new(images).measure(&weights);
            let (trues, falses): (Vec<Scored>, Vec<Scored>) = copies.iter().partition(|image| image.truth);
            let halves: u32 = trues
                .iter()
                .flat_map(|one| falses.iter().map(|other| match one.score.total_cmp(&other.score) {
                    std::cmp::Ordering::Greater => 2,
                    std::cmp::Ordering::Equal => 1,
                    std::cmp::Ordering::Less => 0,
                }))
                .sum();
            let pairs = 2 * trues.len() * falses.len();
            if pairs == 0 {
                prop_assert!(weighted.auc.is_nan());
            } else {
                prop_assert!((weighted.auc - f64::from(halves) / pairs as f64).abs() < 1e-12);
            }
            prop_assert_eq!(weighted.images as usize, copies.len());
            let alone = Ranked::new(copies).measure(&[1; 4]);
            for (one, other) in [
                (weighted.sensitivity, alone.sensitivity),
                (weighted.specificity, alone.specificity),
                (weighted.brier, alone.brier),
            ] {
                prop_assert!((one - other).abs() < 1e-12 || (one.is_nan() && other.is_nan()));
            }
        }
    }
}
