//! Softmax and log-softmax over integers in log2 units: no exponential but a table, no division but one an entry.

use core::cell::Cell;

use crate::kernels::{largest, sum_exp2};
use crate::tables::{exp2_neg, log2};

/// Replaces scores by their softmax in 2^-15, as unsigned numbers: one may be 2^15. Scores have `bits` fraction bits.
pub(crate) fn softmax(scores: &[Cell<i16>], bits: u32) {
    let (_, largest) = largest(scores);
    let Some(sum) = core::num::NonZeroU32::new(sum_exp2(scores, largest, bits)) else { return };
    for score in scores {
        let p = exp2_neg((largest as i32 - score.get() as i32) as u32, bits);
        score.set(((p << 15) / sum) as u16 as i16);
    }
}

/// What turns a logit into a log-probability: `log2 p(x) = (x - largest) - log2(sum)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSoftmax {
    largest: i16,
    /// log2 of the sum in 2^-16.
    normalizer: i32,
    bits: u32,
}

impl LogSoftmax {
    /// Reads all logits once; `largest` of them is known.
    pub fn new(logits: &[Cell<i16>], largest: i16, bits: u32) -> Self {
        let sum = sum_exp2(logits, largest, bits);
        Self { largest, normalizer: log2(sum) as i32 - (15 << 16), bits }
    }

    /// Reads all logits twice.
    pub fn of(logits: &[Cell<i16>], bits: u32) -> Self {
        Self::new(logits, largest(logits).1, bits)
    }

    /// Log-probability of a logit in 2^-16, log2 units, at most 0.
    pub fn log_prob(&self, logit: i16) -> i32 {
        (((logit as i32 - self.largest as i32) << (16 - self.bits.clamp(2, 15))) - self.normalizer).min(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn softmax_is_close_to_real_and_sums_to_one() {
        let scores: Vec<i16> = (0..50).map(|i| ((i * 7919) % 9000 - 4500) as i16).collect();
        let cells: Vec<Cell<i16>> = scores.iter().map(|&s| Cell::new(s)).collect();
        softmax(&cells, 10);
        let total: f64 = scores.iter().map(|&s| libm::exp2(s as f64 / 1024.0)).sum();
        let mut sum = 0;
        for (cell, &s) in cells.iter().zip(&scores) {
            let want = libm::exp2(s as f64 / 1024.0) / total;
            assert!((cell.get() as u16 as f64 / 32_768.0 - want).abs() < 2e-4);
            sum += cell.get() as u16 as u32;
        }
        assert!((32_768 - 50..=32_768).contains(&sum), "{sum}");
        let one = [Cell::new(5i16)];
        softmax(&one, 10);
        assert_eq!(one[0].get() as u16, 32_768);
    }

    #[test]
    fn log_softmax_is_close_to_real() {
        for bits in [6, 9, 12, 15] {
            let logits: Vec<Cell<i16>> =
                (0..60).map(|i| Cell::new(((i * 6007) % 65_536 - 32_768) as i16)).collect();
            let scale = libm::exp2(-(bits as f64));
            let total: f64 = logits.iter().map(|l| libm::exp2(l.get() as f64 * scale)).sum();
            let log = LogSoftmax::of(&logits, bits);
            for l in &logits {
                let want = l.get() as f64 * scale - libm::log2(total);
                let got = log.log_prob(l.get()) as f64 / 65_536.0;
                assert!((got - want).abs() < 3e-3 + 1e-4 * want.abs(), "{bits}: {got} {want}");
            }
        }
    }
}
