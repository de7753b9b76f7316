//! The model description inside a blob: plain serde structs, written by the compiler, borrowed by the runtime.
//!
//! A model is two programs over *slots* (pieces of RAM). The encode program runs once for a source; the step
//! program runs once for each target token of each hypothesis, or, where labels are wanted, once for each source
//! position. A program is a list of passes; a pass runs a few
//! operations once, or at every source position from the first to the last, or from the last to the first.
//! A new architecture is a new wiring of the same operations; a new layer is a new operation.
//!
//! Tensors are byte offsets into the blob's data section (multiples of 16), never serde sequences: their shapes
//! follow from the operation that names them. `docs/format.md` gives every layout byte by byte.

use serde::{Deserialize, Serialize};

mod characters;
mod ops;
mod task;

pub use characters::{Characters, MAX_LETTERS, VOCABULARY_BYTES};
pub use ops::*;
pub use task::{Frames, Task};

/// The whole model, apart from its tensors: the one part that is postcard. What is in it as bytes has fixed sizes and is read
/// in place: that is the smallest code, and the quickest where a program is read at every step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description<'a> {
    /// The model's name, UTF-8.
    #[serde(borrow)]
    pub name: &'a [u8],
    /// What the source is made of: tokens of a vocabulary, [`Vocabulary::to_bytes`], whose letters may be read, too,
    /// [`Characters::to_bytes`] behind it; rows of numbers, [`Frames::to_bytes`]; or nothing, where a model only generates.
    #[serde(borrow)]
    pub source: &'a [u8],
    /// Target vocabulary, [`Vocabulary::to_bytes`].
    #[serde(borrow)]
    pub target: &'a [u8],
    /// Longest source, marks included, that the model was planned for.
    pub max_source: u16,
    /// Longest target, end mark excluded, that the model was planned for.
    pub max_target: u16,
    /// Pieces of RAM that the programs read and write.
    #[serde(borrow)]
    pub slots: Slots<'a>,
    /// Slot that the step program leaves its logits in: [`Extent::Once`], [`Kind::I16`], as wide as the target
    /// vocabulary, in units of 2^-`logit_bits` of log2 probability.
    pub logits: u8,
    /// Fraction bits of a logit, 2 to 15.
    pub logit_bits: u8,
    /// Encode program: passes, each followed by its operations.
    #[serde(borrow)]
    pub encode: &'a [u8],
    /// Step program, likewise; every pass is [`Over::Once`].
    #[serde(borrow)]
    pub step: &'a [u8],
    /// What the programs are for: a byte, written like the rest and read behind it, since format 2 ends before it.
    #[serde(skip_deserializing, serialize_with = "task::serialize")]
    pub task: Task,
}

/// One side's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Number of tokens.
    pub size: u16,
    /// Id of the start mark.
    pub sos: u16,
    /// Id of the end mark.
    pub eos: u16,
    /// Id that stands for unknown tokens.
    pub unk: u16,
    /// Tensor `u32[size + 1]`: where each token's bytes begin in `text`, and the end.
    pub starts: Offset,
    /// Tensor `u8[]`: all tokens' UTF-8 bytes in id order.
    pub text: Offset,
    /// Tensor `u16[size]`: ids sorted by their tokens' bytes.
    pub sorted: Offset,
    /// How text is cut into tokens.
    pub tokens: Tokens,
    /// Whether a text's tokens come behind the start mark; the end mark follows them in any case.
    pub start: bool,
}

impl Vocabulary {
    /// Members in order, little-endian; the last two are one byte: 0 for characters, 1 for words, 2 for the letters of Hangul,
    /// 3 for subwords, plus 128 for a start mark.
    pub fn to_bytes(&self) -> [u8; VOCABULARY_BYTES] {
        let mut bytes = [0; VOCABULARY_BYTES];
        let ids = [self.size, self.sos, self.eos, self.unk];
        for (to, id) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(ids) {
            *to = id.to_le_bytes();
        }
        for (to, offset) in
            bytes[8..].as_chunks_mut::<4>().0.iter_mut().zip([self.starts, self.text, self.sorted])
        {
            *to = offset.to_le_bytes();
        }
        bytes[20] = self.tokens as u8 | (self.start as u8) << 7;
        bytes
    }

    /// The vocabulary that these bytes mean, if any.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let [size, sos, eos, unk] = [bytes.u16()?, bytes.u16()?, bytes.u16()?, bytes.u16()?];
        let [starts, text, sorted] = [bytes.u32()?, bytes.u32()?, bytes.u32()?];
        let &[cut] = bytes.0 else { return None };
        let tokens = match cut & 127 {
            0 => Tokens::Chars,
            1 => Tokens::Words,
            #[cfg(feature = "hangul")]
            2 => Tokens::Hangul,
            #[cfg(feature = "subwords")]
            3 => Tokens::Subwords,
            _ => return None,
        };
        Some(Self { size, sos, eos, unk, starts, text, sorted, tokens, start: cut > 127 })
    }
}

/// Bytes that are read number by number.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(self.u8()? as u16 | (self.u8()? as u16) << 8)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(self.u16()? as u32 | (self.u16()? as u32) << 16)
    }
}

/// How text is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Every Unicode code point is a token; tokens are joined with nothing.
    Chars = 0,
    /// Tokens are separated by single spaces.
    Words = 1,
    /// As characters, but a Hangul syllable is its two or three letters ([`crate::hangul`]). Blobs that say so load where the
    /// feature `hangul` is on.
    Hangul = 2,
    /// Words are a mark, which is a space, and characters; neighbours whose joined text is a token become it, those with the lowest
    /// id first, of equals the leftmost, until none are left (byte-pair encoding, Sennrich et al. 2016; an id is its piece's rank).
    /// Tokens are joined with nothing, the first mark left out. Blobs that say so load where the feature `subwords` is on.
    Subwords = 3,
}

/// The slots of a model, in place: 4 bytes each, see [`Slot::to_bytes`]. At most 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots<'a>(#[serde(borrow)] pub &'a [u8]);

impl Slots<'_> {
    /// All slots in order; those whose bytes mean nothing are left out (a checked model has none).
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.as_chunks::<4>().0.iter().filter_map(Slot::from_bytes)
    }

    /// One slot.
    pub fn get(&self, slot: u8) -> Option<Slot> {
        Slot::from_bytes(self.0.as_chunks::<4>().0.get(slot as usize)?)
    }
}

/// A piece of RAM, zero before every encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// How many rows it has.
    pub extent: Extent,
    /// Its element type.
    pub kind: Kind,
    /// Which stretch of the arena it lies in. Slots that are never in use at the same time may share one, which is as
    /// long as the longest of them. Numbered from 0 without gaps in the order of the slots.
    pub region: u8,
    /// Elements a row.
    pub width: u16,
}

impl Slot {
    /// Extent and kind (numbers of their variants) in the low and the high half of a byte, region, width.
    pub const fn to_bytes(&self) -> [u8; 4] {
        let [low, high] = self.width.to_le_bytes();
        [self.extent as u8 | (self.kind as u8) << 4, self.region, low, high]
    }

    /// The slot that these bytes mean, if any.
    pub const fn from_bytes(bytes: &[u8; 4]) -> Option<Self> {
        let extent = match bytes[0] & 15 {
            0 => Extent::Once,
            1 => Extent::Source,
            2 => Extent::Hypothesis,
            _ => return None,
        };
        let kind = match bytes[0] >> 4 {
            0 => Kind::I8,
            1 => Kind::I16,
            _ => return None,
        };
        Some(Self { extent, kind, region: bytes[1], width: u16::from_le_bytes([bytes[2], bytes[3]]) })
    }

    /// 16-bit words that it takes for a source length, a beam and so many hypotheses at once.
    pub const fn words(&self, source: usize, beam: usize, lanes: usize) -> usize {
        let rows = match self.extent {
            Extent::Once => lanes,
            Extent::Source => source,
            Extent::Hypothesis => beam,
        };
        match self.kind {
            Kind::I8 => (rows * self.width as usize).div_ceil(2),
            Kind::I16 => rows * self.width as usize,
        }
    }
}

/// How many rows a slot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// One; two where a beam's hypotheses are computed two at a time (layout Pairs).
    Once,
    /// One for each source position.
    Source,
    /// One for each hypothesis; copied when a hypothesis is. The encode program sees hypothesis 0.
    Hypothesis,
}

/// Element type of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signed bytes.
    I8,
    /// Signed 16-bit words.
    I16,
}

/// Part of a row of a slot: the present source position's row, the present hypothesis' row, or the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Which slot.
    pub slot: u8,
    /// First element.
    pub start: u16,
    /// Number of elements.
    pub width: u16,
}

/// Head of a pass; its operations follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Where it runs.
    pub over: Over,
    /// How many operations follow, [`OP_BYTES`](super::OP_BYTES) each.
    pub ops: u8,
}

impl Pass {
    /// Where, as the number of its variant, and how many.
    pub const fn to_bytes(&self) -> [u8; 2] {
        [self.over as u8, self.ops]
    }

    /// The pass that these bytes mean, if any.
    pub const fn from_bytes([over, ops]: &[u8; 2]) -> Option<Self> {
        let over = match over {
            0 => Over::Once,
            1 => Over::Forward,
            2 => Over::Backward,
            _ => return None,
        };
        Some(Self { over, ops: *ops })
    }
}

/// At which source positions a pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Once, at no position.
    Once,
    /// At every position, first to last.
    Forward,
    /// At every position, last to first.
    Backward,
}
