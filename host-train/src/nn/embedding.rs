//! The table of token vectors.

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

    /// What a product needs to know of it whose columns from `start` read its vectors.
    pub fn source(&self, start: usize) -> TokenSource {
        TokenSource { embedding: self.weight, width: self.width, start }
    }

    /// The vectors of `ids`, [ids, width]. A grid does not change them: their consumers round.
    ///
    /// # Panics
    /// When an id is not below the vocabulary's size.
    pub fn forward<'a>(&self, weights: impl Into<Weights<'a>>, ids: &[u32]) -> Vec<f32> {
        let table = weights.into().at(self.weight);
        let mut out = Vec::with_capacity(ids.len() * self.width);
        for &id in ids {
            out.extend_from_slice(&table[id as usize * self.width..][..self.width]);
        }
        out
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
}
