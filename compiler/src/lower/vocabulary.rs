//! Vocabularies as the blob stores them.

use kinglet::blob::schema::{self, Vocabulary};
use kinglet_train::config::Tokens;
use kinglet_train::model::{EOS, SOS, UNK};
use kinglet_train::vocab::{MARKS, Vocab};

use super::Builder;
use crate::error::{Error, Result};

impl Builder<'_> {
    /// Writes the three tensors of a vocabulary.
    pub fn vocabulary(&mut self, side: &str, vocab: &Vocab) -> Result<[u8; 21]> {
        let tokens = vocab.tokens();
        let size = u16::try_from(tokens.len()).map_err(|_| {
            let found = tokens.len();
            Error::Model(format!(
                "the {side} vocabulary has {found} tokens, at most 65535 fit: raise min_count"
            ))
        })?;
        let text: Vec<u8> = tokens.iter().flat_map(|t| t.bytes()).collect();
        let mut end = 0;
        let ends = tokens.iter().map(|t| {
            end += t.len() as u32;
            end
        });
        let starts: Vec<u8> = std::iter::once(0).chain(ends).flat_map(u32::to_le_bytes).collect();
        // Text that is spelled like a mark is unknown, not the mark: it is not to be found.
        let mut sorted: Vec<u16> = (MARKS.len() as u16..size).collect();
        sorted.sort_by_key(|&id| tokens[usize::from(id)].as_bytes());
        let last = sorted.last().copied().unwrap_or(UNK as u16);
        sorted.resize(usize::from(size), last);
        let sorted: Vec<u8> = sorted.into_iter().flat_map(u16::to_le_bytes).collect();
        let name = |part: &str| format!("vocabulary.{side}.{part}");
        let vocabulary = Vocabulary {
            size,
            sos: SOS as u16,
            eos: EOS as u16,
            unk: UNK as u16,
            start: vocab.start(),
            tokens: match vocab.tokenization() {
                Tokens::Chars => schema::Tokens::Chars,
                Tokens::Words => schema::Tokens::Words,
                Tokens::Hangul => schema::Tokens::Hangul,
                Tokens::Subwords => schema::Tokens::Subwords,
                Tokens::Frames => {
                    return Err(Error::Model(format!("the {side} has no vocabulary, but frames")));
                }
            },
            starts: self.section.push(name("starts"), &starts),
            text: self.section.push(name("text"), &text),
            sorted: self.section.push(name("sorted"), &sorted),
        };
        Ok(vocabulary.to_bytes())
    }
}
