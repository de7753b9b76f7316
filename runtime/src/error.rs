//! What can go wrong on the device: small `Copy` values that say what was needed and what was found.

use core::fmt;

use crate::blob::schema::Task;

/// Why a blob was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// Fewer bytes than a preamble or than the preamble states.
    Truncated {
        /// Bytes needed.
        needed: u32,
        /// Bytes given.
        found: u32,
    },
    /// More bytes than the preamble states.
    TooLong {
        /// Bytes that the preamble states.
        stated: u32,
        /// Bytes given.
        found: u32,
    },
    /// The first bytes are not `KNGL`: not a Kinglet blob.
    Magic([u8; 4]),
    /// The format version is not the one that this runtime reads.
    Version {
        /// Version of the blob.
        found: u16,
        /// Version that this runtime reads.
        supported: u16,
    },
    /// The weight layout is unknown to this runtime.
    Layout(u16),
    /// The bytes are not those that were written.
    Checksum {
        /// CRC-32 in the preamble.
        stated: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// The data section does not begin where it can.
    DataStart(u32),
    /// The model description cannot be decoded.
    Description,
    /// The model needs a feature of this crate that was turned off.
    Feature(Feature),
    /// The description decodes but does not make sense.
    Invalid {
        /// Which operation, counted from 0 through the encode program, then the step program; 255 outside them.
        op: u8,
        /// What is wrong.
        fault: Fault,
    },
}

/// What a build of this crate can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// Rows that are added or copied.
    Add,
    /// Layer and length normalization.
    Norm,
    /// Attention by dot products.
    Dot,
    /// Peepholes of an LSTM.
    Peephole,
    /// Models that label.
    Label,
    /// Models that generate.
    Generate,
    /// Sources of numbers.
    Frames,
    /// Words that are read by their letters.
    Characters,
}

/// What does not make sense in a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A tensor reaches beyond the data section or is not aligned to 16 bytes.
    Tensor,
    /// A slot does not exist.
    Slot,
    /// A view reaches beyond its slot's row or is empty.
    View,
    /// An element type or extent does not fit the operation.
    Kind,
    /// Two widths that must agree do not.
    Width,
    /// A number is out of its range (a shift, a scale, a special token id).
    Range,
    /// A vocabulary's table is inconsistent, or its text is cut in a way that this build does not know (features
    /// `hangul`, `subwords`).
    Vocabulary,
    /// A program ends in the middle, or a pass runs where it cannot.
    Program,
}

/// Why a run was refused or stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RunError {
    /// The caller's buffer is smaller than the limits need.
    BufferTooSmall {
        /// Bytes needed: `Model::ram`.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// The caller's buffer does not start at a multiple of 4 bytes; `Arena` does.
    BufferMisaligned,
    /// A limit is 0 or too large.
    Limits,
    /// The source has more tokens, end mark included, than the session was planned for.
    SourceTooLong {
        /// Most tokens, end mark included.
        limit: usize,
    },
    /// No source was given, or it has no tokens.
    SourceEmpty,
    /// A token id is outside its vocabulary.
    Token {
        /// The id.
        found: u16,
        /// Vocabulary size.
        size: u16,
    },
    /// The text is not UTF-8.
    Utf8 {
        /// Byte at which it fails.
        at: usize,
    },
    /// The beam is wider than the session was planned for, or 0.
    Beam {
        /// Widest beam.
        limit: u8,
        /// Width asked for.
        found: u8,
    },
    /// The length penalty is negative, above 10 or not a number.
    LengthPenalty,
    /// The coverage penalty is negative, above 10 or not a number.
    CoveragePenalty,
    /// The session was not planned for coverage.
    Coverage,
    /// A temperature is outside 1/16 to 16, or the probability of a nucleus outside 0 to 1.
    Sampling,
    /// The model's task is another than the call's.
    Task {
        /// The model's.
        found: Task,
    },
    /// The model's source is made of numbers and this is text, or the other way round.
    Source,
    /// The numbers are not whole positions.
    Frames {
        /// Numbers of a position.
        features: usize,
        /// Numbers given.
        found: usize,
    },
    /// The blob's bytes changed after it was checked.
    Damaged,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, found } => {
                write!(f, "the blob is cut short: {needed} bytes needed, {found} found")
            }
            Self::TooLong { stated, found } => {
                write!(f, "bytes after the blob's end: {stated} stated, {found} found")
            }
            Self::Magic(found) => {
                write!(f, "not a Kinglet blob: it starts with {found:02x?}, not with \"KNGL\"")
            }
            Self::Version { found, supported } if found > supported => {
                write!(f, "blob format {found} is newer than this runtime's {supported}: update the runtime")
            }
            Self::Version { found, supported } => {
                write!(
                    f,
                    "blob format {found} is older than this runtime's {supported}: compile the model again"
                )
            }
            Self::Layout(found) => write!(f, "weight layout {found} is unknown to this runtime"),
            Self::Checksum { stated, found } => {
                write!(f, "the blob is damaged: CRC {stated:08x} stated, {found:08x} found")
            }
            Self::DataStart(found) => write!(f, "the data section cannot start at byte {found}"),
            Self::Description => f.write_str("the model description cannot be decoded"),
            Self::Feature(feature) => {
                write!(f, "the model needs this runtime's feature {feature}: build with it")
            }
            Self::Invalid { op: 255, fault } => write!(f, "the model description is wrong: {fault}"),
            Self::Invalid { op, fault } => write!(f, "operation {op} of the model is wrong: {fault}"),
        }
    }
}

impl fmt::Display for Feature {
    /// Its name in `Cargo.toml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Norm => "norm",
            Self::Dot => "dot",
            Self::Peephole => "peephole",
            Self::Label => "label",
            Self::Generate => "generate",
            Self::Frames => "frames",
            Self::Characters => "characters",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensor => "a tensor lies outside the data section or is not aligned",
            Self::Slot => "a slot does not exist",
            Self::View => "a view reaches beyond its slot",
            Self::Kind => "a slot has another element type or extent than needed",
            Self::Width => "two widths that must agree do not",
            Self::Range => "a number is out of its range",
            Self::Vocabulary => {
                "a vocabulary's table is inconsistent, or its tokens need the feature hangul or subwords"
            }
            Self::Program => "a program ends in the middle or runs where it cannot",
        })
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BufferTooSmall { needed, found } => {
                write!(f, "the buffer is too small: {needed} bytes needed, {found} given")
            }
            Self::BufferMisaligned => f.write_str("the buffer does not start at a multiple of 4 bytes"),
            Self::Limits => {
                f.write_str("limits must be a source and target of 1 to 4096 and a beam of 1 to 8")
            }
            Self::SourceTooLong { limit } => {
                write!(f, "the source is too long: at most {limit} tokens, end mark included")
            }
            Self::SourceEmpty => f.write_str("the source is empty"),
            Self::Token { found, size } => write!(f, "token {found} is outside the vocabulary of {size}"),
            Self::Utf8 { at } => write!(f, "the text is not UTF-8 at byte {at}"),
            Self::Beam { limit, found } => write!(f, "a beam of {found} asked for, 1 to {limit} possible"),
            Self::LengthPenalty => f.write_str("the length penalty must be 0 to 10"),
            Self::CoveragePenalty => f.write_str("the coverage penalty must be 0 to 10"),
            Self::Coverage => f.write_str("the session was not planned for coverage: set it in the limits"),
            Self::Sampling => {
                f.write_str("a temperature must be 1/16 to 16, a nucleus above 0 and at most 1")
            }
            Self::Task { found } => write!(f, "the model's task is another: {found}"),
            Self::Source => f.write_str("the model's source is of another kind: text or ids, or frames"),
            Self::Frames { features, found } => {
                write!(f, "{found} numbers are not whole frames of {features}")
            }
            Self::Damaged => f.write_str("the blob's bytes changed after it was checked"),
        }
    }
}

impl core::error::Error for LoadError {}
impl core::error::Error for RunError {}
