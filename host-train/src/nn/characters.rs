//! Features of words from their letters: a convolution and its maximum (Ma and Hovy 2016, "End-to-end sequence labeling via
//! bi-directional LSTM-CNNs-CRF", section 2.1).
//!
//! A letter's product with the weights of each place of the window is computed once for all words, so that a word costs sums of
//! table rows; backward, a filter's gradient goes to the one place where its sum was the largest. It is what the chip does.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, s};

use crate::nn::buffer::Buffer;
use crate::nn::embedding::Embedding;
use crate::nn::math::tanh;
use crate::nn::matrix::{add, add_column_sums, add_product, product, view, view_mut};
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::quant::Weights;

/// `y = tanh(max over t of (sum over k of W_k e_{t + k}) + b)` with embeddings `e` of a word's letters, zero outside of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Characters {
    embedding: Embedding,
    filters: usize,
    /// Letters that a filter looks at: odd.
    width: usize,
    weight: ParamId,
    bias: ParamId,
}

/// Words as the ids of their letters, end to end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Letters {
    /// Ids.
    pub ids: Buffer<u32>,
    /// Where each word ends.
    pub ends: Buffer<usize>,
}

impl Letters {
    /// The letters of a word.
    ///
    /// # Panics
    /// When there are not so many words.
    pub fn word(&self, at: usize) -> &[u32] {
        &self.ids[if at == 0 { 0 } else { self.ends[at - 1] }..self.ends[at]]
    }

    fn words(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|at| self.word(at))
    }
}

/// What a forward pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct CharactersTrace {
    letters: Letters,
    /// Letter of a word around which each filter's sum was the largest, [words, filters].
    largest: Buffer<u32>,
    /// [words, filters].
    pub features: Buffer,
}

impl Characters {
    /// Declares `{name}.embedding.weight` [characters, embedding] and, as `nn.Conv1d` has them, `{name}.conv.weight`
    /// [filters, embedding, width] and `{name}.conv.bias` `[filters]`.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        characters: usize,
        embedding: usize,
        (filters, width): (usize, usize),
    ) -> Self {
        let init = Init::uniform(embedding * width);
        Self {
            embedding: Embedding::declare(layout, &format!("{name}.embedding"), characters, embedding),
            filters,
            width,
            weight: layout.declare(format!("{name}.conv.weight"), &[filters, embedding, width], init),
            bias: layout.declare(format!("{name}.conv.bias"), &[filters], init),
        }
    }

    /// Features a word.
    pub fn features(&self) -> usize {
        self.filters
    }

    /// The weights of place `k` of the window, [filters, embedding].
    fn place<'a>(&self, weights: Weights<'a>, k: usize) -> ArrayView2<'a, f32> {
        let shape = (self.filters, self.embedding.width(), self.width);
        let all = ArrayView3::from_shape(shape, weights.at(self.weight)).expect("as it was declared");
        all.slice_move(s![.., .., k])
    }

    fn embeddings<'a>(&self, weights: Weights<'a>) -> ArrayView2<'a, f32> {
        view(weights.at(self.embedding.weight()), self.embedding.vocab(), self.embedding.width())
    }

    /// Places of the window around letter `t` that stand on one of `letters`, with the rows of that letter in the tables.
    fn window<'w>(&self, letters: &'w [u32], t: usize) -> impl Iterator<Item = Range<usize>> + use<'w> {
        let (filters, vocab, half) = (self.filters, self.embedding.vocab(), self.width / 2);
        (0..self.width).filter_map(move |k| {
            let letter = *letters.get((t + k).checked_sub(half)?)? as usize;
            let row = k * vocab + letter;
            Some(row * filters..(row + 1) * filters)
        })
    }

    /// Features of words, each of at least one letter.
    pub fn forward<'a>(&self, weights: impl Into<Weights<'a>>, letters: Letters) -> CharactersTrace {
        let (weights, filters) = (weights.into(), self.filters);
        let vocab = self.embedding.vocab();
        let mut tables = Buffer::unspecified(self.width * vocab * filters);
        for (k, table) in tables.chunks_exact_mut(vocab * filters).enumerate() {
            let place = self.place(weights, k).reversed_axes();
            product(view_mut(table, vocab, filters), self.embeddings(weights), place);
        }
        let words = letters.ends.len();
        let (mut features, mut largest) =
            (Buffer::unspecified(words * filters), Buffer::unspecified(words * filters));
        let mut sums = Buffer::unspecified(filters);
        let rows = features.chunks_exact_mut(filters).zip(largest.chunks_exact_mut(filters));
        for (letters, (best, at)) in letters.words().zip(rows) {
            best.fill(f32::NEG_INFINITY);
            for t in 0..letters.len() {
                sums.copy_from_slice(weights.at(self.bias));
                self.window(letters, t).for_each(|row| add(&mut sums, &tables[row]));
                for ((best, at), &sum) in best.iter_mut().zip(&mut *at).zip(sums.iter()) {
                    if sum > *best {
                        (*best, *at) = (sum, t as u32);
                    }
                }
            }
            best.iter_mut().for_each(|y| *y = tanh(*y));
        }
        CharactersTrace { letters, largest, features }
    }

    /// Adds the gradients, given those of the features `d` [words, filters].
    pub fn backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        trace: &CharactersTrace,
        d: &[f32],
    ) {
        let (weights, filters, vocab) = (weights.into(), self.filters, self.embedding.vocab());
        let slope = |(d, y): (&f32, &f32)| d * (1.0 - y * y);
        let d: Buffer = d.iter().zip(trace.features.iter()).map(slope).collect();
        add_column_sums(grads.at_mut(self.bias), &d);
        let mut tables = Buffer::zeros(self.width * vocab * filters);
        let rows = d.chunks_exact(filters).zip(trace.largest.chunks_exact(filters));
        for (letters, (d, at)) in trace.letters.words().zip(rows) {
            for (filter, (d, &t)) in d.iter().zip(at).enumerate() {
                self.window(letters, t as usize).for_each(|row| tables[row.start + filter] += d);
            }
        }
        let width = self.embedding.width();
        let mut d_place = Buffer::unspecified(filters * width);
        for (k, table) in tables.chunks_exact(vocab * filters).enumerate() {
            let table = view(table, vocab, filters);
            product(view_mut(&mut d_place, filters, width), table.t(), self.embeddings(weights));
            let to = grads.at_mut(self.weight)[k..].iter_mut().step_by(self.width);
            to.zip(d_place.iter()).for_each(|(to, d)| *to += d);
            let to = view_mut(grads.at_mut(self.embedding.weight()), vocab, width);
            add_product(to, table, self.place(weights, k));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};

    fn letters(words: &[&[u32]]) -> Letters {
        let ends = words.iter().scan(0, |end, word| {
            *end += word.len();
            Some(*end)
        });
        Letters { ids: words.concat().into(), ends: ends.collect() }
    }

    fn layer(width: usize) -> (Characters, Layout) {
        let mut layout = Layout::default();
        let layer = Characters::declare(&mut layout, "c", 6, 4, (3, width));
        (layer, layout)
    }

    const WORDS: [&[u32]; 4] = [&[1, 2], &[1, 3, 5, 4, 2], &[1, 3, 2], &[4]];

    #[test]
    fn features_are_those_of_the_formula() {
        for width in [1, 3, 5] {
            let (layer, layout) = layer(width);
            let params = layout.init(7);
            let [e, w, b] =
                ["c.embedding.weight", "c.conv.weight", "c.conv.bias"].map(|n| &params.get(n).unwrap().data);
            let trace = layer.forward(&params, letters(&WORDS));
            for (word, found) in WORDS.iter().zip(trace.features.chunks_exact(3)) {
                for (f, &found) in found.iter().enumerate() {
                    let sum = |t: usize| -> f32 {
                        let place = |k: usize| {
                            let letter = (t + k).checked_sub(width / 2).and_then(|at| word.get(at));
                            let product = |&l: &u32| -> f32 {
                                (0..4).map(|i| w[(f * 4 + i) * width + k] * e[l as usize * 4 + i]).sum()
                            };
                            letter.map_or(0.0, product)
                        };
                        (0..width).map(place).sum()
                    };
                    let largest = (0..word.len()).map(sum).fold(f32::MIN, f32::max);
                    assert!(((largest + b[f]).tanh() - found).abs() < 1e-6, "{width} {word:?} {f}");
                }
            }
        }
    }

    #[test]
    fn gradients_go_to_the_largest_sums() {
        for width in [1, 3] {
            let (layer, layout) = layer(width);
            let mut params = layout.init(7);
            // Far enough apart that no small step makes another sum the largest.
            params.get_mut("c.embedding.weight").unwrap().data =
                values(24, 3).iter().map(|x| 2.0 * x).collect();
            let r = values(12, 1);
            GradientCheck::new(params, vec![]).step(1e-3).run(
                |p, _| GradientCheck::weigh(&layer.forward(p, letters(&WORDS)).features, &r),
                |p, g, _| {
                    layer.backward(p, g, &layer.forward(p, letters(&WORDS)), &r);
                    vec![]
                },
            );
        }
    }
}
