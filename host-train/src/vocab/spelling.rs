//! How words are spelled, for networks that read letters.

use std::sync::Arc;

use super::{MARKS, Vocab, outside};
use crate::model::{EOS, SOS, UNK};
use crate::nn::buffer::Buffer;

/// The letters of all words of a vocabulary and, as they are met, of others. Words are *entries*: the vocabulary's ids, then the
/// words [`outside`] in the order of their ids.
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

    /// The entry of an id; ids that mean nothing are entered as [`UNK`].
    pub fn entry(&self, id: u32) -> u32 {
        let words = self.ends.len() as u32;
        match id.checked_sub(outside::FIRST) {
            None if id < words => id,
            Some(number) if (number as usize) < outside::count() => words + number,
            _ => UNK,
        }
    }

    /// More than any entry so far.
    pub fn entries(&self) -> usize {
        self.ends.len() + outside::count()
    }

    /// The id of an entry's embedding.
    pub fn known(&self, entry: u32) -> u32 {
        if (entry as usize) < self.ends.len() { entry } else { UNK }
    }

    /// Appends an entry's letters between the marks; of a word with more than `max_len` the first half and the last.
    pub fn append(&self, entry: u32, max_len: usize, to: &mut Buffer<u32>) {
        let at = entry as usize;
        if let Some(&end) = self.ends.get(at) {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            let letters = &self.letters[start..end];
            return append(letters.iter().copied(), letters.len(), max_len, to);
        }
        let word = outside::word(outside::FIRST + (at - self.ends.len()) as u32).unwrap_or_default();
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
            let [id] = words.encode(text).ids[..] else { panic!("one word") };
            spelling.append(spelling.entry(id), 5, &mut letters);
            (spelling.known(spelling.entry(id)), letters.to_vec())
        };
        assert_eq!(letters("éa"), (5, vec![SOS, 7, 4, EOS]));
        assert_eq!(letters("b?é"), (UNK, vec![SOS, 5, UNK, 7, EOS]));
        assert_eq!(letters("abcab"), (UNK, vec![SOS, 4, 5, 6, 4, 5, EOS]));
        assert_eq!(letters("abcaécb"), (UNK, vec![SOS, 4, 5, 6, 6, 5, EOS]));
        // What is spelled like a mark is a word; the mark itself is not spelled.
        assert_eq!(letters("</s>").1.len(), 2 + 4);
        let mut mark = Buffer::default();
        spelling.append(spelling.entry(EOS), 5, &mut mark);
        assert_eq!(mark[..], [SOS, EOS]);
        assert_eq!([spelling.entry(u32::MAX), spelling.entry(99)], [UNK; 2]);
    }
}
