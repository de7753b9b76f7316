//! Search: from one step's logits to whole hypotheses. Knows a step function, not weights.
//!
//! The score of a hypothesis is `log_prob / length^length_penalty`, where `length` counts the tokens and the end mark
//! (Wu et al. 2016 use a shifted form; this is the plain one: 0 ranks by probability, 1 by the mean log-probability).

mod beam;
#[cfg(feature = "coverage")]
mod coverage;
mod greedy;
mod sample;

pub use beam::beam;
#[cfg(feature = "coverage")]
pub use coverage::beam_covering;
pub use greedy::greedy;
pub use sample::{Sampling, sample};

use core::cell::Cell;
use core::num::NonZeroU32;

use crate::error::RunError;
use crate::tables::{exp2_neg, log2};

/// Widest beam.
pub const MAX_BEAM: usize = 8;

/// One step of a decoder, for one or two of several hypotheses.
pub trait Decoder {
    /// Hypotheses that a step advances at most, 1 or 2.
    fn lanes(&self) -> usize;
    /// Advances hypotheses, at most [`lanes`](Self::lanes), each by its last token, and leaves the logits of the next.
    ///
    /// # Errors
    /// Whatever keeps the step from being computed.
    fn step(&mut self, hypotheses: &[(u8, u16)]) -> Result<(), RunError>;
    /// Logits that the last step left for its first or second hypothesis, one a token, in log2 units of 2^-`bits`.
    fn logits(&self, lane: usize) -> (&[Cell<i16>], u32);
    /// Attention weights over the source that the last step left for its first or second hypothesis, in 2^-15; without
    /// attention none.
    fn attention(&self, _lane: usize) -> &[Cell<i16>] {
        &[]
    }
    /// Makes one hypothesis' state a copy of another's.
    ///
    /// # Errors
    /// Whatever keeps the copy from being made.
    fn copy(&mut self, from: usize, to: usize) -> Result<(), RunError>;
    /// Start mark and end mark.
    fn marks(&self) -> (u16, u16);
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Hypotheses kept alive, 1 to 8; 1 is greedy.
    pub beam_size: u8,
    /// Hypotheses wanted of a beam, at most its size: a search for one ends sooner than a search for more.
    pub num_hypotheses: u8,
    /// Exponent of the length in the score, 0 to 10.
    pub length_penalty: f32,
    /// The end mark is not considered before this many tokens.
    pub min_len: u16,
    /// Most tokens, end mark excluded; the session's target limit when that is smaller.
    pub max_len: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { beam_size: 1, num_hypotheses: 1, length_penalty: 1.0, min_len: 0, max_len: u16::MAX }
    }
}

/// A finished search result: which row of the history holds it, and how good it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finished {
    /// Row of the history.
    pub row: u8,
    /// Tokens, end mark excluded.
    pub len: u16,
    /// Whether the end mark was reached before the length limit.
    pub complete: bool,
    /// Sum of log-probabilities, end mark included, in 2^-16 log2 units.
    pub log2_prob: i32,
    /// `log_prob / length^length_penalty`, natural logarithm.
    pub score: f32,
}

impl Finished {
    fn new(row: u8, len: usize, complete: bool, log2_prob: i32, length_penalty: f32) -> Self {
        let length = NonZeroU32::new(len as u32 + complete as u32).unwrap_or(NonZeroU32::MIN);
        let score = penalize(log2_prob, length, length_penalty);
        Self { row, len: len as u16, complete, log2_prob, score }
    }
}

/// `log_prob / length^length_penalty`, natural logarithm.
///
/// The mean log-probability, a penalty of 1, is rounded to 2^-16 log2 units; other powers come from the tables of log2
/// and 2^-x and are right to 2e-4 of their value, times 1 + the penalty. No general power function: it would cost 3 KB of flash.
fn penalize(log2_prob: i32, length: NonZeroU32, length_penalty: f32) -> f32 {
    if length_penalty.to_bits() == const { 1f32.to_bits() } {
        let half = length.get() / 2;
        return -natural(((log2_prob.unsigned_abs() + half) / length) as i32);
    }
    // length^-penalty = 2^-exponent, its whole part exact.
    let exponent = (log2(length.get()) as f32 * length_penalty) as u32;
    let fraction = exp2_neg((exponent & 0xFFFF) >> 1, 15) as f32;
    let scale = f32::from_bits((127 - 15 - (exponent >> 16).min(100)) << 23);
    natural(log2_prob) * (fraction * scale)
}

/// Natural logarithm of a probability given in 2^-16 log2 units.
pub(crate) fn natural(log2_prob: i32) -> f32 {
    log2_prob as f32 * (core::f32::consts::LN_2 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_are_powers_of_the_length() {
        for length in 1..=300u32 {
            for tenths in 0..=100 {
                let penalty = tenths as f32 / 10.0;
                for log2_prob in [-1, -70_000, -3_000_000] {
                    let want = natural(log2_prob) as f64 / libm::pow(length as f64, penalty as f64);
                    let got = penalize(log2_prob, NonZeroU32::new(length).unwrap(), penalty) as f64;
                    let allowed =
                        if penalty == 1.0 { 6e-6 } else { want.abs() * 2e-4 * (1.0 + penalty as f64) };
                    assert!((got - want).abs() <= allowed, "{log2_prob} {length} {penalty}: {got} {want}");
                }
            }
        }
        assert_eq!(penalize(-65_536, NonZeroU32::MIN, 0.0), natural(-65_536));
        assert_eq!(penalize(-65_536, NonZeroU32::MIN, 1.0), natural(-65_536));
    }
}
