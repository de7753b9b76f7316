//! Cases that every kernel of every core must agree on, and the slow loops that are obviously right: shared by the host's
//! tests and the program for emulated cores, which has neither heap nor panics.

mod gates;
mod products;
mod rows;

use core::fmt;

pub use gates::gates;
pub use products::{Case, Room, products};
pub use rows::{columns, dots};

/// What a place holds that is not to be written.
const UNTOUCHED: i16 = 0x5A5A;

/// A case on which a kernel is wrong.
pub enum Difference {
    /// Of `project`, or of a vector of `project_two`.
    Product {
        /// Which.
        case: Case,
        /// `None` for `project`.
        vector: Option<usize>,
        /// Place: rows, but also those beside them.
        row: usize,
        /// As the definition says.
        expected: i16,
        /// As it was.
        found: i16,
    },
    /// Of the gates of an LSTM or GRU.
    Gates {
        /// Which.
        kind: &'static str,
        /// Fraction bits of the cell or of the candidate's product.
        bits: u32,
        /// Units of the case.
        units: usize,
        /// The one that is wrong.
        unit: usize,
        /// Its state and cell (GRU: the same) as the definition says.
        expected: [i16; 2],
        /// As they were.
        found: [i16; 2],
    },
    /// Of a product of a query and a key.
    Dot {
        /// How many terms it has.
        terms: usize,
        /// As the definition says.
        expected: i32,
        /// As it was.
        found: i32,
    },
    /// Of the columns of a product.
    Columns {
        /// Of bytes or of words.
        kind: &'static str,
        /// How many values there are.
        len: usize,
        /// Which one is wrong; or the place behind them.
        at: usize,
        /// As the definition says.
        expected: i16,
        /// As it was.
        found: i16,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Product { case, vector: None, row, expected, found } => {
                write!(f, "project: row {row} is {found}, not {expected}: {case:?}")
            }
            Self::Product { case, vector: Some(vector), row, expected, found } => {
                write!(f, "project_two: row {row} of vector {vector} is {found}, not {expected}: {case:?}")
            }
            Self::Gates { kind, bits, units, unit, expected: [h, c], found: [state, cell] } => write!(
                f,
                "{kind} with {bits} bits: state and cell of unit {unit} of {units} are {state} and {cell}, not {h} and {c}"
            ),
            Self::Dot { terms, expected, found } => {
                write!(f, "a query times a key of {terms} is {found}, not {expected}")
            }
            Self::Columns { kind, len, at, expected, found } => {
                write!(f, "columns of {len} {kind}: number {at} is {found}, not {expected}")
            }
        }
    }
}

/// Xorshift (Marsaglia 2003).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A number below `limit`, which is at most 2^16.
    fn below(&mut self, limit: u32) -> u32 {
        ((self.next() >> 16) * limit) >> 16
    }

    fn word(&mut self) -> i16 {
        match self.below(8) {
            0 => i16::MIN,
            1 => i16::MAX,
            2 => self.below(512) as i16 - 256,
            _ => (self.next() >> 16) as i16,
        }
    }
}

/// `x / 2^by`, halves up.
fn rounded(x: i64, by: u32) -> i64 {
    (x + (1 << by >> 1)) >> by
}

fn saturate(x: i64) -> i16 {
    x.clamp(-32_768, 32_767) as i16
}
