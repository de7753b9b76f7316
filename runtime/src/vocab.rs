//! Tokens as text and text as tokens, read in place from the blob.

use core::cell::Cell;
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

/// What stands before each word of subwords: no word holds it.
const MARK: &str = " ";

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
        self.joined(&[], token)
    }

    /// Text of a token that texts may hold: empty for marks.
    #[cfg(feature = "characters")]
    pub(crate) fn word(&self, id: u16) -> &'a str {
        let token = self.token(id);
        let word = if self.id(token) == Some(id) { core::str::from_utf8(token).ok() } else { None };
        word.unwrap_or_default()
    }

    /// Id of the token that two texts make.
    fn joined(&self, left: &[u8], right: &[u8]) -> Option<u16> {
        let (mut low, mut high) = (0, self.sorted.len());
        while low < high {
            let middle = (low + high) / 2;
            let id = u16::from_le_bytes(*self.sorted.get(middle)?);
            match self.token(id).iter().cmp(left.iter().chain(right)) {
                core::cmp::Ordering::Equal => return Some(id),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Whether tokens are subwords.
    fn subwords(&self) -> bool {
        cfg!(feature = "subwords") && self.vocabulary.tokens == Tokens::Subwords
    }

    /// Pieces of a text, one a token, known or not. In word mode, runs of spaces count as one. Of subwords, the pieces that joining
    /// begins with: a mark for each word and its characters.
    pub fn cut<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        let mut rest = text;
        let tokens = self.vocabulary.tokens;
        let hangul = cfg!(feature = "hangul") && tokens == Tokens::Hangul;
        let words = tokens == Tokens::Words;
        let subwords = self.subwords();
        let mut first_word = true;
        let mut waiting = [""; 2];
        core::iter::from_fn(move || {
            if hangul && !waiting[0].is_empty() {
                let [letter, last] = waiting;
                waiting = [last, ""];
                return Some(letter);
            }
            let begins = subwords && (first_word || rest.starts_with(' '));
            if words || begins {
                rest = rest.trim_start_matches(' ');
            }
            if begins {
                first_word = false;
                return if rest.is_empty() { None } else { Some(MARK) };
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

    /// Puts the ids of a text's tokens at the front of `ids`; how many they are and how many of them are unknown. `None` when
    /// they are more than `ids` holds; a word of subwords takes, until it is joined, an id for its mark and each of its characters.
    pub fn encode(&self, text: &str, ids: &[Cell<u16>]) -> Option<(usize, usize)> {
        let (mut len, mut unknown, mut word) = (0, 0, 0);
        for piece in self.cut(text) {
            if self.subwords() && piece == MARK {
                len = word + self.join(ids.get(word..len)?);
                word = len;
            }
            let id = self.id(piece.as_bytes());
            unknown += id.is_none() as usize;
            ids.get(len)?.set(id.unwrap_or(self.unk()));
            len += 1;
        }
        if self.subwords() {
            len = word + self.join(ids.get(word..len)?);
        }
        Some((len, unknown))
    }

    /// Joins the pieces of a word; how many are left, at its front. Each round leaves one fewer.
    fn join(&self, word: &[Cell<u16>]) -> usize {
        let mut len = word.len();
        while let Some(pieces) = word.get(..len)
            && let Some((id, at)) = self.lowest(pieces)
            && let Some([first, rest @ ..]) = pieces.get(at..)
        {
            first.set(id);
            // From the end, so that the loop does not become a `memmove`, which a small core would have for it alone.
            let mut next = 0;
            for piece in rest.iter().rev() {
                next = piece.replace(next);
            }
            len -= 1;
        }
        len
    }

    /// The lowest id that neighbours make, and where the leftmost of these are.
    fn lowest(&self, pieces: &[Cell<u16>]) -> Option<(u16, usize)> {
        let made = pieces.windows(2).enumerate().filter_map(|(at, pair)| {
            let [left, right] = pair else { return None };
            let (left, right) = (left.get(), right.get());
            let known = left != self.unk() && right != self.unk();
            let id = if known { self.joined(self.token(left), self.token(right)) } else { None };
            Some((id?, at))
        });
        made.min()
    }

    /// Whether the ids by which tokens are found are in the order of these.
    #[cfg(feature = "subwords")]
    pub(crate) fn is_sorted(&self) -> bool {
        self.sorted.is_sorted_by_key(|id| self.token(u16::from_le_bytes(*id)))
    }

    /// Writes tokens as text: characters and subwords joined with nothing, words with single spaces. The mark of a first subword is
    /// left out.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write(&self, ids: &[u16], out: &mut impl fmt::Write) -> fmt::Result {
        for (i, &id) in ids.iter().enumerate() {
            if i > 0 && self.vocabulary.tokens == Tokens::Words {
                out.write_str(" ")?;
            }
            // The vocabulary's whole text was checked at load; a token that cuts a character is shown as such.
            let token = core::str::from_utf8(self.token(id)).unwrap_or("\u{FFFD}");
            let unmarked = token.strip_prefix(MARK).filter(|_| i == 0 && self.subwords());
            out.write_str(unmarked.unwrap_or(token))?;
        }
        Ok(())
    }
}
