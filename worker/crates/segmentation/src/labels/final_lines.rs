//! Sums that no later patch reaches: divided, judged, and how sure the network is of them.

use super::map::LabelValues;
use super::ring::{EXPONENT, Piece, Ring};
use crate::window::Plan;

/// Scratch of one line along axis 0, and what is gathered of each class.
#[derive(Debug)]
pub struct FinalLines {
    weights: Vec<f32>,
    best: Vec<f32>,
    total: Vec<f32>,
    labels: Vec<u32>,
    /// Of the voxels that became a class, the sum of its probabilities and their number.
    probabilities: Vec<f64>,
    voxels: Vec<u64>,
}

impl FinalLines {
    pub fn new(length: usize, classes: usize) -> Self {
        Self {
            weights: vec![0.0; length],
            best: vec![0.0; length],
            total: vec![0.0; length],
            labels: vec![0; length],
            probabilities: vec![0.0; classes],
            voxels: vec![0; classes],
        }
    }

    pub fn bytes(&self) -> usize {
        4 * (self.weights.capacity() + self.best.capacity() + self.total.capacity() + self.labels.capacity())
            + 8 * (self.probabilities.capacity() + self.voxels.capacity())
    }

    /// Divides the sums of a piece by the sums of the weights and takes the labels. False when a mean is not finite.
    pub fn settle(&mut self, ring: &mut Ring, piece: Piece, plan: &Plan, labels: &mut LabelValues) -> bool {
        let [weights, best, total] =
            [&mut self.weights, &mut self.best, &mut self.total].map(|scratch| &mut scratch[..piece.len]);
        let winners = &mut self.labels[..piece.len];
        plan.weight_sums(piece.at, weights);
        for weight in weights.iter_mut() {
            *weight = 1.0 / *weight;
        }
        best.fill(f32::NEG_INFINITY);
        winners.fill(0);
        let classes = self.voxels.len();
        let mut unbounded = 0u32;
        for class in 0..classes {
            let mark = class as u32;
            let line = ring.line(piece, class).iter_mut().zip(weights.iter());
            for (((logit, &weight), best), winner) in line.zip(best.iter_mut()).zip(winners.iter_mut()) {
                let mean = *logit * weight;
                *logit = mean;
                unbounded |= u32::from(mean.to_bits() & EXPONENT == EXPONENT);
                let better = mean > *best;
                *best = if better { mean } else { *best };
                *winner = if better { mark } else { *winner };
            }
        }
        if unbounded != 0 {
            return false;
        }
        let first = (piece.at[2] * plan.shape[1] + piece.at[1]) * plan.shape[0] + piece.at[0];
        for (index, &winner) in winners.iter().enumerate() {
            labels.set(first + index, winner as usize);
        }
        if winners.iter().all(|&winner| winner == 0) {
            return true;
        }
        total.fill(0.0);
        for class in 0..classes {
            for ((total, &logit), &best) in
                total.iter_mut().zip(ring.line(piece, class).iter()).zip(best.iter())
            {
                *total += exp(logit - best);
            }
        }
        for (&winner, &total) in winners.iter().zip(total.iter()).filter(|(winner, _)| **winner != 0) {
            self.probabilities[winner as usize] += f64::from(1.0 / total);
            self.voxels[winner as usize] += 1;
        }
        true
    }

    /// For each class but 0 the mean probability of its voxels; `None` for classes without voxels.
    pub fn confidence(&self) -> Vec<Option<f32>> {
        let mean = |(&sum, &count): (&f64, &u64)| (count > 0).then(|| (sum / count as f64) as f32);
        self.probabilities.iter().zip(&self.voxels).map(mean).collect()
    }
}

/// e to the power of `x <= 0`, to 3e-7 of it: a form that compilers make vectors of. Under 2^-126 it gives that.
fn exp(x: f32) -> f32 {
    // Adding it leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let power = (x * std::f32::consts::LOG2_E).max(-126.0);
    let shifted = power + ROUNDER;
    let rest = (power - (shifted - ROUNDER)) * std::f32::consts::LN_2;
    // Taylor's series on |rest| <= ln 2 / 2.
    let value = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest / 720.0)))));
    f32::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_e_are_right_to_single_precision() {
        for step in 0..200_000 {
            let x = -(step as f32) * 4e-4;
            let (got, right) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - right).abs() <= 1e-5 * right, "{x}: {got} {right}");
            assert!(x < -20.0 || (got - right).abs() <= 2e-6 * right, "{x}: {got} {right}");
        }
        assert!(exp(-1e30) < 1e-37);
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
    }
}
