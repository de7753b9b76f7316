//! Search: from one step's logits to whole hypotheses. Knows a step function, not weights.
//!
//! The score of a hypothesis is `log_prob / length^length_penalty`, where `length` counts the tokens and the end mark
//! (Wu et al. 2016 use a shifted form; this is the plain one: 0 ranks by probability, 1 by the mean log-probability).

mod beam;
mod greedy;

pub use beam::beam;
pub use greedy::greedy;

use core::cell::Cell;

use crate::error::RunError;
use crate::ops::softmax::LogSoftmax;

/// Widest beam.
pub const MAX_BEAM: usize = 8;

/// One step of a decoder, for one of several hypotheses.
pub trait Decoder {
    /// Advances a hypothesis by its last token and leaves the logits of the next.
    ///
    /// # Errors
    /// Whatever keeps the step from being computed.
    fn step(&mut self, hypothesis: usize, token: u16) -> Result<(), RunError>;
    /// Logits of the last step, one a token, in log2 units of 2^-`bits`.
    fn logits(&self) -> (&[Cell<i16>], u32);
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
    /// Exponent of the length in the score, 0 to 10.
    pub length_penalty: f32,
    /// The end mark is not considered before this many tokens.
    pub min_len: u16,
    /// Most tokens, end mark excluded; the session's target limit when that is smaller.
    pub max_len: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { beam_size: 1, length_penalty: 1.0, min_len: 0, max_len: u16::MAX }
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
        let length = (len + complete as usize).max(1) as f32;
        // libm, not the system's powf: the same bits on every core.
        let score = natural(log2_prob) / libm::powf(length, length_penalty);
        Self { row, len: len as u16, complete, log2_prob, score }
    }
}

/// Natural logarithm of a probability given in 2^-16 log2 units.
pub(crate) fn natural(log2_prob: i32) -> f32 {
    log2_prob as f32 * (core::f32::consts::LN_2 / 65_536.0)
}

fn log_softmax(decoder: &impl Decoder) -> LogSoftmax {
    let (logits, bits) = decoder.logits();
    LogSoftmax::new(logits, bits)
}
