//! A penalty for source positions that attention left out (Wu et al. 2016, equation 14).

use core::cell::Cell;

use heapless::Vec;

use super::beam::{Keep, keeping};
use super::{Decoder, Finished, MAX_BEAM, Options, natural};
use crate::error::RunError;
use crate::tables::log2;

/// Sums of attention weights in 2^-15, at most 1: a row a hypothesis, a number a source position.
struct Coverage<'a> {
    sums: &'a mut [u16],
    row_len: usize,
    penalty: f32,
}

const ONE: u16 = 1 << 15;

impl Coverage<'_> {
    fn row(&mut self, row: u8) -> &mut [u16] {
        let start = row as usize * self.row_len;
        self.sums.get_mut(start..start + self.row_len).unwrap_or_default()
    }
}

impl Keep for Coverage<'_> {
    fn see(&mut self, row: u8, attention: &[Cell<i16>]) {
        for (sum, weight) in self.row(row).iter_mut().zip(attention) {
            // A weight is at most 1 and may be just that, which is no positive i16.
            *sum = sum.saturating_add(weight.get() as u16).min(ONE);
        }
    }

    fn copy(&mut self, from: u8, to: u8) {
        let from = from as usize * self.row_len;
        let to = to as usize * self.row_len;
        for at in 0..self.row_len {
            let sum = self.sums.get(from + at).copied().unwrap_or(0);
            if let Some(to) = self.sums.get_mut(to + at) {
                *to = sum;
            }
        }
    }

    fn score(&self, row: u8, score: f32) -> f32 {
        let start = row as usize * self.row_len;
        let sums = self.sums.get(start..start + self.row_len).unwrap_or(&[]);
        // What was never looked at counts as the least weight.
        let logs = sums.iter().map(|&sum| log2(sum.max(1) as u32) as i32 - (15 << 16));
        score + self.penalty * natural(logs.fold(0, i32::saturating_add))
    }
}

/// [`beam`](super::beam()) whose scores have `penalty * sum of ln(min(covered, 1))` added, where `covered` is the sum of a source
/// position's attention weights over all steps, that of the end mark included; at least 2^-15. Which hypotheses live on is
/// decided without it.
///
/// `coverage` is memory: `beam_size` numbers a source position.
///
/// # Errors
/// [`RunError::CoveragePenalty`] unless the penalty is 0 to 10; what the decoder's step returns.
pub fn beam_covering<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    coverage: &mut [u16],
    options: &Options,
    penalty: f32,
    finished: &mut Vec<Finished, MAX_BEAM>,
) -> Result<(), RunError> {
    if !(0.0..=10.0).contains(&penalty) {
        return Err(RunError::CoveragePenalty);
    }
    let row_len = coverage.len().checked_div(options.beam_size as usize).unwrap_or(0);
    coverage.fill(0);
    keeping(decoder, history, options, finished, &mut Coverage { sums: coverage, row_len, penalty })
}
