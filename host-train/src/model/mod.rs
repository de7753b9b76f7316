//! Encoder-decoder networks.
//!
//! [`Seq2Seq`] is configuration and parameters; `network` wires the layers of [`crate::nn`], `step` computes
//! losses and gradients of batches, `infer` advances decoders token by token for [`crate::search`], and
//! `observe` shows the inside to whoever calibrates.

mod bridge;
mod decoder;
mod encoder;
mod infer;
mod labeler;
mod network;
mod objective;
mod observe;
mod reads;
mod sentences;
mod spelled;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod transducer;

pub use crate::nn::params::{Gradients, Params, Tensor};
pub use decoder::{Choice, Feed};
pub use infer::{Decoding, Stepped};
pub use objective::{Objective, Teachers};
pub use reads::Reads;
use reads::check_size;
pub(crate) use step::in_parallel;
pub use step::{LossSum, StepOptions};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::operand::Operands;
use crate::nn::params::Layout;
use crate::quant::{Grid, Scheme};
use crate::vocab::Encoded;
use network::Network;
use step::Spare;

/// Id that fills a batch where a rectangle is needed; never a token of a sentence.
pub const PAD: u32 = 0;
/// Id of the start of a target.
pub const SOS: u32 = 1;
/// Id of the end of a source or target.
pub const EOS: u32 = 2;
/// Id of a token outside the vocabulary.
pub const UNK: u32 = 3;

/// Sentence pairs of one step; no padding, no start marks. Ids outside the vocabulary count as [`UNK`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Sources, each ending with [`EOS`]; or the counts of its frames, see [`crate::data::frames::to_ids`].
    pub sources: Vec<Encoded>,
    /// Target ids, each sentence ending with [`EOS`]; as many as sources.
    pub targets: Vec<Vec<u32>>,
}

/// An encoder-decoder network with its parameters, which have PyTorch's names and layouts:
///
/// - `encoder.embedding.weight`, `encoder.rnn.*` as `nn.GRU` or `nn.LSTM`, and `encoder.fc.{weight,bias}`
///   with a linear bridge;
/// - where letters are read `encoder.characters.embedding.weight` and, as `nn.Conv1d`,
///   `encoder.characters.conv.{weight,bias}`; the first layer reads [embedding; features];
/// - in place of the embedding, where sources are numbers, `encoder.frames.{mean,std}` [numbers a frame], which are not learned;
/// - `decoder.attention.{w_q.weight, w_k.weight, w_k.bias, v.weight}` with attention;
/// - `decoder.embedding.weight`, `decoder.rnn.*`, whose first layer reads [embedding; context], and
///   `decoder.fc_out.{weight,bias}`, which reads [state; context; embedding] with attention and the state
///   without.
#[derive(Debug, Clone)]
pub struct Seq2Seq {
    /// Its sizes.
    pub config: ModelConfig,
    /// What it has learned.
    pub params: Params,
    /// The grid that it computes on, if it does not in floating point.
    pub scheme: Option<Scheme>,
    network: Network,
    operands: Operands,
    sides: (Reads, usize),
    /// Gradients of a batch's other parts, kept from step to step.
    spare: Spare,
}

impl Seq2Seq {
    /// A network with initial parameters that depend on `seed` and the sizes alone: embeddings normal with
    /// a small deviation, the rest uniform as PyTorch's layers start.
    ///
    /// # Panics
    /// When a size is 0, a vocabulary lacks the four special ids, or letters are to be read of sources that have none;
    /// [`crate::config::Config::check`] and any vocabulary exclude all of it.
    pub fn new(config: &ModelConfig, source: impl Into<Reads>, target_vocab: usize, seed: u64) -> Self {
        Self::build(config, source.into(), target_vocab, |layout| Ok(layout.init(seed)))
            .expect("sources and special ids as the configuration wants them")
    }

    fn build(
        config: &ModelConfig,
        source: Reads,
        target_vocab: usize,
        params: impl FnOnce(&Layout) -> Result<Params>,
    ) -> Result<Self> {
        let source = source.by(&config.encoder)?;
        check_size("target", target_vocab)?;
        let mut layout = Layout::default();
        let network = Network::declare(&mut layout, config, &source, target_vocab);
        Ok(Self {
            config: config.clone(),
            params: params(&layout)?,
            scheme: None,
            network,
            operands: layout.operands().clone(),
            sides: (source, target_vocab),
            spare: Spare::default(),
        })
    }

    /// A network with given parameters, in any order.
    ///
    /// # Errors
    /// [`crate::Error::Config`] names the first tensor that is missing, superfluous or of another shape, or
    /// says that a vocabulary lacks the special ids, or characters where letters are read.
    pub fn from_params(
        config: &ModelConfig,
        source: impl Into<Reads>,
        target_vocab: usize,
        params: Params,
    ) -> Result<Self> {
        Self::build(config, source.into(), target_vocab, |layout| layout.arrange(params))
    }

    /// The integers of the present parameters, as the chip has them; `None` without a scheme.
    ///
    /// # Panics
    /// When the scheme is not one for this network.
    pub fn grid(&self) -> Option<Grid> {
        self.grid_within(127.0)
    }

    /// [`Seq2Seq::grid`] with another limit of what enters a product.
    fn grid_within(&self, limit: f32) -> Option<Grid> {
        self.scheme.as_ref().map(|scheme| self.network.grid(&self.params, scheme, limit))
    }

    /// What it reads at a source position.
    pub fn reads(&self) -> &Reads {
        &self.sides.0
    }

    /// Number of target ids.
    pub fn target_vocab(&self) -> usize {
        self.sides.1
    }
}
