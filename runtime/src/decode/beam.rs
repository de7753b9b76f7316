//! Beam search that keeps its width: of the best `2B` continuations those that end among the first `B` are finished,
//! the best `B` others live on; the search ends when `B` are finished (the rule of Ott et al. 2019, fairseq).

use heapless::Vec;

use super::{Decoder, Finished, MAX_BEAM, Options, log_softmax};
use crate::error::RunError;

/// A hypothesis that grows: where its state and tokens are, and its log-probability so far.
#[derive(Clone, Copy)]
struct Live {
    row: usize,
    log2_prob: i32,
}

/// A continuation of a live hypothesis (its rank) by a token.
#[derive(Clone, Copy)]
struct Candidate {
    parent: usize,
    token: u16,
    log2_prob: i32,
}

/// Searches with `history` as memory: `2 * beam_size` rows of equal length, the live hypotheses' tokens, then the
/// finished ones'. Returns the finished ones, best score first; ties keep the order in which they were found.
///
/// Candidates of equal log-probability rank by their parent's rank, then by token id. Hypotheses still alive at the
/// length limit count as finished.
///
/// # Errors
/// What the decoder's step returns.
pub fn beam<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    options: &Options,
) -> Result<Vec<Finished, MAX_BEAM>, RunError> {
    let width = (options.beam_size as usize).clamp(1, MAX_BEAM);
    let row_len = history.len() / (2 * width);
    let limit = row_len.min(options.max_len as usize);
    let (sos, eos) = decoder.marks();
    let mut finished: Vec<Finished, MAX_BEAM> = Vec::new();
    let mut live: Vec<Live, MAX_BEAM> = Vec::new();
    let _ = live.push(Live { row: 0, log2_prob: 0 });
    for len in 0..limit {
        let mut candidates: Vec<Candidate, { 2 * MAX_BEAM }> = Vec::new();
        for (parent, hypothesis) in live.iter().enumerate() {
            let last = if len == 0 { sos } else { token_at(history, hypothesis.row * row_len + len - 1) };
            decoder.step(hypothesis.row, last)?;
            let log = log_softmax(decoder);
            for (token, logit) in (0u16..).zip(decoder.logits().0) {
                if token == eos && len < options.min_len as usize {
                    continue;
                }
                let log2_prob = hypothesis.log2_prob.saturating_add(log.log_prob(logit.get()));
                insert(&mut candidates, 2 * width, Candidate { parent, token, log2_prob });
            }
        }
        for c in candidates.iter().take(width).filter(|c| c.token == eos) {
            let row = width + finished.len();
            if let Some(parent) = live.get(c.parent).filter(|_| finished.len() < width) {
                copy_row(history, parent.row, row, row_len, len);
                let _ = finished.push(Finished::new(row, len, true, c.log2_prob, options.length_penalty));
            }
        }
        let mut next: Vec<Candidate, MAX_BEAM> = Vec::new();
        for c in candidates.iter().filter(|c| c.token != eos).take(width) {
            let _ = next.push(*c);
        }
        if finished.len() >= width {
            live.clear();
            break;
        }
        live = grow(decoder, history, &live, &next, width, row_len, len)?;
        if live.is_empty() {
            break;
        }
    }
    for hypothesis in &live {
        if finished.len() < width {
            let row = width + finished.len();
            copy_row(history, hypothesis.row, row, row_len, limit);
            let _ =
                finished.push(Finished::new(row, limit, false, hypothesis.log2_prob, options.length_penalty));
        }
    }
    sort(&mut finished);
    Ok(finished)
}

/// Keeps the best `most` candidates, best first; a later one goes behind its equals.
fn insert(candidates: &mut Vec<Candidate, { 2 * MAX_BEAM }>, most: usize, new: Candidate) {
    if candidates.len() >= most {
        match candidates.last() {
            Some(worst) if new.log2_prob > worst.log2_prob => {
                candidates.pop();
            }
            _ => return,
        }
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

/// Sorts by score, best first, keeping the order of equals.
fn sort(finished: &mut Vec<Finished, MAX_BEAM>) {
    for _ in 0..finished.len() {
        let mut left: Option<&mut Finished> = None;
        for hypothesis in finished.iter_mut() {
            if let Some(left) = left
                && hypothesis.score > left.score
            {
                core::mem::swap(left, hypothesis);
            }
            left = Some(hypothesis);
        }
    }
}

/// Moves states and tokens so that each continuation has a row of its own: a parent's first continuation stays where
/// the parent is, the others go to rows that no continuation comes from. No second bank of states is needed.
fn grow<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    live: &[Live],
    next: &[Candidate],
    width: usize,
    row_len: usize,
    len: usize,
) -> Result<Vec<Live, MAX_BEAM>, RunError> {
    let parent_row = |c: &Candidate| live.get(c.parent).map_or(0, |l| l.row);
    let mut used = [false; MAX_BEAM];
    for row in next.iter().map(parent_row) {
        if let Some(used) = used.get_mut(row) {
            *used = true;
        }
    }
    let mut free = (0..width).filter(|&row| !used.get(row).copied().unwrap_or(true));
    let mut grown: Vec<Live, MAX_BEAM> = Vec::new();
    for (rank, c) in next.iter().enumerate() {
        let from = parent_row(c);
        let first = !next.iter().take(rank).any(|earlier| earlier.parent == c.parent);
        let row = if first {
            from
        } else {
            let Some(row) = free.next() else { break };
            decoder.copy(from, row)?;
            copy_row(history, from, row, row_len, len);
            row
        };
        let _ = grown.push(Live { row, log2_prob: c.log2_prob });
    }
    // Tokens are written last: until here every parent's row is as it was.
    for (hypothesis, c) in grown.iter().zip(next) {
        if let Some(token) = history.get_mut(hypothesis.row * row_len + len) {
            *token = c.token;
        }
    }
    Ok(grown)
}

fn token_at(history: &[u16], at: usize) -> u16 {
    history.get(at).copied().unwrap_or(0)
}

fn copy_row(history: &mut [u16], from: usize, to: usize, row_len: usize, len: usize) {
    for i in 0..len {
        let token = token_at(history, from * row_len + i);
        if let Some(to) = history.get_mut(to * row_len + i) {
            *to = token;
        }
    }
}
