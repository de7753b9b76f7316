//! Tokens as text and text as tokens, read in place from the blob.

use core::fmt;

use crate::blob::schema::{Tokens, Vocabulary};
use crate::blob::tensor;
use crate::hangul::letters;

/// One side's vocabulary of a model.
#[derive(Debug, Clone, Copy)]
pub struct Vocab<'a> {
    vocabulary: Vocabulary,
    starts: &'a [[u8; 4]],
    text: &'a [u8],
    sorted: &'a [[u8; 2]],
}

const EMPTY: Vocabulary = Vocabulary {
    size: 0,
    sos: 0,
    eos: 0,
    unk: 0,
    starts: 0,
    text: 0,
    sorted: 0,
    tokens: Tokens::Chars,
    start: false,
};

impl<'a> Vocab<'a> {
    /// The tensors were checked when the blob was loaded; an empty vocabulary stands for what cannot happen.
    #[inline(never)]
    pub(crate) fn new(bytes: &[u8], data: &'a [u8]) -> Self {
        let vocabulary = Vocabulary::from_bytes(bytes).unwrap_or(EMPTY);
        let size = vocabulary.size as usize;
        let bytes = |offset, len| tensor(data, offset, len).unwrap_or(&[]);
        let starts = bytes(vocabulary.starts, (size + 1) * 4).as_chunks::<4>().0;
        let end = starts.last().map_or(0, |b| u32::from_le_bytes(*b)) as usize;
        Self {
            vocabulary,
            starts,
            text: bytes(vocabulary.text, end),
            sorted: bytes(vocabulary.sorted, size * 2).as_chunks::<2>().0,
        }
    }

    /// Number of tokens.
    pub fn size(&self) -> u16 {
        self.vocabulary.size
    }

    /// Id of the end mark.
    pub fn eos(&self) -> u16 {
        self.vocabulary.eos
    }

    /// Id of the start mark.
    pub fn sos(&self) -> u16 {
        self.vocabulary.sos
    }

    /// Marks around a text's tokens, 1 or 2: the end mark behind them and, in models that were trained so, the start mark
    /// before them.
    pub fn marks(&self) -> usize {
        1 + self.vocabulary.start as usize
    }

    /// Id that stands for unknown tokens.
    pub fn unk(&self) -> u16 {
        self.vocabulary.unk
    }

    /// How text is cut.
    pub fn tokens(&self) -> Tokens {
        self.vocabulary.tokens
    }

    /// UTF-8 bytes of a token; empty for an id outside the vocabulary.
    pub fn token(&self, id: u16) -> &'a [u8] {
        let at = |i: usize| self.starts.get(i).map(|b| u32::from_le_bytes(*b) as usize);
        let (Some(start), Some(end)) = (at(id as usize), at(id as usize + 1)) else { return &[] };
        self.text.get(start..end).unwrap_or(&[])
    }

    /// Id of a token, by binary search.
    pub fn id(&self, token: &[u8]) -> Option<u16> {
        let (mut low, mut high) = (0, self.sorted.len());
        while low < high {
            let middle = (low + high) / 2;
            let id = u16::from_le_bytes(*self.sorted.get(middle)?);
            match self.token(id).cmp(token) {
                core::cmp::Ordering::Equal => return Some(id),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Pieces of a text, one a token, known or not. In word mode, runs of spaces count as one.
    pub fn cut<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        let mut rest = text;
        let tokens = self.vocabulary.tokens;
        let hangul = cfg!(feature = "hangul") && tokens == Tokens::Hangul;
        let words = tokens == Tokens::Words;
        let mut waiting = [""; 2];
        core::iter::from_fn(move || {
            if hangul && !waiting[0].is_empty() {
                let [letter, last] = waiting;
                waiting = [last, ""];
                return Some(letter);
            }
            if words {
                rest = rest.trim_start_matches(' ');
            }
            let first = rest.chars().next()?;
            let end = if words { rest.find(' ').unwrap_or(rest.len()) } else { first.len_utf8() };
            let (piece, after) = rest.split_at_checked(end)?;
            rest = after;
            if hangul && let Some([lead, vowel, tail]) = letters(first) {
                waiting = [vowel, tail];
                return Some(lead);
            }
            Some(piece)
        })
    }

    /// Writes tokens as text: characters joined with nothing, words with single spaces.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write(&self, ids: &[u16], out: &mut impl fmt::Write) -> fmt::Result {
        for (i, &id) in ids.iter().enumerate() {
            if i > 0 && self.vocabulary.tokens == Tokens::Words {
                out.write_str(" ")?;
            }
            // The vocabulary's whole text was checked at load; a token that cuts a character is shown as such.
            out.write_str(core::str::from_utf8(self.token(id)).unwrap_or("\u{FFFD}"))?;
        }
        Ok(())
    }
}
