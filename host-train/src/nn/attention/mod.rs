//! Attention over a source, masked always: a sentence's weights are over its own tokens.
//!
//! A query made of a decoder state has a score with the key of each source position; the weights are the softmax of the
//! scores, the context is the mean of the encoder's outputs with these weights. Kinds differ in how queries, keys and scores
//! are made, and each has its file; queries and keys that do not depend on each other are computed once.

mod additive;
mod attended;
mod backward;
mod concat;
mod cosine;
mod dot;
mod general;
mod grid;
mod score;
#[cfg(test)]
mod tests;

use crate::config::AttentionKind;
use crate::nn::buffer::Buffer;
use crate::nn::linear::Linear;
use crate::nn::loss::softmax;
use crate::nn::params::{Layout, ParamId};
use crate::quant::{Builder, Weights, Width, to_i8};
use score::{energies, make_unit, mix, products};

pub use attended::Attended;

/// Sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its form; [`AttentionKind::None`] has none.
    pub kind: AttentionKind,
    /// Width of a decoder state.
    pub query: usize,
    /// Width of an encoder output.
    pub memory: usize,
    /// Width of energies.
    pub size: usize,
}

/// Attention of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    query: Projection,
    key: Projection,
    score: Score,
    /// Width of queries and keys.
    size: usize,
    memory: usize,
}

/// How a query or key is made of a state or an encoder output.
#[derive(Debug, Clone, PartialEq, Default)]
struct Projection {
    /// Without a map it is what it is made of.
    map: Option<Linear>,
    /// Whether its length is made 1.
    unit: bool,
}

/// How a score is made of a query and a key.
#[derive(Debug, Clone, PartialEq)]
enum Score {
    /// `v · tanh(query + key)`.
    Energies { v: ParamId },
    /// `query · key`, times a learned factor if there is one.
    Product { factor: Option<ParamId> },
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
    /// Of keys of length 1, `[rows]`: what they were multiplied by.
    key_scales: Buffer,
}

/// What the steps leave for backward: a row for each query, and within it a position for each source token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AttentionTrace {
    /// First position of each row.
    starts: Buffer<usize>,
    /// [rows, size].
    queries: Buffer,
    /// Of queries of length 1, `[rows]`: what they were multiplied by.
    query_scales: Buffer,
    /// `[positions]`: scores before the softmax.
    scores: Buffer,
    /// `[positions]`: attention weights.
    weights: Buffer,
    /// Where there are energies, [positions, size]: `tanh(query + key)`.
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

    /// First of a sentence's rows.
    pub fn offset(&self, sentence: usize) -> usize {
        self.offsets[sentence]
    }

    /// All keys, [rows, size].
    pub fn keys(&self) -> &[f32] {
        &self.keys
    }
}

impl AttentionTrace {
    /// Queries, [rows, size].
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

    /// First of the positions of query row `row`.
    pub fn start(&self, row: usize) -> usize {
        self.starts[row]
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.weights.len()
    }
}

impl Projection {
    fn mapped(map: Linear) -> Self {
        Self { map: Some(map), unit: false }
    }

    /// Rows made of `x`, and what those of length 1 were multiplied by.
    fn forward(&self, weights: Weights<'_>, x: &[f32], size: usize) -> (Buffer, Buffer) {
        let mut rows = match &self.map {
            Some(map) => map.forward(weights, x),
            None => Buffer::copy(x),
        };
        let mut scales = Buffer::default();
        if self.unit {
            scales.resize(rows.len() / size);
            make_unit(size, &mut rows, &mut scales);
        }
        (rows, scales)
    }
}

impl Attention {
    /// Declares the parameters under `name`; `None` where the kind is none.
    ///
    /// # Panics
    /// When a kind without a map is to multiply vectors of unequal widths; [`crate::config::Config::check`] excludes it.
    pub fn declare(layout: &mut Layout, name: &str, shape: Shape) -> Option<Self> {
        let declare = match shape.kind {
            AttentionKind::None => return None,
            AttentionKind::Additive => additive::declare,
            AttentionKind::Dot => dot::declare,
            AttentionKind::General => general::declare,
            AttentionKind::Concat => concat::declare,
            AttentionKind::Cosine => cosine::declare,
        };
        Some(declare(layout, name, shape))
    }

    /// Width of queries and keys.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Width of a memory vector, and so of a context.
    pub fn memory_width(&self) -> usize {
        self.memory
    }

    /// Whether keys are made by a map.
    pub fn maps_keys(&self) -> bool {
        self.key.map.is_some()
    }

    /// Adds additive attention to a grid under `name`.
    ///
    /// # Panics
    /// When it is of another kind, which no scheme is made for.
    pub fn quantize(&self, builder: &mut Builder<'_>, name: &str) {
        let (Some(map_q), Some(map_k), Score::Energies { v }) = (&self.query.map, &self.key.map, &self.score)
        else {
            unreachable!("no grid is built for this kind of attention")
        };
        let (query, key) = (builder.unit(&format!("{name}.query")), builder.key_unit());
        map_q.quantize(builder, &format!("{name}.w_q"), (query, Width::I16), None);
        map_k.quantize(builder, &format!("{name}.w_k"), (key, Width::I8), None);
        builder.attention(*v);
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
        let (keys, key_scales) = match (weights.grid(), &self.key.map) {
            (Some(grid), Some(map)) => {
                values.iter_mut().for_each(|value| *value = to_i8(*value, 127.0) / 128.0);
                let integers = map.integers(weights, &values, None).into_iter();
                (integers.map(|key| grid::key(grid.attention(), key)).collect(), Buffer::default())
            }
            _ => self.key.forward(weights, &values, self.size),
        };
        Memory { lengths, offsets, values, keys, key_scales }
    }

    /// A trace with room for `queries[b]` queries of sentence `b` of `memory`.
    pub fn begin(&self, memory: &Memory, queries: &[usize]) -> AttentionTrace {
        let positions: usize =
            queries.iter().zip(memory.lengths()).map(|(queries, keys)| queries * keys).sum();
        let energies = if matches!(self.score, Score::Energies { .. }) { positions * self.size } else { 0 };
        AttentionTrace { energies: Buffer::with_room(energies), ..AttentionTrace::default() }
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
        let (size, width) = (self.size, self.memory);
        let (queries, query_scales) = self.query.forward(weights, states, size);
        let rows = queries.chunks_exact(size).zip(contexts.chunks_exact_mut(width));
        for (&sentence, (query, context)) in sentences.iter().zip(rows) {
            let (length, first) = (memory.lengths[sentence], memory.offsets[sentence]);
            let start = trace.weights.len();
            trace.starts.push(start);
            let keys = &memory.keys[first * size..(first + length) * size];
            let values = &memory.values[first * width..(first + length) * width];
            let (scores, shares) = (trace.scores.lengthen(length), trace.weights.lengthen(length));
            match (&self.score, weights.grid()) {
                (Score::Energies { v }, None) => {
                    energies(query, keys, weights.at(*v), trace.energies.lengthen(length * size), scores);
                }
                (Score::Energies { .. }, Some(grid)) => {
                    let energies = trace.energies.lengthen(length * size);
                    grid::weigh(grid.attention(), query, keys, (energies, scores), shares);
                    mix(shares, values, context);
                    grid::round_context(context);
                    continue;
                }
                (Score::Product { factor }, _) => products(query, keys, scale(weights, *factor), scores),
            }
            shares.copy_from_slice(scores);
            softmax(shares);
            mix(shares, values, context);
        }
        trace.queries.extend_from_slice(&queries);
        trace.query_scales.extend_from_slice(&query_scales);
    }
}

/// The factor of a score.
fn scale(weights: Weights<'_>, factor: Option<ParamId>) -> f32 {
    factor.map_or(1.0, |id| weights.at(id)[0])
}
