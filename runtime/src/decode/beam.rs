//! Beam search that keeps its width: of the best `2B` continuations those that end among the first `B` are finished,
//! the best `B` others live on. The search ends when `B` are finished with scores that no live one has (after Huang, Zhao, Ma
//! 2017, "When to finish?"). To end it when any `B` are finished is not enough: where the next token is all but certain, the
//! others of the first `B` are anything, ends too, and would crowd out the one that goes on.

use core::cell::Cell;

use heapless::Vec;

use super::{Decoder, Finished, MAX_BEAM, Options};
use crate::error::RunError;
use crate::kernels::LANES;
use crate::ops::softmax::LogSoftmax;

/// A hypothesis that grows: where its state and tokens are, and its log-probability so far.
#[derive(Clone, Copy)]
struct Live {
    log2_prob: i32,
    row: u8,
}

/// A continuation of a live hypothesis (its row) by a token.
#[derive(Clone, Copy)]
struct Candidate {
    log2_prob: i32,
    token: u16,
    parent: u8,
}

type Candidates = Vec<Candidate, { 2 * MAX_BEAM }>;

/// What else a search keeps of each hypothesis, row by row, beside its state and tokens: nothing, or what attention covered.
pub(super) trait Keep {
    /// A step was made.
    fn see(&mut self, row: u8, attention: &[Cell<i16>]);
    /// A hypothesis became two.
    fn copy(&mut self, from: u8, to: u8);
    /// The score of a hypothesis that ends, by its score without.
    fn score(&self, row: u8, score: f32) -> f32;
}

impl Keep for () {
    fn see(&mut self, _: u8, _: &[Cell<i16>]) {}
    fn copy(&mut self, _: u8, _: u8) {}
    fn score(&self, _: u8, score: f32) -> f32 {
        score
    }
}

/// Searches with `history` as memory: `2 * beam_size` rows of equal length, the live hypotheses' tokens, then the
/// finished ones'. Leaves the finished ones in `finished`, best score first; ties keep the order in which they were
/// found.
///
/// Candidates of equal log-probability rank by their parents' order, then by token id. A live hypothesis is judged by the score
/// that it would have if it ended as long as it is. Those still alive at the length limit count as finished.
///
/// # Errors
/// What the decoder's step returns.
pub fn beam<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    options: &Options,
    finished: &mut Vec<Finished, MAX_BEAM>,
) -> Result<(), RunError> {
    keeping(decoder, history, options, finished, &mut ())
}

/// [`beam`], keeping what there is to be kept.
pub(super) fn keeping<D: Decoder, K: Keep>(
    decoder: &mut D,
    history: &mut [u16],
    options: &Options,
    finished: &mut Vec<Finished, MAX_BEAM>,
    keep: &mut K,
) -> Result<(), RunError> {
    let width = (options.beam_size as usize).clamp(1, MAX_BEAM);
    let row_len = history.len().checked_div(2 * width).unwrap_or(0);
    let limit = row_len.min(options.max_len as usize);
    let (sos, eos) = decoder.marks();
    finished.clear();
    let mut live: Vec<Live, MAX_BEAM> = Vec::new();
    let _ = live.push(Live { log2_prob: 0, row: 0 });
    let mut candidates = Candidates::new();
    for len in 0..limit {
        candidates.clear();
        // Two hypotheses a step, where the decoder can: they share the weights that it reads.
        let lanes = decoder.lanes().clamp(1, LANES);
        let mut first = 0;
        while first < live.len() {
            let pair = live.get(first..live.len().min(first + lanes)).unwrap_or(&[]);
            let mut steps = [(0u8, sos); LANES];
            for (step, hypothesis) in steps.iter_mut().zip(pair) {
                step.0 = hypothesis.row;
                if len > 0 {
                    step.1 = token_at(history, hypothesis.row as usize * row_len + len - 1);
                }
            }
            decoder.step(steps.get(..pair.len()).unwrap_or(&steps))?;
            for (lane, hypothesis) in pair.iter().enumerate() {
                keep.see(hypothesis.row, decoder.attention(lane));
                let (logits, bits) = decoder.logits(lane);
                let log = LogSoftmax::of(logits, bits);
                // What no candidate may fall below, once there are enough.
                let mut least = least(&candidates, 2 * width);
                for (logit, token) in logits.iter().zip(0u16..) {
                    let log2_prob = hypothesis.log2_prob.saturating_add(log.log_prob(logit.get()));
                    if log2_prob <= least || (token == eos && len < options.min_len as usize) {
                        continue;
                    }
                    insert(
                        &mut candidates,
                        2 * width,
                        Candidate { log2_prob, token, parent: hypothesis.row },
                    );
                    least = self::least(&candidates, 2 * width);
                }
            }
            first += lanes;
        }
        for c in candidates.iter().take(width).filter(|c| c.token == eos) {
            let found = Finished::new(c.parent, len, true, c.log2_prob, options.length_penalty);
            end(found, finished, history, row_len, width, keep);
        }
        candidates.retain(|c| c.token != eos);
        candidates.truncate(width);
        if let Some(last) = finished.get(width - 1)
            && candidates.first().is_none_or(|best| {
                let longer = Finished::new(0, len + 1, false, best.log2_prob, options.length_penalty);
                !above(longer.score, last.score)
            })
        {
            live.clear();
            break;
        }
        grow(decoder, history, keep, &mut live, &candidates, width, row_len, len)?;
        if live.is_empty() {
            break;
        }
    }
    for hypothesis in &live {
        let found = Finished::new(hypothesis.row, limit, false, hypothesis.log2_prob, options.length_penalty);
        end(found, finished, history, row_len, width, keep);
    }
    Ok(())
}

/// Puts what ended in the row of a live hypothesis among the finished ones, best first, behind its equals, and its tokens in a
/// row of its own: that of the worst, if there are `width` already and it is better.
#[inline(never)]
fn end<K: Keep>(
    mut found: Finished,
    finished: &mut Vec<Finished, MAX_BEAM>,
    history: &mut [u16],
    row_len: usize,
    width: usize,
    keep: &K,
) {
    found.score = keep.score(found.row, found.score);
    let mut row = (width + finished.len()) as u8;
    if finished.len() >= width {
        match finished.last() {
            Some(worst) if above(found.score, worst.score) => row = worst.row,
            _ => return,
        }
        finished.pop();
    }
    copy_row(history, found.row as usize, row as usize, row_len, found.len as usize);
    found.row = row;
    let _ = finished.push(found);
    let mut right: Option<&mut Finished> = None;
    for hypothesis in finished.iter_mut().rev() {
        if let Some(right) = right {
            if !above(right.score, hypothesis.score) {
                return;
            }
            core::mem::swap(hypothesis, right);
        }
        right = Some(hypothesis);
    }
}

/// Whether one score is above another. Scores are at most 0: the larger its bits, the lower one is.
fn above(score: f32, other: f32) -> bool {
    score.to_bits() < other.to_bits()
}

/// The log-probability that a candidate must exceed to be among the best `most`.
fn least(candidates: &Candidates, most: usize) -> i32 {
    candidates.get(most - 1).map_or(i32::MIN, |candidate| candidate.log2_prob)
}

/// Puts a candidate among the best `most`, best first, behind its equals.
#[inline(never)]
fn insert(candidates: &mut Candidates, most: usize, new: Candidate) {
    if candidates.len() >= most {
        candidates.pop();
    }
    let _ = candidates.push(new);
    let mut right: Option<&mut Candidate> = None;
    for candidate in candidates.iter_mut().rev() {
        if let Some(right) = right {
            if candidate.log2_prob >= right.log2_prob {
                return;
            }
            core::mem::swap(candidate, right);
        }
        right = Some(candidate);
    }
}

/// Moves states and tokens so that each continuation has a row of its own: a parent's first continuation stays where
/// the parent is, the others go to rows that no continuation comes from. No second bank of states is needed.
#[allow(clippy::too_many_arguments)]
fn grow<D: Decoder, K: Keep>(
    decoder: &mut D,
    history: &mut [u16],
    keep: &mut K,
    live: &mut Vec<Live, MAX_BEAM>,
    next: &[Candidate],
    width: usize,
    row_len: usize,
    len: usize,
) -> Result<(), RunError> {
    // One bit a row that some continuation comes from.
    let used = next.iter().fold(0u32, |used, c| used | 1 << (c.parent & 31));
    let mut free = (0..width as u8).filter(|&row| used >> (row & 31) & 1 == 0);
    live.clear();
    for (rank, c) in next.iter().enumerate() {
        let from = c.parent;
        let first = !next.iter().take(rank).any(|earlier| earlier.parent == c.parent);
        let row = if first {
            from
        } else {
            let Some(row) = free.next() else { break };
            decoder.copy(from as usize, row as usize)?;
            keep.copy(from, row);
            copy_row(history, from as usize, row as usize, row_len, len);
            row
        };
        let _ = live.push(Live { log2_prob: c.log2_prob, row });
    }
    // Tokens are written last: until here every parent's row is as it was.
    for (hypothesis, c) in live.iter().zip(next) {
        if let Some(token) = history.get_mut(hypothesis.row as usize * row_len + len) {
            *token = c.token;
        }
    }
    Ok(())
}

fn token_at(history: &[u16], at: usize) -> u16 {
    history.get(at).copied().unwrap_or(0)
}

#[inline(never)]
fn copy_row(history: &mut [u16], from: usize, to: usize, row_len: usize, len: usize) {
    for i in 0..len {
        let token = token_at(history, from * row_len + i);
        if let Some(to) = history.get_mut(to * row_len + i) {
            *to = token;
        }
    }
}
