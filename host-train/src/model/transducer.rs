//! Encoder, bridge and decoder wired together for one shard of a batch.

use crate::config::ModelConfig;
use crate::model::Reads;
use crate::model::bridge::{Bridge, BridgeTrace, add_to_top, top};
use crate::model::decoder::{Carried, Decoder, DecoderTrace, Feed, Known};
use crate::model::encoder::{Encoder, EncoderTrace};
use crate::model::sentences::{Masks, Sentences};
use crate::nn::buffer::Buffer;
use crate::nn::matrix::add;
use crate::nn::params::{Gradients, Layout};
use crate::nn::stack::List;
use crate::quant::{Builder, Weights};

/// The layers of a network that answers a source with a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transducer {
    pub(super) encoder: Encoder,
    bridge: Bridge,
    pub(super) decoder: Decoder,
    /// Whether the decoder reads the encoder's final state in every step.
    reads_final: bool,
}

/// What a pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TransducerTrace {
    pub(super) encoder: EncoderTrace,
    pub(super) bridge: BridgeTrace,
    pub(super) known: Known,
    pub(super) decoder: DecoderTrace,
    /// For each row of the decoder's blocks, its row in the encoder's.
    places: Buffer<usize>,
}

impl Transducer {
    pub(super) fn declare(
        layout: &mut Layout,
        config: &ModelConfig,
        reads: &Reads,
        target_vocab: usize,
    ) -> Self {
        let encoder = Encoder::declare(layout, config, reads);
        let bridge = Bridge::declare(layout, config);
        let decoder = Decoder::declare(layout, config, target_vocab);
        Self { encoder, bridge, decoder, reads_final: config.decoder.context }
    }

    /// Adds its products to a grid.
    pub(super) fn quantize(&self, builder: &mut Builder<'_>) {
        self.encoder.quantize(builder);
        self.bridge.quantize(builder);
        self.decoder.quantize(builder);
    }

    /// Hands the encoded sentences over in another order: the decoder's first states, and what it knows of each. Row `i` of
    /// the decoder is row `places[i]` of the encoder.
    pub(super) fn hand_over(
        &self,
        weights: Weights<'_>,
        encoded: &EncoderTrace,
        places: &[usize],
    ) -> (Carried, Known, BridgeTrace) {
        let mut carried = self.decoder.start(places.len());
        let stack = &self.encoder.stack;
        let finals: List<_> = encoded.states.iter().map(|s| s.gather(places, stack.hidden())).collect();
        let context = if self.reads_final {
            top(&finals, stack.directions(), stack.hidden())
        } else {
            Buffer::default()
        };
        let layers = self.decoder.stack.layers();
        let bridge = self.bridge.forward(weights, finals, layers, &mut carried.states);
        let memory = self.decoder.attention.as_ref().map(|attention| {
            let (seq, width) = (&encoded.sources.seq, stack.outputs());
            let lengths: Buffer<usize> = places.iter().map(|&p| seq.lengths()[p]).collect();
            let mut values = Buffer::unspecified(encoded.stack.output.len());
            let mut rows = values.chunks_exact_mut(width);
            for &place in places {
                for (t, row) in (0..seq.lengths()[place]).zip(&mut rows) {
                    row.copy_from_slice(&encoded.stack.output[seq.row(t, place) * width..][..width]);
                }
            }
            attention.memory(weights, lengths, values)
        });
        (carried, Known { memory, context }, bridge)
    }

    /// Reads the sources and, behind start marks, the targets or what `feed` has in their place.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        sources: Sentences,
        targets: &Sentences,
        masks: Masks,
        feed: Feed<'_>,
    ) -> TransducerTrace {
        let mut place_of = Buffer::<usize>::unspecified(sources.order.len());
        sources.order.iter().enumerate().for_each(|(place, &i)| place_of[i] = place);
        let places: Buffer<usize> = targets.order.iter().map(|&i| place_of[i]).collect();

        let encoder = self.encoder.forward(weights, sources, masks);
        let (mut carried, known, bridge) = self.hand_over(weights, &encoder, &places);
        let decoder = self.decoder.forward(weights, targets, &known, &mut carried, masks, feed);
        TransducerTrace { encoder, bridge, known, decoder, places }
    }

    /// Adds the gradients of a pass whose logits have been replaced by theirs; `coverage` as [`Decoder::backward`]'s.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: TransducerTrace,
        masks: Masks,
        coverage: f32,
    ) {
        let TransducerTrace { encoder, bridge, known, decoder, places } = trace;
        let d = self.decoder.backward(weights, grads, &known, decoder, masks, coverage);
        let stack = &self.encoder.stack;
        let mut d_finals = stack.zero_states(places.len());
        self.bridge.backward(weights, grads, bridge, d.states, &mut d_finals);
        if self.reads_final {
            add_to_top(&mut d_finals, stack.directions(), stack.hidden(), &d.context);
        }
        let d_finals = d_finals.iter().map(|s| s.scatter(&places, stack.hidden())).collect();

        let (seq, width) = (&encoder.sources.seq, stack.outputs());
        let mut d_out = Buffer::zeros(seq.rows() * width);
        if let Some(d_values) = d.values {
            let mut rows = d_values.chunks_exact(width);
            for &place in places.iter() {
                for (t, d) in (0..seq.lengths()[place]).zip(&mut rows) {
                    add(&mut d_out[seq.row(t, place) * width..][..width], d);
                }
            }
        }
        self.encoder.backward(weights, grads, encoder, d_out, d_finals, masks);
    }
}
