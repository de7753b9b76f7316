//! What a network reads of its sources.

use std::sync::Arc;

use crate::config::EncoderConfig;
use crate::error::{Error, Result};
use crate::model::UNK;
use crate::vocab::{Spelling, Vocab};

/// What a network's lowest layer reads at a source position.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// One of so many tokens; of words perhaps how they are spelled.
    Tokens(usize, Option<Arc<Spelling>>),
    /// A frame of so many numbers.
    Frames(usize),
}

impl From<usize> for Reads {
    fn from(tokens: usize) -> Self {
        Self::Tokens(tokens, None)
    }
}

impl From<&Vocab> for Reads {
    fn from(vocab: &Vocab) -> Self {
        match vocab.frames() {
            Some(frames) => Self::Frames(frames.width()),
            None => Self::Tokens(vocab.len(), Spelling::new(vocab).map(Arc::new)),
        }
    }
}

impl Reads {
    /// What an encoder reads of it: the spelling only where it reads letters.
    ///
    /// # Errors
    /// [`Error::Config`] says that the special ids are missing, or the letters that the configuration asks for.
    pub(super) fn by(self, config: &EncoderConfig) -> Result<Self> {
        let letters = config.characters.features() > 0;
        match self {
            Self::Tokens(size, Some(spelling)) if letters => {
                check_size("source", size).map(|()| Self::Tokens(size, Some(spelling)))
            }
            _ if letters => Err(Error::Config(
                "model.encoder.characters needs a source vocabulary of words with their characters".into(),
            )),
            Self::Tokens(size, _) => check_size("source", size).map(|()| Self::Tokens(size, None)),
            Self::Frames(width) => Ok(Self::Frames(width)),
        }
    }
}

/// Refuses a vocabulary without the special ids.
pub(super) fn check_size(side: &str, size: usize) -> Result<()> {
    if size > UNK as usize {
        return Ok(());
    }
    Err(Error::Config(format!("the {side} vocabulary needs at least its 4 special tokens, found {size}")))
}
