//! An encoder whose outputs are labelled, token by token.

use crate::config::ModelConfig;
use crate::model::Reads;
use crate::model::encoder::{Encoder, EncoderTrace};
use crate::model::sentences::{Masks, Sentences, Site};
use crate::nn::buffer::Buffer;
use crate::nn::linear::Linear;
use crate::nn::params::{Gradients, Layout};
use crate::quant::{OUTPUT, Weights};

/// The layers of a network that gives each source token but the end mark, or each frame, a label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Labeler {
    pub(super) encoder: Encoder,
    pub(super) output: Linear,
}

/// What a pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelTrace {
    pub(super) encoder: EncoderTrace,
    /// The labelled tokens; what the ids are is not told.
    pub(super) labelled: Sentences,
    /// What the output layer read of them, [rows, encoder outputs].
    pub(super) features: Buffer,
    /// [rows, vocab].
    pub(super) logits: Buffer,
}

impl Labeler {
    pub(super) fn declare(
        layout: &mut Layout,
        config: &ModelConfig,
        reads: &Reads,
        target_vocab: usize,
    ) -> Self {
        let encoder = Encoder::declare(layout, config, reads);
        let output = Linear::declare(layout, OUTPUT, config.memory(), target_vocab, true);
        Self { encoder, output }
    }

    pub(super) fn forward(&self, weights: Weights<'_>, sources: Sentences, masks: Masks) -> LabelTrace {
        let labelled = sources.without_last(self.encoder.marks());
        let encoder = self.encoder.forward(weights, sources, masks);
        let width = self.output.inputs();
        let mut features = Buffer::unspecified(labelled.seq.rows() * width);
        for t in 0..labelled.seq.steps() {
            let to = labelled.seq.rows_of(t..t + 1);
            let from = encoder.sources.seq.offset(t) * width..;
            let rows = to.len() * width;
            features[to.start * width..to.end * width].copy_from_slice(&encoder.stack.output[from][..rows]);
        }
        masks.apply(Site::Output, &labelled, &mut features);
        let logits = self.output.forward(weights, &features);
        LabelTrace { encoder, labelled, features, logits }
    }

    /// Adds the gradients of a pass whose logits have been replaced by theirs.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        trace: LabelTrace,
        masks: Masks,
    ) {
        let LabelTrace { encoder, labelled, features, logits } = trace;
        let mut d = self.output.backward(weights, grads, &features, &logits);
        masks.apply(Site::Output, &labelled, &mut d);
        let (seq, width) = (&encoder.sources.seq, self.output.inputs());
        let mut d_out = Buffer::zeros(seq.rows() * width);
        for t in 0..labelled.seq.steps() {
            let from = labelled.seq.rows_of(t..t + 1);
            let to = seq.offset(t) * width..;
            d_out[to][..from.len() * width].copy_from_slice(&d[from.start * width..from.end * width]);
        }
        let d_states = self.encoder.stack.zero_states(seq.sentences());
        self.encoder.backward(weights, grads, encoder, d_out, d_states, masks);
    }
}
