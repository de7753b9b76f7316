//! Features of words from their letters.

use super::{Bytes, Description, Frames, Offset};

/// Bytes of a vocabulary's record.
pub const VOCABULARY_BYTES: usize = 21;

/// Features of a source's words beside their tokens (Ma & Hovy 2016), computed where a text is read and kept in a slot:
/// `tanh(max over t of (sum over k of table[k][letter t + k - width / 2]))`, a row of the table for each letter of a window around
/// letter t that the word has there. The letters stand between the start and the end mark of their vocabulary; a mark of the
/// source has no letters between them. Of a word with more than `max_len` letters the first half of these and the last are read.
///
/// The record stands behind that of the source's vocabulary: the letters' vocabulary, then the members below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Characters<'a> {
    /// The letters' vocabulary, [`Vocabulary::to_bytes`](super::Vocabulary::to_bytes): of characters.
    pub vocabulary: &'a [u8],
    /// Slot of the features, int8 in 2^-7, a row a source position, in a region of its own: it outlives every run.
    pub slot: u8,
    /// Letters in a window: odd, 1 to 9.
    pub width: u8,
    /// Left shift of a sum, 0 to 12, to Q3.12.
    pub shift: u8,
    /// Most letters that are read, 2 to [`MAX_LETTERS`].
    pub max_len: u8,
    /// Tensor `i16[width][letters][features]`.
    pub table: Offset,
}

/// Most letters of a word that any model reads.
pub const MAX_LETTERS: usize = 62;

impl<'a> Characters<'a> {
    /// Members in order, little-endian.
    pub fn to_bytes(&self) -> [u8; VOCABULARY_BYTES + 8] {
        let mut bytes = [0; VOCABULARY_BYTES + 8];
        let (vocabulary, rest) = bytes.split_at_mut(VOCABULARY_BYTES);
        vocabulary.iter_mut().zip(self.vocabulary).for_each(|(to, from)| *to = *from);
        let [t0, t1, t2, t3] = self.table.to_le_bytes();
        let members = [self.slot, self.width, self.shift, self.max_len, t0, t1, t2, t3];
        rest.iter_mut().zip(members).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What these bytes mean, if they are as many.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (vocabulary, rest) = bytes.split_at_checked(VOCABULARY_BYTES)?;
        if rest.len() != 8 {
            return None;
        }
        let mut bytes = Bytes(rest);
        Some(Self {
            vocabulary,
            slot: bytes.u8()?,
            width: bytes.u8()?,
            shift: bytes.u8()?,
            max_len: bytes.u8()?,
            table: bytes.u32()?,
        })
    }
}

impl<'a> Description<'a> {
    /// The record of the source's vocabulary, without what stands behind it.
    pub fn source_vocabulary(&self) -> &'a [u8] {
        match self.source.split_at_checked(VOCABULARY_BYTES) {
            Some((vocabulary, _)) if cfg!(feature = "characters") => vocabulary,
            _ => self.source,
        }
    }

    /// Slot that is filled where a source is read: of numbers, or of features of letters.
    pub fn kept(&self) -> Option<u8> {
        let numbers = Frames::from_bytes(self.source).map(|frames| frames.slot);
        numbers.or(self.characters().map(|characters| characters.slot))
    }

    /// Features of letters, if there are any.
    pub fn characters(&self) -> Option<Characters<'a>> {
        Characters::from_bytes(self.source.split_at_checked(VOCABULARY_BYTES)?.1)
    }
}
