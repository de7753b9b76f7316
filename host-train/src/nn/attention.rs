//! Additive attention (Bahdanau, Cho, Bengio 2015, section A.1.2).
//!
//! `score_t = v · tanh(W_q s + W_k h_t + b)`, weights = softmax of the scores over the source's own tokens,
//! context = `Σ_t weight_t h_t`. The keys `W_k h_t + b` are computed once a source.

use kinglet::fixed::{saturate_i8, saturate_i16, shift_round};

use crate::nn::buffer::Buffer;
use crate::nn::linear::Linear;
use crate::nn::loss::softmax;
use crate::nn::math::tanh;
use crate::nn::matrix::{add_scaled, dot};
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::nn::simd::vectorized;
use crate::quant::{self, AttentionGrid, Builder, Functions, Q12, Q15, Weights, Width, to_i8};

/// Additive attention with its parameters `w_q.weight` [size, query], `w_k.weight` [size, memory],
/// `w_k.bias` `[size]` and `v.weight` [1, size].
#[derive(Debug, Clone, PartialEq)]
pub struct Additive {
    query: Linear,
    key: Linear,
    v: ParamId,
}

/// What is attended to: sentence after sentence, each token's vector and key.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    lengths: Buffer<usize>,
    /// First row of each sentence.
    offsets: Buffer<usize>,
    /// [rows, memory width].
    values: Buffer,
    /// [rows, size].
    keys: Buffer,
}

/// What the steps leave for backward: a row for each query, and within it a position for each source token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AttentionTrace {
    /// First position of each row.
    starts: Buffer<usize>,
    /// [rows, size]: projected queries.
    queries: Buffer,
    /// `[positions]`: scores before the softmax.
    scores: Buffer,
    /// `[positions]`: attention weights.
    weights: Buffer,
    /// [positions, size]: `tanh(query + key)`.
    energies: Buffer,
}

/// Gradients of a memory's values and keys, collected over all steps.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryGradient {
    values: Buffer,
    keys: Buffer,
}

impl Memory {
    /// Source tokens of each sentence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// All keys, [rows, size].
    pub fn keys(&self) -> &[f32] {
        &self.keys
    }
}

impl AttentionTrace {
    /// Projected queries, [rows, size].
    pub fn queries(&self) -> &[f32] {
        &self.queries
    }

    /// Scores of all rows and positions before the softmax.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The weights of query row `row` over the tokens of its source.
    pub fn weights(&self, row: usize) -> &[f32] {
        let end = self.starts.get(row + 1).copied().unwrap_or(self.weights.len());
        &self.weights[self.starts[row]..end]
    }
}

impl Additive {
    /// Declares the parameters under `name`.
    pub fn declare(layout: &mut Layout, name: &str, query: usize, memory: usize, size: usize) -> Self {
        let query = Linear::declare(layout, &format!("{name}.w_q"), query, size, false);
        let key = Linear::declare(layout, &format!("{name}.w_k"), memory, size, true);
        let init = Init::Uniform(1.0 / (size as f32).sqrt());
        Self { query, key, v: layout.declare(format!("{name}.v.weight"), &[1, size], init) }
    }

    /// Width of queries and keys.
    pub fn size(&self) -> usize {
        self.key.outputs()
    }

    /// Width of a memory vector, and so of a context.
    pub fn memory_width(&self) -> usize {
        self.key.inputs()
    }

    /// Adds the attention to a grid under `name`.
    pub fn quantize(&self, builder: &mut Builder<'_>, name: &str) {
        let (query, key) = (builder.unit(&format!("{name}.query")), builder.key_unit());
        self.query.quantize(builder, &format!("{name}.w_q"), (query, Width::I16), None);
        self.key.quantize(builder, &format!("{name}.w_k"), (key, Width::I8), None);
        builder.attention(self.v);
    }

    /// A memory of sentences of the given lengths; `values` [sum of lengths, memory width], sentence after
    /// sentence.
    pub fn memory<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        lengths: impl Into<Buffer<usize>>,
        values: impl Into<Buffer>,
    ) -> Memory {
        let (weights, lengths, mut values) = (weights.into(), lengths.into(), values.into());
        let mut offset = 0;
        let first = |&length: &usize| {
            offset += length;
            offset - length
        };
        let offsets = lengths.iter().map(first).collect();
        let keys = match weights.grid() {
            None => self.key.forward(weights, &values),
            Some(grid) => {
                values.iter_mut().for_each(|value| *value = to_i8(*value, 127.0) / 128.0);
                let scale = grid.attention().key_scale;
                // What is added to a query: Q3.12.
                let key = |key: i16| shift_round(i32::from(saturate_i8(key.into())) * scale, 6) as f32 / Q12;
                self.key.integers(weights, &values, None).into_iter().map(key).collect()
            }
        };
        Memory { lengths, offsets, values, keys }
    }

    /// Attends from `states` [rows, query width], row `i` to the sentence `sentences[i]`: appends to
    /// `trace`, and writes the contexts [rows, memory width].
    pub fn step<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        memory: &Memory,
        sentences: &[usize],
        states: &[f32],
        contexts: &mut [f32],
        trace: &mut AttentionTrace,
    ) {
        let weights = weights.into();
        let (size, width) = (self.size(), self.memory_width());
        let queries = self.query.forward(weights, states);
        let v = weights.at(self.v);
        let rows = queries.chunks_exact(size).zip(contexts.chunks_exact_mut(width));
        for (&sentence, (query, context)) in sentences.iter().zip(rows) {
            let (length, first) = (memory.lengths[sentence], memory.offsets[sentence]);
            let start = trace.weights.len();
            trace.starts.push(start);
            let keys = &memory.keys[first * size..(first + length) * size];
            let values = &memory.values[first * width..(first + length) * width];
            let (energies, scores) = (trace.energies.lengthen(length * size), trace.scores.lengthen(length));
            let shares = trace.weights.lengthen(length);
            let Some(grid) = weights.grid() else {
                score(query, keys, v, energies, scores);
                shares.copy_from_slice(scores);
                softmax(shares);
                mix(shares, values, context);
                continue;
            };
            weigh_on_grid(grid.attention(), query, keys, (energies, scores), shares);
            mix(shares, values, context);
            // The sum is exact in units of 2^-22: weights add up to at most 2^15 units, values have at most 127.
            let round = |x: f32| f32::from(saturate_i8(shift_round((x * 4_194_304.0) as i32, 15))) / 128.0;
            context.iter_mut().for_each(|x| *x = round(*x));
        }
        trace.queries.extend_from_slice(&queries);
    }

    /// Zero gradients for a memory.
    pub fn memory_gradient(&self, memory: &Memory) -> MemoryGradient {
        MemoryGradient { values: Buffer::zeros(memory.values.len()), keys: Buffer::zeros(memory.keys.len()) }
    }

    /// The reverse of the rows of [`Additive::step`] that begin at `first_row` of the trace.
    ///
    /// `d_contexts` are the gradients of the contexts; `d_weights`, if any, those that reach the weights
    /// otherwise, position after position. Collects in `d_memory` and `grads`; writes the gradients of the
    /// projected queries [rows, size].
    #[allow(clippy::too_many_arguments)]
    pub fn step_backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        memory: &Memory,
        sentences: &[usize],
        (trace, first_row): (&AttentionTrace, usize),
        d_contexts: &[f32],
        d_weights: Option<&[f32]>,
        d_memory: &mut MemoryGradient,
        d_queries: &mut [f32],
    ) {
        let (size, width) = (self.size(), self.memory_width());
        let v = weights.into().real().at(self.v);
        let dv = grads.at_mut(self.v);
        d_queries.fill(0.0);
        let origin = trace.starts.get(first_row).copied().unwrap_or(0);
        let mut d_scores = Buffer::default();
        let rows = d_contexts.chunks_exact(width).zip(d_queries.chunks_exact_mut(size));
        for (i, (&sentence, (d_context, d_query))) in sentences.iter().zip(rows).enumerate() {
            let (length, first) = (memory.lengths[sentence], memory.offsets[sentence]);
            let start = trace.starts[first_row + i];
            let positions = start..start + length;
            d_scores.resize(length);
            match d_weights {
                Some(d) => d_scores.copy_from_slice(&d[start - origin..][..length]),
                None => d_scores.fill(0.0),
            }
            let (values, keys) =
                (first * width..(first + length) * width, first * size..(first + length) * size);
            let shares = &trace.weights[positions.clone()];
            let d_values = &mut d_memory.values[values.clone()];
            mix_backward(shares, &memory.values[values], d_context, &mut d_scores, d_values);
            // Softmax: d_score = weight (d_weight - Σ weight d_weight).
            let mean = dot(shares, &d_scores);
            d_scores.iter_mut().zip(shares).for_each(|(d, weight)| *d = weight * (*d - mean));
            let energies = &trace.energies[positions.start * size..positions.end * size];
            score_backward(energies, v, &d_scores, &mut d_memory.keys[keys], d_query, dv);
        }
    }

    /// Adds to `d_states` [rows, query width] the gradients of the states that made the queries.
    pub fn add_state_gradient<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        d_queries: &[f32],
        d_states: &mut [f32],
    ) {
        self.query.input_gradient(weights, d_queries, d_states, true);
    }

    /// Adds the gradients of the weights once all steps have been reversed, given all states that were
    /// projected and the gradients of all queries; returns the gradient of the memory's values.
    pub fn finish<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        memory: &Memory,
        states: &[f32],
        d_queries: &[f32],
        d_memory: MemoryGradient,
    ) -> Buffer {
        self.query.weight_gradients(grads, states, d_queries);
        self.key.weight_gradients(grads, &memory.values, &d_memory.keys);
        let mut d_values = d_memory.values;
        self.key.input_gradient(weights, &d_memory.keys, &mut d_values, true);
        d_values
    }
}

vectorized! {
    /// Energies [keys, size] and scores of one query.
    fn score(query: &[f32], keys: &[f32], v: &[f32], energies: &mut [f32], scores: &mut [f32]) {
        let size = query.len();
        let rows = energies.chunks_exact_mut(size).zip(keys.chunks_exact(size));
        for ((energy, key), score) in rows.zip(scores) {
            energy.iter_mut().zip(query.iter().zip(key)).for_each(|(e, (q, k))| *e = tanh(q + k));
            *score = dot(v, energy);
        }
    }
}

vectorized! {
    /// The reverse of [`score`]: adds to the gradients of keys, query and `v`.
    fn score_backward(
        energies: &[f32],
        v: &[f32],
        d_scores: &[f32],
        d_keys: &mut [f32],
        d_query: &mut [f32],
        dv: &mut [f32],
    ) {
        let size = v.len();
        let rows = energies.chunks_exact(size).zip(d_keys.chunks_exact_mut(size));
        for ((energy, d_key), &d_score) in rows.zip(d_scores) {
            let sums = d_key.iter_mut().zip(d_query.iter_mut()).zip(dv.iter_mut());
            for (((d_key, d_query), dv), (e, v)) in sums.zip(energy.iter().zip(v)) {
                let d = d_score * v * (1.0 - e * e);
                *d_key += d;
                *d_query += d;
                *dv += d_score * e;
            }
        }
    }
}

vectorized! {
    /// The mean of `values` [weights, width] with these weights.
    fn mix(weights: &[f32], values: &[f32], context: &mut [f32]) {
        context.fill(0.0);
        for (&weight, value) in weights.iter().zip(values.chunks_exact(context.len())) {
            add_scaled(context, weight, value);
        }
    }
}

vectorized! {
    /// The reverse of [`mix`]: adds to the gradients of weights and values.
    fn mix_backward(
        weights: &[f32],
        values: &[f32],
        d_context: &[f32],
        d_weights: &mut [f32],
        d_values: &mut [f32],
    ) {
        let width = d_context.len();
        let rows = values.chunks_exact(width).zip(d_values.chunks_exact_mut(width));
        for ((&weight, d_weight), (value, d_value)) in weights.iter().zip(d_weights).zip(rows) {
            *d_weight += dot(d_context, value);
            add_scaled(d_value, weight, d_context);
        }
    }
}

/// Energies [keys, size], scores and weights of one query on the grid.
fn weigh_on_grid(
    grid: &AttentionGrid,
    query: &[f32],
    keys: &[f32],
    (energies, scores): (&mut [f32], &mut [f32]),
    weights: &mut [f32],
) {
    let (functions, size) = (Functions::get(), query.len());
    let mut integers = Vec::with_capacity(scores.len());
    let rows = energies.chunks_exact_mut(size).zip(keys.chunks_exact(size));
    for ((energies, key), score) in rows.zip(scores) {
        let mut sum = 0i32;
        for (((e, q), k), v) in energies.iter_mut().zip(query).zip(key).zip(&grid.v) {
            let energy = functions.tanh(saturate_i16(((q + k) * Q12) as i32));
            sum = sum.wrapping_add(v * energy);
            *e = energy as f32 / Q15;
        }
        let integer = grid.score.result(0, sum);
        *score = f32::from(integer) * grid.score_unit;
        integers.push(integer);
    }
    quant::softmax(&integers, grid.score_bits, weights);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};
    use crate::nn::params::Params;

    #[test]
    fn gradients() {
        let (query, width, size) = (3, 4, 5);
        let mut layout = Layout::default();
        let attention = Additive::declare(&mut layout, "attention", query, width, size);
        let lengths = vec![3, 1, 2];
        let sentences = [0, 1, 2, 0];
        let (rc, rw) = (values(4 * width, 1), values(3 + 1 + 2 + 3, 2));
        let inputs = vec![values(6 * width, 3), values(4 * query, 4)];
        let forward = |p: &Params, x: &[Vec<f32>]| {
            let memory = attention.memory(p, lengths.clone(), x[0].clone());
            let (mut trace, mut contexts) = (AttentionTrace::default(), vec![0.0; 4 * width]);
            attention.step(p, &memory, &sentences, &x[1], &mut contexts, &mut trace);
            (memory, trace, contexts)
        };
        GradientCheck::new(layout.init(6), inputs).run(
            |p, x| {
                let (_, trace, contexts) = forward(p, x);
                GradientCheck::weigh(&contexts, &rc) + GradientCheck::weigh(&trace.weights, &rw)
            },
            |p, g, x| {
                let (memory, trace, _) = forward(p, x);
                let mut d_memory = attention.memory_gradient(&memory);
                let mut d_queries = vec![0.0; 4 * size];
                let at = (&trace, 0);
                let d = (&mut d_memory, &mut d_queries);
                attention.step_backward(p, g, &memory, &sentences, at, &rc, Some(&rw), d.0, d.1);
                let mut d_states = vec![0.0; 4 * query];
                attention.add_state_gradient(p, &d_queries, &mut d_states);
                vec![attention.finish(p, g, &memory, &x[1], &d_queries, d_memory).to_vec(), d_states]
            },
        );
    }

    #[test]
    fn weights_sum_to_one_and_an_empty_source_gives_zeros() {
        let mut layout = Layout::default();
        let attention = Additive::declare(&mut layout, "attention", 2, 2, 3);
        let params = layout.init(1);
        let memory = attention.memory(&params, vec![0, 4], values(8, 1));
        let (mut trace, mut contexts) = (AttentionTrace::default(), vec![1.0; 4]);
        attention.step(&params, &memory, &[0, 1], &values(4, 2), &mut contexts, &mut trace);
        assert_eq!((trace.weights(0).len(), &contexts[..2]), (0, &[0.0, 0.0][..]));
        assert!((trace.weights(1).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
