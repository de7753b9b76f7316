//! One side of a batch in the packed layout, and where dropout strikes.

use std::cmp::Reverse;
use std::ops::Range;

use crate::config::ModelConfig;
use crate::model::{SOS, UNK};
use crate::nn::buffer::Buffer;
use crate::nn::dropout::Dropout;
use crate::nn::embedding::{Embedding, Tokens};
use crate::nn::packed::Packed;
use crate::quant::Weights;

/// Sentences sorted by falling length, their ids packed time step by time step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sentences {
    pub(super) seq: Packed,
    /// For each row of a block, which of the given sentences it is.
    pub(super) order: Buffer<usize>,
    /// For each row of a block, its sentence's number in the whole batch, which names its dropout masks.
    pub(super) names: Buffer<usize>,
    /// Id of each packed row; of frames, all their numbers.
    pub(super) ids: Buffer<u32>,
    /// Where letters are read: the words that ids beyond the vocabulary stand for.
    pub(super) words: Vec<String>,
}

impl Sentences {
    /// Packs the sentences that have the given numbers in a batch; ids not below `vocab` become [`UNK`].
    pub(super) fn new<'s>(names: &[usize], vocab: usize, sentence: impl Fn(usize) -> &'s [u32]) -> Self {
        let known = |id| if (id as usize) < vocab { id } else { UNK };
        Self::with(names, 1, |i| sentence(names[i]), known)
    }

    /// Packs sentences that have the given numbers in a batch, `sentence(i)` being that of `names[i]`: `width` ids a position,
    /// with what stands for them.
    pub(super) fn with<'s>(
        names: &[usize],
        width: usize,
        sentence: impl Fn(usize) -> &'s [u32],
        known: impl Fn(u32) -> u32,
    ) -> Self {
        let mut order: Buffer<usize> = (0..names.len()).collect();
        order.sort_unstable_by_key(|&i| (Reverse(sentence(i).len()), i));
        let seq = Packed::new(order.iter().map(|&i| sentence(i).len() / width).collect::<Buffer<usize>>());
        let mut ids = Buffer::unspecified(seq.rows() * width);
        let mut rows = ids.chunks_exact_mut(width);
        for t in 0..seq.steps() {
            for (&i, row) in order[..seq.batch(t)].iter().zip(&mut rows) {
                let read = &sentence(i)[t * width..][..width];
                row.iter_mut().zip(read).for_each(|(id, &read)| *id = known(read));
            }
        }
        let names = order.iter().map(|&i| names[i]).collect();
        Self { seq, order, names, ids, words: Vec::new() }
    }

    /// Sentences of one token each, in their order.
    pub(super) fn of_one_token(ids: &[u32]) -> Self {
        let order: Buffer<usize> = (0..ids.len()).collect();
        let seq = Packed::new(Buffer::filled(ids.len(), 1));
        Self { seq, names: order.clone(), order, ids: Buffer::copy(ids), words: Vec::new() }
    }

    /// The same sentences without so many of their last tokens, whose ids are to be filled in.
    pub(super) fn without_last(&self, tokens: usize) -> Self {
        let lengths = self.seq.lengths().iter().map(|length| length.saturating_sub(tokens));
        let seq = Packed::new(lengths.collect::<Buffer<usize>>());
        let ids = Buffer::filled(seq.rows(), UNK);
        Self { seq, order: self.order.clone(), names: self.names.clone(), ids, words: Vec::new() }
    }

    /// The vectors of all ids; where dropout leaves them alone those of the tokens, each once if that pays.
    pub(super) fn embedded(
        &self,
        embedding: &Embedding,
        weights: Weights<'_>,
        masks: Masks,
        site: Site,
    ) -> (Buffer, Option<Tokens>) {
        let tokens = masks.keeps_embeddings().then(|| match weights.grid() {
            None => embedding.distinct(&self.ids),
            Some(_) => Tokens::each(&self.ids),
        });
        let ids = tokens.as_ref().map_or(&self.ids, |tokens| &tokens.ids);
        let mut x = embedding.forward(weights, ids);
        masks.apply(site, self, &mut x);
        (x, tokens)
    }

    /// For each packed row, which row of the blocks it is.
    pub(super) fn sentences(&self) -> Buffer<usize> {
        (0..self.seq.steps()).flat_map(|t| 0..self.seq.batch(t)).collect()
    }

    /// The same sentences as a decoder reads them: the start mark, then all but the last token.
    pub(super) fn shifted(&self) -> Self {
        let mut ids = Buffer::filled(self.ids.len(), SOS);
        for t in 1..self.seq.steps() {
            let before = self.seq.offset(t - 1);
            ids[self.seq.rows_of(t..t + 1)].copy_from_slice(&self.ids[before..before + self.seq.batch(t)]);
        }
        let (seq, order, names) = (self.seq.clone(), self.order.clone(), self.names.clone());
        Self { seq, order, names, ids, words: Vec::new() }
    }
}

/// A place of the network where dropout acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    SourceEmbedding,
    TargetEmbedding,
    /// On what the decoder's output layer reads.
    Output,
    /// On the output of an encoder layer that another one reads.
    EncoderLayer(usize),
    /// On the output of a decoder layer that another one reads.
    DecoderLayer(usize),
}

/// The dropout masks of one step: of embeddings, and of everything else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Masks {
    embeddings: Option<Dropout>,
    others: Option<Dropout>,
}

impl Masks {
    /// Nothing is dropped.
    pub(super) const NONE: Self = Self { embeddings: None, others: None };

    /// The masks of `seed` with the probabilities of a configuration.
    pub(super) fn new(config: &ModelConfig, seed: u64) -> Self {
        let dropout = |probability: f32| (probability > 0.0).then(|| Dropout::new(probability, seed));
        let embeddings = dropout(config.embedding_dropout.unwrap_or(config.dropout));
        Self { embeddings, others: dropout(config.dropout) }
    }

    /// The greatest probability that a value is dropped.
    pub(super) fn largest_probability(&self) -> f32 {
        [self.embeddings, self.others].iter().flatten().map(Dropout::probability).fold(0.0, f32::max)
    }

    /// Whether nothing is dropped from embeddings.
    pub(super) fn keeps_embeddings(&self) -> bool {
        self.embeddings.is_none()
    }

    /// The ids, if nothing will be dropped from their embeddings.
    pub(super) fn unmasked<'i>(&self, ids: &'i [u32]) -> Option<&'i [u32]> {
        self.keeps_embeddings().then_some(ids)
    }

    /// Whether nothing is dropped at all.
    pub(super) fn keeps_all(&self) -> bool {
        *self == Self::NONE
    }

    /// Applies the masks of `site` to all packed rows.
    pub(super) fn apply(&self, site: Site, sentences: &Sentences, rows: &mut [f32]) {
        self.apply_steps(site, sentences, 0..sentences.seq.steps(), rows);
    }

    /// Applies the masks of `site` to the rows of some steps.
    pub(super) fn apply_steps(
        &self,
        site: Site,
        sentences: &Sentences,
        steps: Range<usize>,
        mut rows: &mut [f32],
    ) {
        let seq = &sentences.seq;
        let width = rows.len() / seq.rows_of(steps.clone()).len().max(1);
        for t in steps {
            let (step, rest) = rows.split_at_mut(seq.batch(t) * width);
            self.apply_step(site, sentences, t, step);
            rows = rest;
        }
    }

    /// Applies the masks of `site` to the rows of step `t` alone.
    pub(super) fn apply_step(&self, site: Site, sentences: &Sentences, t: usize, rows: &mut [f32]) {
        let of_embeddings = matches!(site, Site::SourceEmbedding | Site::TargetEmbedding);
        let Some(dropout) = (if of_embeddings { self.embeddings } else { self.others }) else { return };
        let site = match site {
            Site::SourceEmbedding => 0,
            Site::TargetEmbedding => 1,
            Site::Output => 2,
            Site::EncoderLayer(k) => 3 + 2 * k as u64,
            Site::DecoderLayer(k) => 4 + 2 * k as u64,
        };
        let n = sentences.seq.batch(t);
        let width = rows.len() / n;
        for (row, &name) in rows.chunks_exact_mut(width).zip(sentences.names.iter()) {
            dropout.apply(site, name, t, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_longest_first_and_shifts() {
        let sentences: [&[u32]; 4] = [&[], &[5, 2], &[6, 7, 2], &[99, 2]];
        let packed = Sentences::new(&[1, 2, 3], 8, |name| sentences[name]);
        assert_eq!((&packed.order[..], &packed.names[..]), (&[1, 0, 2][..], &[2, 1, 3][..]));
        assert_eq!(packed.ids[..], [6, 5, UNK, 7, 2, 2, 2]);
        assert_eq!(packed.shifted().ids[..], [SOS, SOS, SOS, 6, 5, UNK, 7]);
    }

    #[test]
    fn embeddings_have_a_probability_of_their_own() {
        let sentences = Sentences::of_one_token(&[4]);
        let config = ModelConfig { dropout: 0.5, embedding_dropout: Some(0.0), ..ModelConfig::default() };
        let dropped = |masks: Masks, site| {
            let mut row = vec![1.0; 64];
            masks.apply(site, &sentences, &mut row);
            row.contains(&0.0)
        };
        let masks = Masks::new(&config, 3);
        assert!(!dropped(masks, Site::SourceEmbedding) && !dropped(masks, Site::TargetEmbedding));
        assert!(dropped(masks, Site::Output) && masks.unmasked(&[4]).is_some());
        let both = Masks::new(&ModelConfig { embedding_dropout: None, ..config }, 3);
        assert!(dropped(both, Site::SourceEmbedding) && both.unmasked(&[4]).is_none());
    }

    #[test]
    fn masks_follow_the_sentence_not_its_row() {
        let masks = Masks::new(&ModelConfig { dropout: 0.5, ..ModelConfig::default() }, 3);
        let long: &[u32] = &[4, 2];
        let batch: [&[u32]; 2] = [long, &[2]];
        let packed = |names: &[usize]| Sentences::new(names, 8, |name| batch[name]);
        let (both, alone) = (packed(&[0, 1]), packed(&[1]));
        let (mut a, mut b) = (vec![1.0; 3 * 32], vec![1.0; 32]);
        masks.apply(Site::Output, &both, &mut a);
        masks.apply(Site::Output, &alone, &mut b);
        assert_eq!(a[32..64], b[..]);
        assert_ne!(a[..32], b[..]);
    }
}
