//! Where a decoder's tokens come from.

use super::DecoderTrace;
use crate::model::UNK;

/// Where a decoder's tokens behind the start mark come from.
#[derive(Clone, Copy, Default)]
pub enum Feed<'a> {
    /// The reference (teacher forcing): all tokens are known beforehand, which is faster.
    #[default]
    Teacher,
    /// A choice in every step. It is a function of its argument alone, so that neither threads nor the order of sentences
    /// change it; an id outside the vocabulary is read as [`UNK`].
    Chosen(&'a (dyn Fn(&Choice<'_>) -> u32 + Sync)),
}

/// What a token is chosen from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Number of the pair in the batch.
    pub pair: usize,
    /// The step that will read the token, from 1: the start mark is no choice.
    pub step: usize,
    /// The reference's token.
    pub reference: u32,
    /// The logits of the step before, `[vocab]`.
    pub logits: &'a [f32],
}

impl DecoderTrace {
    /// Replaces the tokens that step `t` reads.
    pub(super) fn choose(&mut self, t: usize, vocab: usize, choose: &dyn Fn(&Choice<'_>) -> u32) {
        let (before, first) = (self.inputs.seq.offset(t - 1), self.inputs.seq.offset(t));
        for b in 0..self.inputs.seq.batch(t) {
            let logits = &self.logits[(before + b) * vocab..][..vocab];
            let (pair, id) = (self.inputs.names[b], &mut self.inputs.ids[first + b]);
            let chosen = choose(&Choice { pair, step: t, reference: *id, logits });
            *id = if (chosen as usize) < vocab { chosen } else { UNK };
        }
    }
}
