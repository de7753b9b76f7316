//! Inverted dropout with masks that are functions of where a value is, not of when it is computed.

use crate::nn::random::{key, mix};
use crate::nn::simd::vectorized;

/// Which values of which sentence are dropped in one training step.
///
/// A mask is computed from (seed, site, sentence, step, column), so that neither the order of sentences in
/// a shard nor the number of threads changes it; backward computes it again instead of storing it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    probability: f32,
    seed: u64,
}

impl Dropout {
    /// Drops with `probability` (0 to below 1) under the masks of `seed`.
    pub fn new(probability: f32, seed: u64) -> Self {
        Self { probability, seed }
    }

    /// The probability that a value is dropped.
    pub fn probability(&self) -> f32 {
        self.probability
    }

    /// Scales each value of a vector by 0 or `1 / (1 - probability)`: forward for values, backward for
    /// gradients. `site` tells one use in the network from another.
    pub fn apply(&self, site: u64, sentence: usize, step: usize, row: &mut [f32]) {
        let place = ((sentence as u64) << 32) | step as u64;
        let row_key = key(key(self.seed, site), place);
        let threshold = (f64::from(self.probability) * 4_294_967_296.0) as u64;
        let scale = 1.0 / (1.0 - self.probability);
        scale_or_drop(row, row_key, threshold, scale);
    }
}

vectorized! {
    /// One 64-bit word decides two neighbours.
    fn scale_or_drop(row: &mut [f32], row_key: u64, threshold: u64, scale: f32) {
        for (i, pair) in row.chunks_mut(2).enumerate() {
            let word = mix(row_key.wrapping_add(i as u64));
            for (value, bits) in pair.iter_mut().zip([word & 0xFFFF_FFFF, word >> 32]) {
                *value *= if bits < threshold { 0.0 } else { scale };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_right_share_and_keeps_the_mean() {
        let dropout = Dropout::new(0.3, 9);
        let mut sum = 0.0;
        let mut zeros = 0;
        for sentence in 0..20 {
            for step in 0..10 {
                let mut row = [1.0; 101];
                dropout.apply(1, sentence, step, &mut row);
                sum += row.iter().sum::<f32>();
                zeros += row.iter().filter(|&&v| v == 0.0).count();
            }
        }
        let n = 20.0 * 10.0 * 101.0;
        assert!((zeros as f32 / n - 0.3).abs() < 0.02, "{zeros}");
        assert!((sum / n - 1.0).abs() < 0.03, "{sum}");
    }

    #[test]
    fn mask_depends_on_the_place_alone() {
        let mask = |seed, site, sentence, step| {
            let mut row = [1.0; 64];
            Dropout::new(0.5, seed).apply(site, sentence, step, &mut row);
            row
        };
        assert_eq!(mask(1, 2, 3, 4), mask(1, 2, 3, 4));
        for other in [mask(2, 2, 3, 4), mask(1, 3, 3, 4), mask(1, 2, 4, 4), mask(1, 2, 3, 5)] {
            assert_ne!(mask(1, 2, 3, 4), other);
        }
        let mut row = [3.0; 5];
        Dropout::new(0.0, 1).apply(0, 0, 0, &mut row);
        assert_eq!(row, [3.0; 5]);
    }
}
