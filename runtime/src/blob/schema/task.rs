//! What a model is for, and sources that are numbers.

use core::fmt;

use serde::{Serialize, Serializer};

use super::{Bytes, Offset};

/// What a model's programs are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// A source becomes a target: the step program runs once a target token, after the last one.
    #[default]
    Transduce = 0,
    /// Every source position becomes a label: the step program runs once at each position, its present token is the
    /// source's, and its logits are the label's. The end mark behind a text gets none.
    Label = 1,
    /// A target goes on as it began: there is no source and no encode program.
    Generate = 2,
}

impl Task {
    /// The task that the bytes behind the description begin with. In format 2 there are none, or zeros.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.first() {
            None | Some(0) => Some(Self::Transduce),
            Some(1) => Some(Self::Label),
            Some(2) => Some(Self::Generate),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transduce => "transduce",
            Self::Label => "label",
            Self::Generate => "generate",
        })
    }
}

pub(super) fn serialize<S: Serializer>(task: &Task, to: S) -> Result<S::Ok, S::Error> {
    (*task as u8).serialize(to)
}

/// A source of numbers in place of tokens: so many features at every position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// Slot that holds them, int8, a row a source position, in a region of its own: it outlives every run.
    pub slot: u8,
    /// Rounding right shift after the multiplication with a feature's mantissa, 1 to 23.
    pub post: u8,
    /// Whether what a raw number's unit is worth is told: `f64[features]`, behind the records. It is for people and tools.
    pub resolution: bool,
    /// Tensor of row records, 8 bytes a feature: a raw number, times 256, takes the accumulator's place.
    pub records: Offset,
}

impl Frames {
    /// Slot; second shift, plus 128 where resolutions are told; offset; little-endian.
    pub fn to_bytes(&self) -> [u8; 6] {
        let [r0, r1, r2, r3] = self.records.to_le_bytes();
        [self.slot, self.post | (self.resolution as u8) << 7, r0, r1, r2, r3]
    }

    /// What these bytes mean, if they are as many.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 6 {
            return None;
        }
        let mut bytes = Bytes(bytes);
        let (slot, post) = (bytes.u8()?, bytes.u8()?);
        Some(Self { slot, post: post & 127, resolution: post > 127, records: bytes.u32()? })
    }
}
