//! The table of token vectors.

use crate::nn::buffer::Buffer;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::quant::{TokenSource, Weights};

/// Vectors of `width` values for `vocab` tokens; `{name}.weight` is [vocab, width].
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    vocab: usize,
    width: usize,
    weight: ParamId,
}

/// The tokens that rows read. What depends on a token alone needs to be computed once for all rows that read it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tokens {
    /// Ids.
    pub ids: Buffer<u32>,
    /// For each row, which of `ids` it reads; `None` when it is the one of its own number.
    pub slots: Option<Buffer<u32>>,
}

impl Tokens {
    /// A token for each row.
    pub fn each(ids: &[u32]) -> Self {
        Self { ids: Buffer::copy(ids), slots: None }
    }

    /// Each different one of `ids`, all below `bound`, once, in the order of their first rows.
    pub fn distinct(ids: &[u32], bound: usize) -> Self {
        let (mut first, mut slots) = (Buffer::filled(bound, u32::MAX), Buffer::unspecified(ids.len()));
        let mut distinct = Buffer::default();
        for (slot, &id) in slots.iter_mut().zip(ids) {
            let place = &mut first[id as usize];
            if *place == u32::MAX {
                *place = distinct.len() as u32;
                distinct.push(id);
            }
            *slot = *place;
        }
        Self { ids: distinct, slots: Some(slots) }
    }

    /// Which of its tokens `row` reads.
    pub fn slot(&self, row: usize) -> usize {
        self.slots.as_ref().map_or(row, |slots| slots[row] as usize)
    }
}

/// Standard deviation of initial embeddings: small beside what training makes of them, so that rare tokens
/// start near each other.
const INITIAL: f32 = 0.1;

impl Embedding {
    /// Declares `{name}.weight`.
    pub fn declare(layout: &mut Layout, name: &str, vocab: usize, width: usize) -> Self {
        let weight = layout.declare(format!("{name}.weight"), &[vocab, width], Init::Normal(INITIAL));
        Self { vocab, width, weight }
    }

    /// Values a token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of tokens.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Its parameter.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// What a product needs to know of it whose columns from `start` read its vectors.
    pub fn source(&self, start: usize) -> TokenSource {
        TokenSource { embedding: self.weight, width: self.width, start }
    }

    /// The vectors of `ids`, [ids, width]. A grid does not change them: their consumers round.
    ///
    /// # Panics
    /// When an id is not below the vocabulary's size.
    pub fn forward<'a>(&self, weights: impl Into<Weights<'a>>, ids: &[u32]) -> Buffer {
        let table = weights.into().at(self.weight);
        let mut out = Buffer::unspecified(ids.len() * self.width);
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
            row.copy_from_slice(&table[id as usize * self.width..][..self.width]);
        }
        out
    }

    /// The tokens to look up for rows that read `ids`: each different one once, if that halves them.
    pub fn distinct(&self, ids: &[u32]) -> Tokens {
        let distinct = Tokens::distinct(ids, self.vocab);
        if 2 * distinct.ids.len() > ids.len() { Tokens::each(ids) } else { distinct }
    }

    /// Adds the gradient `dy` [ids, width] to the rows of `ids`, in their order.
    pub fn backward(&self, grads: &mut Gradients, ids: &[u32], dy: &[f32]) {
        let table = grads.at_mut(self.weight);
        for (&id, dy) in ids.iter().zip(dy.chunks_exact(self.width)) {
            add(&mut table[id as usize * self.width..][..self.width], dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};

    #[test]
    fn gradients_of_repeated_ids_add_up() {
        let mut layout = Layout::default();
        let embedding = Embedding::declare(&mut layout, "e", 4, 3);
        let ids = [2, 0, 2, 3];
        let r = values(12, 1);
        GradientCheck::new(layout.init(3), vec![]).run(
            |p, _| GradientCheck::weigh(&embedding.forward(p, &ids), &r),
            |_, g, _| {
                embedding.backward(g, &ids, &r);
                vec![]
            },
        );
    }

    #[test]
    fn distinct_tokens_are_those_of_the_rows() {
        let embedding = Embedding::declare(&mut Layout::default(), "e", 9, 3);
        let ids = [7, 2, 7, 7, 2, 8, 7];
        let tokens = embedding.distinct(&ids);
        assert_eq!(tokens.ids[..], [7, 2, 8]);
        (0..7).for_each(|row| assert_eq!(tokens.ids[tokens.slot(row)], ids[row]));
        assert_eq!(embedding.distinct(&[1, 2, 3]), Tokens::each(&[1, 2, 3]));
    }
}
