//! Quantization-aware training: the network computes on the chip's integer grid while it learns.
//!
//! A [`Scheme`] says what becomes of every product's weights and on which grids inner values lie; it is chosen once, from a
//! float network, and recorded beside the weights, so that the compiler repeats it. In every step a [`Grid`] holds the
//! integers of the present weights. Layers consult it: without one they compute in floating point, with one they compute what
//! the runtime computes, to the bit, in the rounding of `kinglet::fixed` and with the functions of `kinglet::tables`.
//!
//! Gradients pass roundings as if they were not there (straight-through; Bengio, Léonard, Courville 2013), but do not reach
//! weights that are clipped. Backward passes read the weights as the integers stand for them.
//!
//! `docs/quantization.md` has the formulas.

mod choose;
mod grid;
mod kind;
mod requantize;
mod row;
mod scheme;
#[cfg(test)]
mod tests;
mod values;

pub use choose::choose_tables;
pub use grid::{AttentionGrid, Builder, Grid, Product, Token, TokenSource, Weights};
pub use kind::Kind;
pub use requantize::{GATE, MARGIN, Records, Width, fraction_bits, power_of_two, table};
pub use row::{ACTIVATION, Row, row, vector};
pub use scheme::{FILE, FRAMES, OUTPUT, PROJECTION, Scheme, consumers, products, quantities};
pub use values::{Functions, Q12, Q15, softmax, to_i8};
