//! What a network knows of its sources.

use std::sync::Arc;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::UNK;
use crate::vocab::{Spelling, Vocab};

/// What a network is told of its source tokens: how many ids there are and, where it reads letters, the words with theirs.
#[derive(Debug, Clone, Copy)]
pub struct SourceTokens<'a> {
    size: usize,
    words: Option<&'a Vocab>,
}

impl From<usize> for SourceTokens<'_> {
    fn from(size: usize) -> Self {
        Self { size, words: None }
    }
}

impl<'a> From<&'a Vocab> for SourceTokens<'a> {
    fn from(vocab: &'a Vocab) -> Self {
        Self { size: vocab.len(), words: Some(vocab) }
    }
}

/// Source tokens as a network needs them.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// Number of ids.
    pub(super) size: usize,
    /// Where letters are read.
    pub(super) spelling: Option<Arc<Spelling>>,
}

impl Sources {
    /// # Errors
    /// [`Error::Config`] says that the special ids are missing, or the letters that the configuration asks for.
    pub(super) fn new(config: &ModelConfig, tokens: SourceTokens<'_>) -> Result<Self> {
        check_size("source", tokens.size)?;
        let characters = &config.encoder.characters;
        let spelling = match characters.features() {
            0 => None,
            _ => {
                let spelling = tokens.words.and_then(|words| Spelling::new(words, characters.max_len));
                let missing =
                    "model.encoder.characters needs a source vocabulary of words with their characters";
                Some(Arc::new(spelling.ok_or_else(|| Error::Config(missing.into()))?))
            }
        };
        Ok(Self { size: tokens.size, spelling })
    }
}

/// Refuses a vocabulary without the special ids.
pub(super) fn check_size(side: &str, size: usize) -> Result<()> {
    if size > UNK as usize {
        return Ok(());
    }
    Err(Error::Config(format!("the {side} vocabulary needs at least its 4 special tokens, found {size}")))
}
