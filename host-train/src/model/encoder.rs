//! The encoder: embeddings and a recurrent stack over the sources.

use crate::config::ModelConfig;
use crate::model::Sources;
use crate::model::sentences::{Masks, Sentences, Site};
use crate::model::spelled::{Spelled, Speller};
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
    /// Where letters are read.
    speller: Option<Speller>,
    pub(super) stack: Stack,
}

/// What the encoder leaves for the decoder and for backward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EncoderTrace {
    pub(super) sources: Sentences,
    spelled: Option<Spelled>,
    /// Final states of every layer and direction, in the order of `sources`.
    pub(super) states: List<State>,
    pub(super) stack: StackTrace,
}

impl Encoder {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig, sources: &Sources) -> Self {
        let e = &config.encoder;
        let parts = [e.inputs()];
        let shape = Shape {
            joined: e.inputs() > e.embedding,
            bidirectional: e.bidirectional,
            reverse: e.reverse,
            residual: e.residual,
            norm: e.norm,
            ..Shape::new(e.cell, &parts, e.hidden, e.layers)
        };
        Self {
            embedding: Embedding::declare(layout, "encoder.embedding", sources.size, e.embedding),
            speller: sources.spelling.clone().map(|spelling| Speller::declare(layout, e, spelling)),
            stack: Stack::declare(layout, "encoder.", &shape),
        }
    }

    /// Packs the sources of a batch that `names` counts up.
    pub(super) fn read<S: AsRef<[u32]>>(&self, batch: &[S], names: &[usize]) -> Sentences {
        match &self.speller {
            Some(speller) => Sentences::with(batch, names, |id| speller.entry(id)),
            None => Sentences::new(batch, names, self.embedding.vocab()),
        }
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        let token = self.embedding.source(0);
        self.stack.quantize(builder, "encoder.rnn", token);
    }

    pub(super) fn forward(&self, weights: Weights<'_>, sources: Sentences, masks: Masks) -> EncoderTrace {
        let spelled = self.speller.as_ref().map(|speller| speller.forward(weights, &sources));
        let x = match (&self.speller, &spelled) {
            (Some(speller), Some(spelled)) => {
                let words = speller.rows(weights, &self.embedding, spelled);
                if masks.keeps_embeddings() {
                    (words, Some(spelled.words.clone()))
                } else {
                    let mut x = spelled.spread(&words, self.stack.layers()[0].inputs());
                    masks.apply(Site::SourceEmbedding, &sources, &mut x);
                    (x, None)
                }
            }
            _ => sources.embedded(&self.embedding, weights, masks, Site::SourceEmbedding),
        };
        let mut states = self.stack.zero_states(sources.seq.sentences());
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::EncoderLayer(k), &sources, rows);
        let stack = self.stack.run(weights, &sources.seq, x, (&mut states, true), &between);
        EncoderTrace { sources, spelled, states, stack }
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
        let EncoderTrace { sources, spelled, stack, .. } = trace;
        let tokens = stack.tokens.clone();
        let between = |k: usize, rows: &mut [f32]| masks.apply(Site::EncoderLayer(k), &sources, rows);
        let seq = &sources.seq;
        let mut dx = self.stack.backward(weights, grads, seq, stack, d_out, &mut d_states, &between);
        masks.apply(Site::SourceEmbedding, &sources, &mut dx);
        if let (Some(speller), Some(spelled)) = (&self.speller, &spelled) {
            if tokens.is_none() {
                dx = spelled.gather(&dx, self.stack.layers()[0].inputs());
            }
            return speller.backward(weights, grads, &self.embedding, spelled, &dx);
        }
        let ids = tokens.as_ref().map_or(&sources.ids, |tokens| &tokens.ids);
        self.embedding.backward(grads, ids, &dx);
    }
}
