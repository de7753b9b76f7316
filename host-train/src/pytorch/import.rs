//! From PyTorch.

use std::path::PathBuf;

use super::{Mapping, Vocabulary, state_dict};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Tokens};
use crate::error::{Error, Result};

/// What an import reads, and what no file of it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// The `state_dict`, safetensors.
    pub weights: PathBuf,
    /// Tokens of the source side, see [`Vocabulary`].
    pub source_vocab: PathBuf,
    /// Tokens of the target side.
    pub target_vocab: PathBuf,
    /// How a source is cut.
    pub source_tokens: Tokens,
    /// How a target is cut.
    pub target_tokens: Tokens,
    /// Whether sources begin with the start mark.
    pub source_start: bool,
}

/// The network of a `state_dict` with its vocabularies, in our names and ids.
///
/// # Errors
/// [`Error::Io`]; [`Error::Vocabulary`] of a vocabulary file; [`Error::StateDict`] with every tensor that does not fit;
/// [`Error::Config`] for sizes that no Kinglet network has, and for sources of numbers.
pub fn import(files: &Files) -> Result<Checkpoint> {
    if [files.source_tokens, files.target_tokens].contains(&Tokens::Frames) {
        return Err(Error::Config(
            "a state_dict of frames is not imported: its sources have no vocabulary file".into(),
        ));
    }
    let source = Vocabulary::read(files.source_tokens, &files.source_vocab)?;
    let target = Vocabulary::read(files.target_tokens, &files.target_vocab)?;
    let tensors = state_dict::read(&files.weights)?;
    let mapping = Mapping::new(&tensors, source.ids, target.ids)
        .map_err(|faults| Error::StateDict { path: files.weights.clone(), faults })?;
    let mut config = Config { model: mapping.config().clone(), ..Config::default() };
    config.data.source = files.source_tokens;
    config.data.target = files.target_tokens;
    config.data.source_start = files.source_start;
    config.check()?;
    let model = mapping.model(tensors)?;
    let source_vocab = source.vocab.with_start(files.source_start);
    Ok(Checkpoint { config, source_vocab, target_vocab: target.vocab, model })
}
