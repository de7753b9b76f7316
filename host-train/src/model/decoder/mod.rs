//! The decoder: embeddings, recurrent layers, what it knows of a source, output layer.
//!
//! What its lowest cell and its output layer read is told by [`ModelConfig::cell_reads`] and [`ModelConfig::output_reads`]
//! alone; training, decoding token by token and calibration go through the same steps.

mod backward;
mod feed;
mod forward;

use std::ops::Range;

use crate::config::{AttentionKind, ModelConfig, Part, Place};
use crate::model::sentences::Sentences;
use crate::nn::attention::{Attended, Attention, AttentionTrace, Memory, Shape};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Embedding;
use crate::nn::linear::Linear;
use crate::nn::params::{Init, Layout};
use crate::nn::rnn::State;
use crate::nn::stack::{self, List, Stack, StackTrace};
use crate::quant::{Builder, OUTPUT, Width};

pub(super) use backward::coverage_loss;
pub use feed::{Choice, Feed};

/// The decoder's layers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoder {
    pub(super) embedding: Embedding,
    pub(super) stack: Stack,
    pub(super) attention: Option<Attention>,
    place: Option<Place>,
    attended: Option<Attended>,
    /// Between what the output layer reads and tied embeddings of another width.
    projection: Option<Linear>,
    pub(super) output: Linear,
    /// What the lowest cell reads beside the embedding, and its columns.
    beside: Option<(Part, Range<usize>)>,
    /// What the output layer reads, with its columns.
    features: Vec<(Part, Range<usize>)>,
}

/// What a decoder knows of its sources.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Known {
    /// What it attends to.
    pub(super) memory: Option<Memory>,
    /// What it reads in every step, [sentences, context]; else empty.
    pub(super) context: Buffer,
}

/// What a decoder hands from one step to the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Carried {
    /// One a layer.
    pub(super) states: List<State>,
    /// With input feeding, what the output layer has read, [sentences, state]; else empty.
    pub(super) fed: Buffer,
}

impl Carried {
    /// The given rows, in the given order.
    pub(super) fn gather(&self, rows: &[usize], width: usize) -> Self {
        let states = self.states.iter().map(|state| state.gather(rows, width)).collect();
        let mut fed = Buffer::unspecified(if self.fed.is_empty() { 0 } else { rows.len() * width });
        let places = fed.chunks_exact_mut(width).zip(rows);
        places.for_each(|(to, &row)| to.copy_from_slice(&self.fed[row * width..][..width]));
        Self { states, fed }
    }
}

/// What a pass over target steps leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DecoderTrace {
    /// What was read: targets behind their start marks.
    pub(super) inputs: Sentences,
    pub(super) stack: StackTrace,
    /// [rows, context]; empty without contexts.
    pub(super) contexts: Buffer,
    pub(super) attention: AttentionTrace,
    /// With attention after the cell, [rows, context + state]: contexts and states joined.
    pub(super) joined: Buffer,
    /// [rows, state]: what was made of them.
    pub(super) attended: Buffer,
    /// With input feeding, [rows, state]: the same of the step before.
    fed: Buffer,
    /// What the output layer read, [rows, features].
    pub(super) features: Buffer,
    /// With a projection, what it made of them.
    pub(super) projected: Buffer,
    /// [rows, vocab].
    pub(super) logits: Buffer,
}

impl Decoder {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig, vocab: usize) -> Self {
        let c = &config.decoder;
        let kind = if config.attends() { config.attention.kind } else { AttentionKind::None };
        let shape = Shape { kind, query: c.hidden, memory: config.memory(), size: config.attention.size };
        let name = "decoder.attention";
        let attention = Attention::declare(layout, name, shape);
        let place = config.place();
        let after = place == Some(Place::After);
        let attended = after.then(|| Attended::declare(layout, name, config.memory(), c.hidden));
        let embedding = Embedding::declare(layout, "decoder.embedding", vocab, c.embedding);
        let reads = columns(&config.cell_reads());
        let parts: Vec<usize> = reads.iter().map(|(_, columns)| columns.len()).collect();
        let shape = stack::Shape {
            residual: c.residual,
            norm: c.norm,
            ..stack::Shape::new(c.cell, &parts, c.hidden, c.layers)
        };
        let stack = Stack::declare(layout, "decoder.", &shape);
        let features = columns(&config.output_reads());
        let width = features.last().map_or(0, |(_, columns)| columns.end);
        let projection =
            config.projection().map(|to| Linear::declare(layout, "decoder.projection", width, to, false));
        let output = if config.tie_embeddings {
            let bias = layout.declare("decoder.fc_out.bias", &[vocab], Init::uniform(c.embedding));
            let columns = 0..c.embedding;
            Linear::with_weight(layout, (embedding.weight(), Some(bias)), columns)
        } else {
            Linear::declare(layout, OUTPUT, width, vocab, true)
        };
        let beside = reads.into_iter().nth(1);
        Self { embedding, stack, attention, place, attended, projection, output, beside, features }
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        self.stack.quantize(builder, "decoder.rnn", self.embedding.source(0));
        if let Some(attention) = &self.attention {
            attention.quantize(builder, "decoder.attention");
        }
        let read = self.features.iter().find(|(part, _)| *part == Part::Embedding);
        let token = read.map(|(_, columns)| self.embedding.source(columns.start));
        let unit = builder.unit("decoder.logits");
        self.output.quantize(builder, OUTPUT, (unit, Width::I16), token);
    }

    /// What is handed to the first step of `sentences` sentences: states of zeros.
    pub(super) fn start(&self, sentences: usize) -> Carried {
        let fed = if self.feeds() { sentences * self.stack.outputs() } else { 0 };
        Carried { states: self.stack.zero_states(sentences), fed: Buffer::zeros(fed) }
    }

    /// Whether a step reads what the output layer read in the step before.
    fn feeds(&self) -> bool {
        matches!(self.beside, Some((Part::Attended, _)))
    }

    /// Width of contexts; 0 without.
    fn context(&self) -> usize {
        let attended = self.attention.as_ref().map_or(0, Attention::memory_width);
        let read = self.features.iter().find(|(part, _)| *part == Part::Context);
        read.map_or(attended, |(_, columns)| columns.len())
    }

    /// Width of what the output layer reads.
    pub(super) fn width(&self) -> usize {
        self.features.last().map_or(0, |(_, columns)| columns.end)
    }

    /// A trace with room for all that the steps of `inputs` leave, whose embeddings are `x`.
    fn trace(&self, inputs: Sentences, stack: StackTrace) -> DecoderTrace {
        let rows = inputs.seq.rows();
        let room = |width: usize| Buffer::unspecified(rows * width);
        let after = self.attended.as_ref();
        DecoderTrace {
            contexts: room(self.context()),
            attention: AttentionTrace::default(),
            joined: room(after.map_or(0, Attended::inputs)),
            attended: room(after.map_or(0, Attended::width)),
            fed: room(if self.feeds() { self.stack.outputs() } else { 0 }),
            features: room(self.width()),
            projected: room(self.projection.as_ref().map_or(0, Linear::outputs)),
            logits: room(self.output.outputs()),
            inputs,
            stack,
        }
    }

    /// What the lowest cell read in a row of a pass without dropout.
    pub(super) fn read_by_cell(&self, trace: &DecoderTrace, row: usize) -> Vec<f32> {
        let embedding = trace.stack.input(0).row(row, self.embedding.width());
        let beside = self.beside.iter().flat_map(|(part, columns)| {
            let rows = if *part == Part::Context { &trace.contexts } else { &trace.fed };
            &rows[row * columns.len()..][..columns.len()]
        });
        embedding.iter().chain(beside).copied().collect()
    }
}

/// Parts beside each other.
fn columns(parts: &[(Part, usize)]) -> Vec<(Part, Range<usize>)> {
    let mut end = 0;
    let place = |&(part, width): &(Part, usize)| {
        end += width;
        (part, end - width..end)
    };
    parts.iter().map(place).collect()
}
