//! The operations of a program.

use super::View;
use crate::kernels::Bits;

/// Units of a GRU whose rows stand together, gate by gate: a multiple of 4.
pub const GRU_GROUP: usize = 16;
/// Most inputs that one product may gather.
pub const MAX_INPUTS: usize = 4;
/// Byte offset of a tensor in the data section.
pub type Offset = u32;

/// One operation. The *present token* is the source's at the present position, or, in the step program, the
/// hypothesis' last target token (the start mark at first); a step that labels stands at a source position.
///
/// Operations that few models have are features of the crate: without one, a blob that needs it is refused by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Copies the present token's row of an int8 embedding table.
    Embed(Embed),
    /// Multiplies gathered inputs with a matrix, row by row requantized.
    Linear(Linear),
    /// One step of a gated recurrent unit.
    Gru(Gru),
    /// One step of a long short-term memory.
    Lstm(Lstm),
    /// Attention over the source.
    Attend(Attend),
    /// Adds two rows, or copies one.
    #[cfg(feature = "add")]
    Add(Add),
    /// Brings a row to a normal form: mean and variance, or length.
    #[cfg(feature = "norm")]
    Norm(Norm),
}

/// Embedding lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embed {
    /// Tensor `i8[vocabulary][width]`.
    pub table: Offset,
    /// An int8 view.
    pub to: View,
}

/// What enters a product: int8 values, zero-padded to whole tiles of the blob's layout.
///
/// An int8 view is taken as it is. A 16-bit view is Q0.15 and is rounded to 2^-7.
pub type Inputs = heapless::Vec<View, MAX_INPUTS, u8>;

/// A matrix: the offset of its 16-byte record, see [`MatrixRecord`].
pub type Matrix = Offset;

/// Weights of a product and how its accumulators become results: see `docs/format.md`, "Tiles" and "Row records".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixRecord {
    /// Tensor of weights in tiles of the blob's layout, streams of four rows one after the other.
    pub weights: Offset,
    /// Tensor of row records, 8 bytes a row.
    pub rows: Offset,
    /// Tensor `u8` of multipliers, by stream of four rows, group of columns, row; 0 without groups.
    pub multipliers: Offset,
    /// Columns of a group, which share a multiplier: a multiple of 16, 16 to 256; 0 without groups. Groups start anew where
    /// the hidden state's columns begin.
    pub group: u16,
    /// Rounding right shift after the multiplication with a row's mantissa, 1 to 23.
    pub post: u8,
    /// Size of a weight.
    pub bits: Bits,
}

impl MatrixRecord {
    /// Members in order, little-endian; the last is the number of bits.
    pub fn to_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let words = [self.weights, self.rows, self.multipliers];
        for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        let [low, high] = self.group.to_le_bytes();
        let bits = match self.bits {
            Bits::Int8 => 8,
            Bits::Int4 => 4,
        };
        bytes[12..].copy_from_slice(&[low, high, self.post, bits]);
        bytes
    }

    /// The matrix that these bytes mean, if any.
    pub fn from_bytes(bytes: &[u8; 16]) -> Option<Self> {
        let [weights, rows, multipliers, [g0, g1, post, bits]] = bytes.as_chunks::<4>().0 else {
            return None;
        };
        let [weights, rows, multipliers] = [weights, rows, multipliers].map(|b| u32::from_le_bytes(*b));
        let bits = match bits {
            8 => Bits::Int8,
            4 => Bits::Int4,
            _ => return None,
        };
        Some(Self { weights, rows, multipliers, group: u16::from_le_bytes([*g0, *g1]), post: *post, bits })
    }
}

/// The part of a product that depends on the present token alone, computed by the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Tensor `i16[vocabulary][rows]`, in the product's result units divided by 2^`shift`.
    pub table: Offset,
    /// Left shift of an entry, 0 to 15.
    pub shift: u8,
}

/// `to = activation(W inputs + b + table[token])`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Columns, in order.
    pub inputs: Inputs,
    /// Weights of `to.width` rows, rounded up to a multiple of 4.
    pub matrix: Matrix,
    /// Token part.
    pub table: Option<Table>,
    /// What becomes of the sum.
    pub activation: Activation,
    /// Where it goes: an int8 view (saturated to [-127, 127]) or a 16-bit one. It may be among the inputs, which are
    /// gathered before anything is written: a simple recurrent cell (Elman 1990) is a map of [x; h] to h.
    pub to: View,
}

/// What becomes of a linear sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It is stored as it is.
    None,
    /// The sum is Q3.12; its hyperbolic tangent, Q0.15, is stored after a rounding right shift of `shift` bits.
    Tanh {
        /// Right shift, 0 to 15.
        shift: u8,
    },
    /// Where it is negative 0 is stored, to a 16-bit view.
    Relu,
}

/// Gated recurrent unit in PyTorch's form:
/// `r = s(W_r [x; h] + ..)`, `z = s(W_z [x; h] + ..)`, `n = tanh(W_n x + .. + r (U_n h + c_n))`,
/// `h' = n + z (h - n)`.
///
/// Row records and weights come in groups of [`GRU_GROUP`] units: their rows of r, of z (both over [x; h]), of `W_n` (over
/// x; absent when there are no inputs), of `U_n` (over h).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gru {
    /// x: columns before the hidden state's own. May be empty when there is a table.
    pub inputs: Inputs,
    /// Weights and row records.
    pub matrix: Matrix,
    /// Token part, `[r; z; n]`, Q3.12 divided by 2^shift.
    pub table: Option<Table>,
    /// Fraction bits of `U_n h + c_n`, 0 to 12.
    pub candidate_bits: u8,
    /// Slot of h, 16-bit Q0.15, the whole width: as many units.
    pub hidden: u8,
    /// Where h' also goes, rounded to 2^-7: an int8 view.
    pub out: Option<View>,
}

/// Long short-term memory: `i, f, g, o = W [x; h] + b`, `c' = s(f) c + s(i) tanh(g)`, `h' = s(o) tanh(c')`.
///
/// Row records and weights come unit by unit: rows i, f, g, o over [x; h]. With peepholes (Gers, Schraudolph & Schmidhuber
/// 2002), `p_i c` and `p_f c` are added to i and f, `p_o c'` to o, element by element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lstm {
    /// x: columns before the hidden state's own. May be empty when there is a table.
    pub inputs: Inputs,
    /// Weights and row records.
    pub matrix: Matrix,
    /// Token part, `[i; f; g; o]`, Q3.12 divided by 2^shift.
    pub table: Option<Table>,
    /// Fraction bits of the cell state, 0 to 15.
    pub cell_bits: u8,
    /// Slot of h, 16-bit Q0.15, the whole width: as many units.
    pub hidden: u8,
    /// Slot of c, 16-bit, as wide.
    pub cell: u8,
    /// Rounding right shift, 0 to 30, of a peephole times a cell state, to Q3.12. The peepholes stand behind the matrix' record:
    /// tensor `i16[3][units]`: `p_i`, `p_f`, `p_o`.
    #[cfg(feature = "peephole")]
    pub peepholes: Option<u8>,
    /// Where h' also goes, rounded to 2^-7: an int8 view.
    pub out: Option<View>,
}

/// Attention: a score for every source position, weights = softmax over the source, `to = sum of weights * value_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attend {
    /// Slot of the query, 16-bit; it has no row a source position.
    pub query: u8,
    /// Slot of the keys, int8, one row a source position, as wide as the query.
    pub keys: u8,
    /// What a score is made of.
    pub energy: Energy,
    /// Requantization of that to log2 units of 2^-`score_bits`, 16 bits.
    pub score: Multiplier,
    /// Fraction bits of a score, 0 to 15.
    pub score_bits: u8,
    /// Slot of the values, int8, one row a source position.
    pub values: u8,
    /// The context, an int8 view as wide as the values.
    pub to: View,
}

/// How a query is compared with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Energy {
    /// `v . tanh(query + key)` (Bahdanau et al. 2015), in units of v's scale times 2^-15.
    Additive {
        /// Fraction bits of the query, 0 to 12.
        query_bits: u8,
        /// Value of a key's unit in 2^-18, 1 to 65535.
        key_scale: u16,
        /// Tensor `i8[width]`: v.
        v: Offset,
    },
    /// `query . key` (Luong et al. 2015), the query Q0.15 and rounded to 2^-7 first.
    #[cfg(feature = "dot")]
    Dot,
}

/// `to = sum of rows`, element by element, rounded half up and saturated (int8: to [-127, 127]):
/// `(a << up[0] + b << up[1]) >> down`. All views are as wide; each may be int8 or 16-bit.
#[cfg(feature = "add")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Add {
    /// One row.
    pub a: View,
    /// The other; without it, the first is copied.
    pub b: Option<View>,
    /// Left shifts of a and of b, 0 to 13.
    pub up: [u8; 2],
    /// Rounding right shift of the sum, 0 to 30.
    pub down: u8,
    /// Where it goes; it may be a or b.
    pub to: View,
}

/// A row in a normal form. Rows have at most 2048 elements, int8 or 16-bit, and are as wide as what they become.
#[cfg(feature = "norm")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Norm {
    /// The row.
    pub from: View,
    /// Which form.
    pub form: Form,
    /// Where it goes, int8 or 16-bit; it may be the row itself.
    pub to: View,
}

/// Normal forms of a row x.
#[cfg(feature = "norm")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Layer normalization (Ba, Kiros & Hinton 2016): `gain * (x - mean) / sqrt(variance + epsilon) + bias`.
    Layer {
        /// Tensor `i16[2][width]`: gains, in units of the result times 2^(`shift` - 15 + b), b = half the bits of `width - 1`,
        /// rounded up; then biases, in units of the result.
        gains: Offset,
        /// Right shift of a gain times a normal element, 0 to 30.
        shift: u8,
        /// In units of x, squared; below 2^30.
        epsilon: u32,
    },
    /// Length 1: `x / |x|`, 2^-15 in 16 bits, 2^-7 in int8; zeros stay.
    Length,
}

/// A positive real factor `mantissa / 2^(pre + post)`: see `fixed::requantize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplier {
    /// 0 to 32640.
    pub mantissa: u16,
    /// Right shift before the product, 0 to 31.
    pub pre: u8,
    /// Rounding right shift after it, 1 to 23.
    pub post: u8,
}
