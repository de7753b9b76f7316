//! What the encoder's lowest layer reads.

use kinglet_train::config::{ModelConfig, Task};
use kinglet_train::model::Tensor;
use kinglet_train::vocab::Vocab;

use super::Builder;
use super::characters::Features;
use super::frames::Numbers;
use super::product::Input;
use super::signal::Signal;
use crate::error::Result;

/// What the encoder's lowest layer reads.
pub enum Reads {
    /// There is no encoder.
    Nothing,
    /// A token and, where letters are read, features of its word beside it.
    Token(Option<Features>),
    /// A frame of numbers.
    Frame(Numbers),
}

impl Reads {
    /// Whether the lowest layer adds what it reads to its states.
    pub fn added(&self, config: &ModelConfig) -> bool {
        match self {
            Self::Nothing | Self::Token(Some(_)) => false,
            Self::Token(None) => config.encoder.residual && config.memory() == config.encoder.embedding,
            Self::Frame(numbers) => numbers.signal().is_some(),
        }
    }

    /// What is read without a token, as a layer adds it to its states, where that was planned.
    pub fn signal(&self) -> Option<Signal> {
        match self {
            Self::Nothing | Self::Token(_) => None,
            Self::Frame(numbers) => numbers.signal(),
        }
    }

    /// What a matrix reads beside the token's embedding, which is `embedding` columns wide, or in place of it.
    pub fn input<'a>(
        &self,
        builder: &Builder<'a>,
        tensor: &'a Tensor,
        embedding: usize,
    ) -> Option<Input<'a>> {
        match self {
            Self::Nothing | Self::Token(None) => None,
            Self::Token(Some(features)) => Some(builder.read(features.signal, tensor, embedding)),
            Self::Frame(numbers) => Some(numbers.input(tensor)),
        }
    }

    /// The slot that is filled where a source is read: it lies alone in RAM.
    pub fn slot(&self) -> Option<u8> {
        match self {
            Self::Nothing | Self::Token(None) => None,
            Self::Token(Some(features)) => Some(features.signal.view.slot),
            Self::Frame(numbers) => Some(numbers.source.slot),
        }
    }
}

impl Builder<'_> {
    /// What the lowest layer reads of sources.
    pub fn reads(&mut self, config: &ModelConfig, source: &Vocab) -> Result<Reads> {
        Ok(match (config.task, source.frames()) {
            (Task::Generate, _) => Reads::Nothing,
            (Task::Transduce | Task::Label, None) => Reads::Token(self.features(config, source)?),
            (Task::Transduce | Task::Label, Some(frames)) => Reads::Frame(self.frames(config, frames)?),
        })
    }

    /// The description of the source.
    pub fn source(&mut self, reads: &Reads, source: &Vocab) -> Result<Vec<u8>> {
        Ok(match reads {
            Reads::Nothing => Vec::new(),
            Reads::Token(features) => {
                let features = features.as_ref().map_or(&[][..], |features| &features.record);
                [&self.vocabulary("source", source)?, features].concat()
            }
            Reads::Frame(numbers) => numbers.source.to_bytes().to_vec(),
        })
    }
}
