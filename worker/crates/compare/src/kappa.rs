//! Agreement of two readers beyond chance.

use std::collections::BTreeMap;

/// How often reader A said one thing and reader B another.
#[derive(Clone, Debug)]
pub(crate) struct Confusion<T> {
    counts: BTreeMap<(T, T), u64>,
    total: u64,
}

impl<T: Copy + Ord> Default for Confusion<T> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), total: 0 }
    }
}

impl<T: Copy + Ord> Confusion<T> {
    pub(crate) fn add(&mut self, a: T, b: T) {
        *self.counts.entry((a, b)).or_default() += 1;
        self.total += 1;
    }

    /// How often A said `a` where B said `b`.
    pub(crate) fn count(&self, a: T, b: T) -> u64 {
        self.counts.get(&(a, b)).copied().unwrap_or(0)
    }

    /// Every pair that was said, with its count, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = ((T, T), u64)> {
        self.counts.iter().map(|(pair, count)| (*pair, *count))
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How often both said the same.
    pub(crate) fn agreed(&self) -> u64 {
        self.pairs().filter(|((a, b), _)| a == b).map(|(_, count)| count).sum()
    }

    /// Share of what both said alike; none of nothing.
    pub(crate) fn agreement(&self) -> Option<f64> {
        (self.total > 0).then(|| self.agreed() as f64 / self.total as f64)
    }

    /// (p_o - p_e) / (1 - p_e) (Cohen 1960), in counts; undefined where chance alone would agree always: both said one and the same
    /// thing throughout.
    pub(crate) fn kappa(&self) -> Option<f64> {
        let (mut of_a, mut of_b) = (BTreeMap::<T, u64>::new(), BTreeMap::<T, u64>::new());
        for ((a, b), count) in self.pairs() {
            *of_a.entry(a).or_default() += count;
            *of_b.entry(b).or_default() += count;
        }
        let total = u128::from(self.total);
        let products = of_a.iter().map(|(said, count)| {
            u128::from(*count) * u128::from(of_b.get(said).copied().unwrap_or_default())
        });
        // Both times the square of the total, and so whole.
        let (expected, observed) = (products.sum::<u128>(), u128::from(self.agreed()) * total);
        let beyond = (total * total).checked_sub(expected).filter(|beyond| *beyond > 0)?;
        Some((observed as f64 - expected as f64) / beyond as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(counts: [[u64; 2]; 2]) -> Confusion<bool> {
        let mut confusion = Confusion::default();
        for (a, row) in [true, false].into_iter().zip(counts) {
            for (b, count) in [true, false].into_iter().zip(row) {
                (0..count).for_each(|_| confusion.add(a, b));
            }
        }
        confusion
    }

    /// The textbook's case of fifty applicants: p_o = 0.7, p_e = 0.5.
    #[test]
    fn kappa_is_as_by_hand() {
        let known = confusion([[20, 5], [10, 15]]);
        assert_eq!(known.agreement(), Some(0.7));
        assert!((known.kappa().expect("defined") - 0.4).abs() < 1e-15);
        assert_eq!(confusion([[0, 5], [5, 0]]).kappa(), Some(-1.0));
    }

    #[test]
    fn what_chance_would_always_give_is_undefined() {
        assert_eq!(confusion([[7, 0], [0, 0]]).kappa(), None);
        assert_eq!(
            (confusion([[0, 0], [0, 0]]).kappa(), confusion([[0, 0], [0, 0]]).agreement()),
            (None, None)
        );
        // One of them always says no: no agreement beyond chance, and that is defined.
        assert_eq!(confusion([[0, 0], [3, 4]]).kappa(), Some(0.0));
    }
}
