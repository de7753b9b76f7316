//! The only code that knows how a processor multiplies.
//!
//! `portable` defines what every kernel computes; a variant for an instruction set may differ in speed alone.
//! Callers see the functions of this module and never a `cfg`.

#[cfg(arm_dsp)]
mod arm_dsp;
mod portable;

#[cfg(arm_dsp)]
pub use arm_dsp::{accumulate, arrange};
#[cfg(not(arm_dsp))]
pub use portable::accumulate;

/// Puts gathered columns into the order that `accumulate` reads: here, their own.
#[cfg(not(arm_dsp))]
#[inline(always)]
pub fn arrange(_columns: &mut [i16]) {}

/// Columns a tile; inputs of a product are zero-padded to a multiple of it.
pub const TILE_COLUMNS: usize = 4;
/// Rows a tile.
pub const TILE_ROWS: usize = 4;
/// Bytes of one tile.
pub const TILE_BYTES: usize = TILE_ROWS * TILE_COLUMNS;

/// `columns` rounded up to whole tiles.
#[inline]
pub const fn padded(columns: usize) -> usize {
    columns.div_ceil(TILE_COLUMNS) * TILE_COLUMNS
}
