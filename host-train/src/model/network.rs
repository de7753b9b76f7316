//! A network of any task, for one shard of a batch.

use crate::config::{ModelConfig, Task};
use crate::model::Reads;
use crate::model::decoder::{Decoder, DecoderTrace, Feed, Known, coverage_loss};
use crate::model::encoder::Encoder;
use crate::model::labeler::{LabelTrace, Labeler};
use crate::model::sentences::{Masks, Sentences};
use crate::model::transducer::{Transducer, TransducerTrace};
use crate::nn::buffer::Buffer;
use crate::nn::params::{Gradients, Layout, Params};
use crate::quant::{Builder, Grid, Scheme, Weights};
use crate::vocab::Sentence;

/// The layers of a model: sizes and places of parameters, no numbers.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one a model")]
pub(super) enum Network {
    Transduce(Transducer),
    Label(Labeler),
    Generate(Decoder),
}

/// What a pass leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pass {
    pub(super) targets: Sentences,
    pub(super) trace: Trace,
}

/// What a pass of each network leaves.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one exists a shard")]
pub(super) enum Trace {
    Transduce(TransducerTrace),
    Label(LabelTrace),
    Generate(DecoderTrace),
}

impl Trace {
    /// A row for each packed target token, [rows, vocab].
    pub(super) fn logits(&self) -> &Buffer {
        match self {
            Self::Transduce(trace) => &trace.decoder.logits,
            Self::Label(trace) => &trace.logits,
            Self::Generate(trace) => &trace.logits,
        }
    }

    /// The same, to be replaced by their gradients.
    pub(super) fn logits_mut(&mut self) -> &mut Buffer {
        match self {
            Self::Transduce(trace) => &mut trace.decoder.logits,
            Self::Label(trace) => &mut trace.logits,
            Self::Generate(trace) => &mut trace.logits,
        }
    }

    /// Sum of the squared distances from 1 of what attention each source position got.
    pub(super) fn coverage_loss(&self) -> f64 {
        match self {
            Self::Transduce(trace) => coverage_loss(&trace.decoder, &trace.known),
            Self::Label(_) | Self::Generate(_) => 0.0,
        }
    }
}

impl Network {
    pub(super) fn declare(
        layout: &mut Layout,
        config: &ModelConfig,
        reads: &Reads,
        target_vocab: usize,
    ) -> Self {
        match config.task {
            Task::Transduce => Self::Transduce(Transducer::declare(layout, config, reads, target_vocab)),
            Task::Label => Self::Label(Labeler::declare(layout, config, reads, target_vocab)),
            Task::Generate => Self::Generate(Decoder::declare(layout, config, target_vocab)),
        }
    }

    /// The integers of the parameters; inputs of products are at most `limit`.
    pub(super) fn grid(&self, params: &Params, scheme: &Scheme, limit: f32) -> Grid {
        let mut builder = Builder::new(params, scheme, limit);
        match self {
            Self::Transduce(network) => network.quantize(&mut builder),
            Self::Label(_) | Self::Generate(_) => unreachable!("no grid is built for this task"),
        }
        builder.finish()
    }

    /// What goes from token to token, if anything does.
    pub(super) fn decoder(&self) -> Option<&Decoder> {
        match self {
            Self::Transduce(network) => Some(&network.decoder),
            Self::Generate(network) => Some(network),
            Self::Label(_) => None,
        }
    }

    /// Number of target tokens.
    fn target_vocab(&self) -> usize {
        match self {
            Self::Transduce(network) => network.decoder.output.outputs(),
            Self::Label(network) => network.output.outputs(),
            Self::Generate(network) => network.output.outputs(),
        }
    }

    /// Reads the sources and, behind start marks, the targets or what `feed` has in their place. `names` are the numbers of
    /// the pairs to read.
    pub(super) fn forward<S: Sentence, T: AsRef<[u32]>>(
        &self,
        weights: Weights<'_>,
        (sources, targets): (&[S], &[T]),
        names: &[usize],
        masks: Masks,
        feed: Feed<'_>,
    ) -> Pass {
        let targets = Sentences::new(names, self.target_vocab(), |name| targets[name].as_ref());
        let read = |encoder: &Encoder| encoder.read(sources, names);
        let trace = match self {
            Self::Transduce(network) => {
                let sources = read(&network.encoder);
                Trace::Transduce(network.forward(weights, sources, &targets, masks, feed))
            }
            Self::Label(network) => {
                let trace = network.forward(weights, read(&network.encoder), masks);
                let lengths = (targets.seq.lengths(), trace.labelled.seq.lengths());
                assert_eq!(
                    lengths.0, lengths.1,
                    "a label for each source token but the end mark, or for each frame"
                );
                Trace::Label(trace)
            }
            Self::Generate(network) => {
                let mut carried = network.start(targets.seq.sentences());
                let known = Known::default();
                Trace::Generate(network.forward(weights, &targets, &known, &mut carried, masks, feed))
            }
        };
        Pass { targets, trace }
    }

    /// Adds the gradients of a pass whose logits have been replaced by theirs; `coverage` as [`Decoder::backward`]'s.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        pass: Pass,
        masks: Masks,
        coverage: f32,
    ) {
        match (self, pass.trace) {
            (Self::Transduce(network), Trace::Transduce(trace)) => {
                network.backward(weights, grads, trace, masks, coverage);
            }
            (Self::Label(network), Trace::Label(trace)) => network.backward(weights, grads, trace, masks),
            (Self::Generate(network), Trace::Generate(trace)) => {
                network.backward(weights, grads, &Known::default(), trace, masks, 0.0);
            }
            _ => unreachable!("a pass is of its own network"),
        }
    }
}
