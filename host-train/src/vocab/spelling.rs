//! How words are spelled, for networks that read letters.

use std::sync::Arc;

use super::{MARKS, Vocab};
use crate::model::{EOS, SOS, UNK};
use crate::nn::buffer::Buffer;

/// The letters of all words of a vocabulary, and of any others.
#[derive(Debug, Clone, PartialEq)]
pub struct Spelling {
    characters: Arc<Vocab>,
    /// Of the vocabulary's words, end to end.
    letters: Vec<u32>,
    ends: Vec<usize>,
}

impl Spelling {
    /// The spelling of the words of `words`; `None` for a vocabulary without [characters](Vocab::characters).
    pub fn new(words: &Vocab) -> Option<Self> {
        let characters = words.characters.clone()?;
        let mut spelling = Self { characters, letters: Vec::new(), ends: Vec::new() };
        for (id, word) in words.tokens().iter().enumerate() {
            // Marks are not spelled.
            let word = if id < MARKS.len() { "" } else { word };
            let letters: Vec<u32> = spelling.letters_of(word).collect();
            spelling.letters.extend(letters);
            spelling.ends.push(spelling.letters.len());
        }
        Some(spelling)
    }

    /// Number of ids of the vocabulary.
    pub fn words(&self) -> usize {
        self.ends.len()
    }

    /// Number of characters.
    pub fn characters(&self) -> usize {
        self.characters.len()
    }

    /// Appends the letters of an id's word between the marks; of one with more than `max_len` the first half and the last.
    ///
    /// # Panics
    /// When the id is not below [`Spelling::words`].
    pub fn append(&self, id: u32, max_len: usize, to: &mut Buffer<u32>) {
        let at = id as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let letters = &self.letters[start..self.ends[at]];
        append(letters.iter().copied(), letters.len(), max_len, to);
    }

    /// [`Spelling::append`] for a word that need not be of the vocabulary.
    pub fn append_word(&self, word: &str, max_len: usize, to: &mut Buffer<u32>) {
        append(self.letters_of(word), word.chars().count(), max_len, to);
    }

    fn letters_of(&self, word: &str) -> impl Iterator<Item = u32> {
        word.char_indices().map(|(at, c)| {
            let known = self.characters.ids.get(&word[at..at + c.len_utf8()]);
            known.copied().unwrap_or(UNK)
        })
    }
}

fn append(letters: impl Iterator<Item = u32>, count: usize, max_len: usize, to: &mut Buffer<u32>) {
    let last = max_len / 2;
    let first = max_len - last;
    to.push(SOS);
    for (at, letter) in letters.enumerate() {
        if count <= max_len || at < first || at >= count - last {
            to.push(letter);
        }
    }
    to.push(EOS);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tokens;

    #[test]
    fn words_are_read_by_their_ends() {
        let characters = Vocab::build(Tokens::Chars, ["abcé"], 1);
        let words = Vocab::build(Tokens::Words, ["ab éa"], 1).with_characters(characters);
        let spelling = Spelling::new(&words).unwrap();
        let letters = |text: &str| {
            let mut letters = Buffer::default();
            let encoded = words.encode(text);
            match &encoded.unknown[..] {
                [] => spelling.append(encoded.ids[0], 5, &mut letters),
                [word, ..] => spelling.append_word(word, 5, &mut letters),
            }
            (encoded.ids[0], letters.to_vec())
        };
        assert_eq!(letters("éa"), (5, vec![SOS, 7, 4, EOS]));
        assert_eq!(letters("b?é"), (UNK, vec![SOS, 5, UNK, 7, EOS]));
        assert_eq!(letters("abcab"), (UNK, vec![SOS, 4, 5, 6, 4, 5, EOS]));
        assert_eq!(letters("abcaécb"), (UNK, vec![SOS, 4, 5, 6, 6, 5, EOS]));
        // What is spelled like a mark is a word; the mark itself is not spelled.
        assert_eq!(letters("</s>").1.len(), 2 + 4);
        let mut mark = Buffer::default();
        spelling.append(EOS, 5, &mut mark);
        assert_eq!(mark[..], [SOS, EOS]);
    }
}
