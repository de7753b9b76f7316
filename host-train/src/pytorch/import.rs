//! From PyTorch.

use std::path::{Path, PathBuf};

use super::sizes::{Sizes, sizes};
use super::{Fault, Vocabulary, move_rows, state_dict, token_rows};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Tokens};
use crate::error::{Error, Result};
use crate::model::Seq2Seq;
use crate::nn::params::{Params, Tensor};

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
/// [`Error::Config`] for sizes that no Kinglet network has.
pub fn import(files: &Files) -> Result<Checkpoint> {
    let source = Vocabulary::read(files.source_tokens, &files.source_vocab)?;
    let target = Vocabulary::read(files.target_tokens, &files.target_vocab)?;
    let tensors = state_dict::read(&files.weights)?;
    let (params, sizes) = convert(tensors, &source, &target, &files.weights)?;
    let model = Seq2Seq::from_params(&sizes.config, sizes.source_vocab, sizes.target_vocab, params)?;
    let mut config = Config { model: sizes.config, ..Config::default() };
    config.data.source = files.source_tokens;
    config.data.target = files.target_tokens;
    config.data.source_start = files.source_start;
    config.check()?;
    let source_vocab = source.vocab.with_start(files.source_start);
    Ok(Checkpoint { config, source_vocab, target_vocab: target.vocab, model })
}

/// The tensors in our names, layouts and ids; `path` appears in errors only.
fn convert(
    tensors: Vec<Tensor>,
    source: &Vocabulary,
    target: &Vocabulary,
    path: &Path,
) -> Result<(Params, Sizes)> {
    let fail = |faults| Error::StateDict { path: path.into(), faults };
    let sizes = sizes(&tensors).map_err(fail)?;
    Config { model: sizes.config.clone(), ..Config::default() }.check()?;
    let mut faults = Vec::new();
    for (side, vocabulary, rows) in
        [("source", source, sizes.source_vocab), ("target", target, sizes.target_vocab)]
    {
        let found = vocabulary.ids.len();
        if found != rows {
            faults.push(Fault::Vocabulary { side, rows, found });
        }
    }
    if !faults.is_empty() {
        return Err(fail(faults));
    }

    let fresh = Seq2Seq::new(&sizes.config, sizes.source_vocab, sizes.target_vocab, 0);
    let ours: Vec<_> = fresh.params.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
    let expected = sizes.spelling.spell(&ours);
    for (name, shape) in &expected {
        let (name, expected) = (name.clone(), shape.clone());
        match tensors.iter().find(|t| t.name == name) {
            None => faults.push(Fault::Missing { name, expected: Some(expected) }),
            Some(t) if t.shape != expected => {
                faults.push(Fault::Shape { name, expected, found: t.shape.clone() });
            }
            Some(_) => {}
        }
    }
    let unknown = tensors.iter().filter(|t| expected.iter().all(|(name, _)| *name != t.name));
    faults.extend(unknown.map(|t| Fault::Unknown { name: t.name.clone(), found: t.shape.clone() }));
    if !faults.is_empty() {
        return Err(fail(faults));
    }

    let mut tensors = sizes.spelling.split(tensors, sizes.config.decoder.hidden);
    for tensor in &mut tensors {
        if let Some(of_source) = token_rows(&tensor.name) {
            move_rows(tensor, if of_source { &source.ids } else { &target.ids });
        }
    }
    Ok((Params::new(tensors)?, sizes))
}
