//! Encoder, bridge and decoder wired together for one shard of a batch.

use crate::config::ModelConfig;
use crate::model::bridge::{Bridge, BridgeTrace};
use crate::model::decoder::{Decoder, DecoderTrace, Feed};
use crate::model::encoder::{Encoder, EncoderTrace};
use crate::model::sentences::{Masks, Sentences};
use crate::nn::attention::Memory;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout, Params};
use crate::nn::rnn::State;
use crate::quant::{Builder, Grid, Scheme, Weights};

/// The layers of a model: sizes and places of parameters, no numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    pub(super) encoder: Encoder,
    bridge: Bridge,
    pub(super) decoder: Decoder,
}

/// What a pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pass {
    pub(super) encoder: EncoderTrace,
    pub(super) bridge: BridgeTrace,
    pub(super) decoder: DecoderTrace,
    pub(super) targets: Sentences,
    pub(super) memory: Option<Memory>,
    /// For each row of the decoder's blocks, its row in the encoder's.
    places: Vec<usize>,
}

impl Network {
    pub(super) fn declare(
        layout: &mut Layout,
        config: &ModelConfig,
        source_vocab: usize,
        target_vocab: usize,
    ) -> Self {
        let encoder = Encoder::declare(layout, config, source_vocab);
        let bridge = Bridge::declare(layout, config);
        let decoder = Decoder::declare(layout, config, encoder.stack.outputs(), target_vocab);
        Self { encoder, bridge, decoder }
    }

    /// The integers of the parameters; inputs of products are at most `limit`.
    pub(super) fn grid(&self, params: &Params, scheme: &Scheme, limit: f32) -> Grid {
        let mut builder = Builder::new(params, scheme, limit);
        self.encoder.quantize(&mut builder);
        self.bridge.quantize(&mut builder);
        self.decoder.quantize(&mut builder);
        builder.finish()
    }

    /// Hands the encoded sentences over in another order: the decoder's first states, and what it attends
    /// to. Row `i` of the decoder is row `places[i]` of the encoder.
    pub(super) fn hand_over(
        &self,
        weights: Weights<'_>,
        encoded: &EncoderTrace,
        places: &[usize],
    ) -> (Vec<State>, Option<Memory>, BridgeTrace) {
        let mut states = self.decoder.stack.zero_states(places.len());
        let hidden = self.encoder.stack.hidden();
        let finals = encoded.states.iter().map(|s| s.gather(places, hidden)).collect();
        let bridge = self.bridge.forward(weights, finals, self.decoder.stack.layers(), &mut states);
        let memory = self.decoder.attention.as_ref().map(|attention| {
            let (seq, width) = (&encoded.sources.seq, self.encoder.stack.outputs());
            let lengths: Vec<usize> = places.iter().map(|&p| seq.lengths()[p]).collect();
            let mut values = Vec::with_capacity(encoded.stack.output.len());
            for &place in places {
                for t in 0..seq.lengths()[place] {
                    values.extend_from_slice(&encoded.stack.output[seq.row(t, place) * width..][..width]);
                }
            }
            attention.memory(weights, lengths, values)
        });
        (states, memory, bridge)
    }

    /// Reads the sources and, behind start marks, the targets or what `feed` has in their place. `names` are the sentences' numbers in the
    /// whole batch.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        sources: &[&[u32]],
        targets: &[&[u32]],
        names: &[usize],
        masks: Masks<'_>,
        feed: Feed<'_>,
    ) -> Pass {
        let sources = Sentences::new(sources, names, self.encoder.vocab());
        let targets = Sentences::new(targets, names, self.decoder.embedding.vocab());
        let mut place_of = vec![0; sources.order.len()];
        sources.order.iter().enumerate().for_each(|(place, &i)| place_of[i] = place);
        let places: Vec<usize> = targets.order.iter().map(|&i| place_of[i]).collect();

        let encoder = self.encoder.forward(weights, sources, masks);
        let (mut states, memory, bridge) = self.hand_over(weights, &encoder, &places);
        let decoder = self.decoder.forward(weights, &targets, memory.as_ref(), &mut states, masks, feed);
        Pass { encoder, bridge, decoder, targets, memory, places }
    }

    /// Adds the gradients of a pass whose logits have been replaced by their gradients.
    pub(super) fn backward(&self, params: &Params, grads: &mut Gradients, pass: Pass, masks: Masks<'_>) {
        let Pass { encoder, bridge, decoder, memory, places, .. } = pass;
        let (d_states, d_values) = self.decoder.backward(params, grads, memory.as_ref(), decoder, masks);
        let mut d_finals = self.encoder.stack.zero_states(places.len());
        self.bridge.backward(params, grads, bridge, d_states, &mut d_finals);
        let hidden = self.encoder.stack.hidden();
        let d_finals = d_finals.iter().map(|s| s.scatter(&places, hidden)).collect();

        let (seq, width) = (&encoder.sources.seq, self.encoder.stack.outputs());
        let mut d_out = vec![0.0; seq.rows() * width];
        if let Some(d_values) = d_values {
            let mut rows = d_values.chunks_exact(width);
            for &place in &places {
                for (t, d) in (0..seq.lengths()[place]).zip(&mut rows) {
                    add(&mut d_out[seq.row(t, place) * width..][..width], d);
                }
            }
        }
        self.encoder.backward(params, grads, encoder, d_out, d_finals, masks);
    }
}
