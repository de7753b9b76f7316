//! The encoder: embeddings, perhaps with features of letters, or normalised frames, and a recurrent stack over the sources.

use crate::config::ModelConfig;
use crate::model::Reads;
use crate::model::sentences::{Masks, Sentences, Site};
use crate::model::spelled::{Spelled, Speller};
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Embedding;
use crate::nn::frames::Standardize;
use crate::nn::params::{Gradients, Layout};
use crate::nn::rnn::State;
use crate::nn::stack::{List, Shape, Stack, StackTrace};
use crate::quant::{Builder, Weights};
use crate::vocab::Sentence;

/// The encoder's layers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoder {
    lowest: Lowest,
    pub(super) stack: Stack,
}

/// What makes the rows that the lowest layer reads.
#[derive(Debug, Clone, PartialEq)]
enum Lowest {
    Tokens(Embedding),
    Words(Speller),
    Frames(Standardize),
}

impl Lowest {
    /// Numbers of a row.
    fn width(&self) -> usize {
        match self {
            Self::Tokens(embedding) => embedding.width(),
            Self::Words(speller) => speller.width(),
            Self::Frames(frames) => frames.width(),
        }
    }
}

/// What the encoder leaves for the decoder and for backward.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EncoderTrace {
    pub(super) sources: Sentences,
    /// Where letters are read.
    spelled: Option<Spelled>,
    /// Final states of every layer and direction, in the order of `sources`.
    pub(super) states: List<State>,
    pub(super) stack: StackTrace,
}

impl Encoder {
    pub(super) fn declare(layout: &mut Layout, config: &ModelConfig, reads: &Reads) -> Self {
        let e = &config.encoder;
        let lowest = match reads {
            Reads::Tokens(_, Some(spelling)) => Lowest::Words(Speller::declare(layout, e, spelling.clone())),
            Reads::Tokens(size, None) => {
                Lowest::Tokens(Embedding::declare(layout, "encoder.embedding", *size, e.embedding))
            }
            Reads::Frames(width) => Lowest::Frames(Standardize::declare(layout, "encoder.frames", *width)),
        };
        let parts = [lowest.width()];
        let shape = Shape {
            joined: matches!(lowest, Lowest::Words(_)),
            bidirectional: e.bidirectional,
            reverse: e.reverse,
            residual: e.residual,
            norm: e.norm,
            ..Shape::new(e.cell, &parts, e.hidden, e.layers)
        };
        Self { lowest, stack: Stack::declare(layout, "encoder.", &shape) }
    }

    /// Packs the sources of a batch that `names` counts up.
    pub(super) fn read<S: Sentence>(&self, batch: &[S], names: &[usize]) -> Sentences {
        match &self.lowest {
            Lowest::Tokens(embedding) => Sentences::new(names, embedding.vocab(), |name| batch[name].ids()),
            Lowest::Words(speller) => speller.read(batch, names),
            Lowest::Frames(frames) => {
                Sentences::with(names, frames.width(), |i| batch[names[i]].ids(), |number| number)
            }
        }
    }

    /// Marks behind a source: none behind frames.
    pub(super) fn marks(&self) -> usize {
        match self.lowest {
            Lowest::Tokens(_) | Lowest::Words(_) => 1,
            Lowest::Frames(_) => 0,
        }
    }

    /// Numbers a frame, if it reads frames.
    pub(super) fn frame(&self) -> Option<usize> {
        match &self.lowest {
            Lowest::Tokens(_) | Lowest::Words(_) => None,
            Lowest::Frames(frames) => Some(frames.width()),
        }
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        let Lowest::Tokens(embedding) = &self.lowest else {
            unreachable!("no grid is built for letters or frames")
        };
        let token = embedding.source(0);
        self.stack.quantize(builder, "encoder.rnn", token);
    }

    pub(super) fn forward(&self, weights: Weights<'_>, sources: Sentences, masks: Masks) -> EncoderTrace {
        let (x, spelled) = match &self.lowest {
            Lowest::Tokens(embedding) => {
                (sources.embedded(embedding, weights, masks, Site::SourceEmbedding), None)
            }
            Lowest::Words(speller) => {
                let spelled = speller.forward(weights, &sources);
                let words = speller.rows(weights, &spelled);
                let x = if masks.keeps_embeddings() {
                    (words, Some(spelled.words.clone()))
                } else {
                    let mut x = spelled.spread(&words, speller.width());
                    masks.apply(Site::SourceEmbedding, &sources, &mut x);
                    (x, None)
                };
                (x, Some(spelled))
            }
            // What is measured is there: none of it is dropped.
            Lowest::Frames(frames) => ((frames.forward(weights, &sources.ids), None), None),
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
        match &self.lowest {
            Lowest::Tokens(embedding) => {
                masks.apply(Site::SourceEmbedding, &sources, &mut dx);
                let ids = tokens.as_ref().map_or(&sources.ids, |tokens| &tokens.ids);
                embedding.backward(grads, ids, &dx);
            }
            Lowest::Words(speller) => {
                let spelled = spelled.expect("words have been spelled");
                masks.apply(Site::SourceEmbedding, &sources, &mut dx);
                if tokens.is_none() {
                    dx = spelled.gather(&dx, speller.width());
                }
                speller.backward(weights, grads, &spelled, &dx);
            }
            Lowest::Frames(_) => {}
        }
    }
}
