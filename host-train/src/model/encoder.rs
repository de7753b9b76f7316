//! The encoder: embeddings and a recurrent stack over the sources.

use crate::config::ModelConfig;
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Embedding;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::State;
use crate::nn::stack::{List, Shape, Stack, StackTrace};
use crate::quant::{Builder, Weights};

/// The encoder's layers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoder {
    embedding: Embedding,
    pub(super) stack: Stack,
}

/// What the encoder leaves for the decoder and for backward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EncoderTrace {
    pub(super) sources: Sentences,
    /// Final states of every layer and direction, in the order of `sources`.
    pub(super) states: List<State>,
    pub(super) stack: StackTrace,
}

impl Encoder {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig, vocab: usize) -> Self {
        let e = &config.encoder;
        let parts = [e.embedding];
        let shape = Shape {
            bidirectional: e.bidirectional,
            reverse: e.reverse,
            residual: e.residual,
            norm: e.norm,
            ..Shape::new(e.cell, &parts, e.hidden, e.layers)
        };
        Self {
            embedding: Embedding::declare(layout, "encoder.embedding", vocab, e.embedding),
            stack: Stack::declare(layout, "encoder.", &shape),
        }
    }

    /// Number of source tokens.
    pub(super) fn vocab(&self) -> usize {
        self.embedding.vocab()
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        let token = self.embedding.source(0);
        self.stack.quantize(builder, "encoder.rnn", token);
    }

    pub(super) fn forward(&self, weights: Weights<'_>, sources: Sentences, masks: Masks) -> EncoderTrace {
        let x = sources.embedded(&self.embedding, weights, masks, Site::SourceEmbedding);
        let mut states = self.stack.zero_states(sources.seq.sentences());
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::EncoderLayer(k), &sources, rows);
        let stack = self.stack.run(weights, &sources.seq, x, (&mut states, true), &between);
        EncoderTrace { sources, states, stack }
    }

    /// Adds the gradients, given those of the outputs and of the final states.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: EncoderTrace,
        d_out: Buffer,
        mut d_states: List<State>,
        masks: Masks,
    ) {
        let EncoderTrace { sources, stack, .. } = trace;
        let tokens = stack.tokens.clone();
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::EncoderLayer(k), &sources, rows);
        let seq = &sources.seq;
        let mut dx = self.stack.backward(weights, grads, seq, stack, d_out, &mut d_states, &between);
        masks.apply(Site::SourceEmbedding, &sources, &mut dx);
        let ids = tokens.as_ref().map_or(&sources.ids, |tokens| &tokens.ids);
        self.embedding.backward(grads, ids, &dx);
    }
}
