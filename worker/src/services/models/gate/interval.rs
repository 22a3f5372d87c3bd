//! A figure over items with its 95 % interval over patients, by the very draws of `by_group` in
//! `models/lib/nightread_models/metrics.py`: records of INT8 and of bf16 are held against each other.

use std::collections::BTreeSet;

use nightread_compare::quantile;

const DRAWS: usize = 2000;

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// `[value, low, high]`, four decimals, as manifests hold it.
    pub(super) fn rounded(self) -> [f64; 3] {
        [self.value, self.low, self.high].map(rounded)
    }
}

/// To four decimals.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.4}").parse().unwrap_or(value)
}

/// Whose item each is: places among the distinct names in their order.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub of_item: Vec<usize>,
    count: usize,
}

impl Groups {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let distinct: Vec<&str> = names.clone().collect::<BTreeSet<_>>().into_iter().collect();
        let of_item = names.map(|name| distinct.binary_search(&name).unwrap_or_default()).collect();
        Self { of_item, count: distinct.len() }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// `metric` takes a weight for each group. NaN, where it is undefined, is left out of the draws. Images of one patient are not
    /// independent: whole groups are drawn, as many as there are, with replacement.
    pub(super) fn interval(&self, metric: impl Fn(&[u64]) -> f64) -> Interval {
        let value = metric(&vec![1; self.count]);
        let mut numbers = Numpy::seeded_with_zero();
        let mut draws = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            let mut weights = vec![0; self.count];
            for _ in 0..self.count {
                weights[numbers.below(self.count)] += 1;
            }
            draws.push(metric(&weights));
        }
        draws.retain(|draw| !draw.is_nan());
        draws.sort_unstable_by(f64::total_cmp);
        let [low, high] = [0.025, 0.975].map(|share| quantile(&draws, share).unwrap_or(f64::NAN));
        // Few groups with the rarer class make a lopsided bootstrap: the interval still holds its value.
        Interval { value, low: low.min(value), high: high.max(value) }
    }
}

/// The numbers of `numpy.random.default_rng(0).integers`: PCG64 (O'Neill 2014), 32 bits at a time, brought below a bound as Lemire
/// (2019) does it.
struct Numpy {
    state: u128,
    /// The upper half of the last 64 bits, where only the lower one was taken.
    kept: Option<u32>,
}

impl Numpy {
    const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
    /// What NumPy's `SeedSequence(0)` gives.
    const STATE: u128 = 35_399_562_948_360_463_058_890_781_895_381_311_971;
    const INCREMENT: u128 = 87_136_372_517_582_989_555_478_159_403_783_844_777;

    const fn seeded_with_zero() -> Self {
        Self { state: Self::STATE, kept: None }
    }

    const fn next(&mut self) -> u32 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        self.state = self.state.wrapping_mul(Self::MULTIPLIER).wrapping_add(Self::INCREMENT);
        let folded = ((self.state >> 64) as u64) ^ (self.state as u64);
        let bits = folded.rotate_right((self.state >> 122) as u32);
        self.kept = Some((bits >> 32) as u32);
        bits as u32
    }

    /// Uniform in 0..bound. A bound of one takes no number.
    fn below(&mut self, bound: usize) -> usize {
        // There are fewer patients than 2^32.
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        if bound <= 1 {
            return 0;
        }
        let mut product = u64::from(self.next()) * u64::from(bound);
        if (product as u32) < bound {
            let least = bound.wrapping_neg() % bound;
            while (product as u32) < least {
                product = u64::from(self.next()) * u64::from(bound);
            }
        }
        (product >> 32) as usize
    }
}
