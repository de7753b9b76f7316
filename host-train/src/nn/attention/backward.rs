//! The reverse of attention.

use super::score::{energies_backward, mix_backward, products_backward, unit_backward};
use super::{Attention, AttentionTrace, Memory, MemoryGradient, Score, scale};
use crate::nn::buffer::Buffer;
use crate::nn::matrix::{add, dot};
use crate::nn::params::Gradients;
use crate::quant::Weights;

impl Attention {
    /// Zero gradients for a memory.
    pub fn memory_gradient(&self, memory: &Memory) -> MemoryGradient {
        MemoryGradient { values: Buffer::zeros(memory.values.len()), keys: Buffer::zeros(memory.keys.len()) }
    }

    /// The reverse of the rows of [`Attention::step`] that begin at `first_row` of the trace.
    ///
    /// `d_contexts` are the gradients of the contexts; `d_weights`, if any, those that reach the weights
    /// otherwise, position after position. Collects in `d_memory` and `grads`; writes the gradients of what the map of states
    /// put out [rows, size].
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
        let (weights, size, width) = (weights.into(), self.size, self.memory);
        d_queries.fill(0.0);
        let origin = trace.starts.get(first_row).copied().unwrap_or(0);
        let mut d_scores = Buffer::default();
        let rows = d_contexts.chunks_exact(width).zip(d_queries.chunks_exact_mut(size));
        for (i, (&sentence, (d_context, d_query))) in sentences.iter().zip(rows).enumerate() {
            let (length, first, row) = (memory.lengths[sentence], memory.offsets[sentence], first_row + i);
            let start = trace.starts[row];
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
            let d_keys = &mut d_memory.keys[keys.clone()];
            match self.score {
                Score::Energies { v } => {
                    let energies = &trace.energies[positions.start * size..positions.end * size];
                    let v_values = weights.real().at(v);
                    energies_backward(energies, v_values, &d_scores, d_keys, d_query, grads.at_mut(v));
                }
                Score::Product { factor } => {
                    let (query, keys) = (&trace.queries[row * size..(row + 1) * size], &memory.keys[keys]);
                    let times = scale(weights, factor);
                    let d = products_backward(query, keys, times, &d_scores, d_keys, d_query);
                    if let Some(id) = factor {
                        grads.at_mut(id)[0] += d;
                    }
                }
            }
        }
        if self.query.unit {
            let rows = first_row..first_row + sentences.len();
            let units = &trace.queries[rows.start * size..rows.end * size];
            unit_backward(size, units, &trace.query_scales[rows], d_queries);
        }
    }

    /// Adds to `d_states` [rows, query width] the gradients of the states that made the queries.
    pub fn add_state_gradient<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        d_queries: &[f32],
        d_states: &mut [f32],
    ) {
        match &self.query.map {
            Some(map) => map.input_gradient(weights, d_queries, d_states, true),
            None => add(d_states, d_queries),
        }
    }

    /// Adds the gradients of the weights once all steps have been reversed, given all states that made queries
    /// and the gradients of all queries; returns the gradient of the memory's values.
    pub fn finish<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        memory: &Memory,
        states: &[f32],
        d_queries: &[f32],
        d_memory: MemoryGradient,
    ) -> Buffer {
        let MemoryGradient { values: mut d_values, keys: mut d_keys } = d_memory;
        if let Some(map) = &self.query.map {
            map.weight_gradients(grads, states, d_queries);
        }
        if self.key.unit {
            unit_backward(self.size, &memory.keys, &memory.key_scales, &mut d_keys);
        }
        match &self.key.map {
            Some(map) => {
                map.weight_gradients(grads, &memory.values, &d_keys);
                map.input_gradient(weights, &d_keys, &mut d_values, true);
            }
            None => add(&mut d_values, &d_keys),
        }
        d_values
    }
}
