//! One side of a batch in the packed layout, and where dropout strikes.

use std::ops::Range;

use crate::model::{SOS, UNK};
use crate::nn::dropout::Dropout;
use crate::nn::packed::Packed;

/// Sentences sorted by falling length, their ids packed time step by time step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sentences {
    pub(super) seq: Packed,
    /// For each row of a block, which of the given sentences it is.
    pub(super) order: Vec<usize>,
    /// For each row of a block, its sentence's number in the whole batch, which names its dropout masks.
    pub(super) names: Vec<usize>,
    /// Id of each packed row.
    pub(super) ids: Vec<u32>,
}

impl Sentences {
    /// Packs `sentences`, called `names` in the whole batch; ids not below `vocab` become [`UNK`].
    pub(super) fn new(sentences: &[&[u32]], names: &[usize], vocab: usize) -> Self {
        let mut order: Vec<usize> = (0..sentences.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(sentences[i].len()));
        let seq = Packed::new(order.iter().map(|&i| sentences[i].len()).collect());
        let mut ids = Vec::with_capacity(seq.rows());
        for t in 0..seq.steps() {
            let known = |id: u32| if (id as usize) < vocab { id } else { UNK };
            ids.extend(order[..seq.batch(t)].iter().map(|&i| known(sentences[i][t])));
        }
        let names = order.iter().map(|&i| names[i]).collect();
        Self { seq, order, names, ids }
    }

    /// The same sentences as a decoder reads them: the start mark, then all but the last token.
    pub(super) fn shifted(&self) -> Self {
        let mut ids = vec![SOS; if self.seq.steps() > 0 { self.seq.batch(0) } else { 0 }];
        for t in 1..self.seq.steps() {
            let before = self.seq.offset(t - 1);
            ids.extend_from_slice(&self.ids[before..before + self.seq.batch(t)]);
        }
        Self { ids, ..self.clone() }
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

/// The dropout masks of one step, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks<'a>(pub(super) Option<&'a Dropout>);

impl Masks<'_> {
    /// The ids, if nothing will be dropped from their embeddings.
    pub(super) fn unmasked<'i>(&self, ids: &'i [u32]) -> Option<&'i [u32]> {
        self.0.is_none().then_some(ids)
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
        let Some(dropout) = self.0 else { return };
        let site = match site {
            Site::SourceEmbedding => 0,
            Site::TargetEmbedding => 1,
            Site::Output => 2,
            Site::EncoderLayer(k) => 3 + 2 * k as u64,
            Site::DecoderLayer(k) => 4 + 2 * k as u64,
        };
        let n = sentences.seq.batch(t);
        let width = rows.len() / n;
        for (row, &name) in rows.chunks_exact_mut(width).zip(&sentences.names) {
            dropout.apply(site, name, t, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_longest_first_and_shifts() {
        let sentences: [&[u32]; 3] = [&[5, 2], &[6, 7, 2], &[99, 2]];
        let packed = Sentences::new(&sentences, &[10, 11, 12], 8);
        assert_eq!((&packed.order[..], &packed.names[..]), (&[1, 0, 2][..], &[11, 10, 12][..]));
        assert_eq!(packed.ids, [6, 5, UNK, 7, 2, 2, 2]);
        assert_eq!(packed.shifted().ids, [SOS, SOS, SOS, 6, 5, UNK, 7]);
    }

    #[test]
    fn masks_follow_the_sentence_not_its_row() {
        let dropout = Dropout::new(0.5, 3);
        let masks = Masks(Some(&dropout));
        let long: &[u32] = &[4, 2];
        let (both, alone) = (Sentences::new(&[long, &[2]], &[0, 1], 8), Sentences::new(&[&[2]], &[1], 8));
        let (mut a, mut b) = (vec![1.0; 3 * 32], vec![1.0; 32]);
        masks.apply(Site::Output, &both, &mut a);
        masks.apply(Site::Output, &alone, &mut b);
        assert_eq!(a[32..64], b[..]);
        assert_ne!(a[..32], b[..]);
    }
}
