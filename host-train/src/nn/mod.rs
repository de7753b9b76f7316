//! Layers, each in its own file with forward, backward and gradient check together.
//!
//! Values are row-major `f32` slices; a layer keeps its sizes and the [`params::ParamId`]s of what it
//! learns, and is given the parameters. Forward returns what backward needs; backward adds to gradients.
//! Sentences of unequal length lie in the [`packed::Packed`] layout, so that padding is never computed.

pub mod attention;
pub mod buffer;
pub mod characters;
#[cfg(test)]
pub(crate) mod check;
pub mod dropout;
pub mod elman;
pub mod embedding;
pub mod frames;
pub mod gemm;
pub mod gru;
pub mod linear;
pub mod loss;
pub mod lstm;
pub mod math;
pub mod matrix;
pub mod norm;
pub mod operand;
pub mod packed;
pub mod params;
pub mod peephole;
pub mod random;
pub mod rnn;
pub(crate) mod simd;
pub mod stack;
