//! The only code that knows how a processor multiplies.
//!
//! `portable` and [`layout::weight`] define what every kernel computes; a variant for an instruction set may differ in
//! speed alone. Callers see the functions of this module and never a `cfg`.

#[cfg(arm_dsp)]
mod arm_dsp;
#[cfg_attr(any(armv6m, armv7m, arm_dsp), expect(dead_code, reason = "these cores have their own"))]
mod gates;
#[cfg(any(armv6m, armv7m, arm_dsp))]
#[cfg_attr(mve, expect(dead_code, reason = "Helium has its own, but for what is left of a vector"))]
mod gates_arm;
pub mod layout;
#[cfg(mve)]
mod mve;
#[cfg(feature = "std")]
pub(crate) mod panels;
mod portable;
#[cfg(any(armv6m, armv7m))]
mod tiles;
#[cfg(feature = "std")]
mod vector;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86;

#[cfg(arm_dsp)]
pub use arm_dsp::{dot, dot_two};
pub use gates::lstm_peephole;
#[cfg(not(any(armv6m, armv7m, arm_dsp)))]
pub use gates::{context, context_two, energy, energy_two, gru, lstm};
#[cfg(armv6m)]
pub use gates::{context, energy, largest, sum_exp2};
#[cfg(not(arm_dsp))]
pub use gates::{dot, dot_two};
#[cfg(not(any(armv6m, armv7m, arm_dsp, feature = "std")))]
pub use gates::{largest, sum_exp2};
#[cfg(any(armv7m, arm_dsp))]
pub use gates_arm::{context, energy, largest, sum_exp2};
#[cfg(arm_dsp)]
pub use gates_arm::{context_two, energy_two};
#[cfg(all(any(armv6m, armv7m, arm_dsp), not(mve)))]
pub use gates_arm::{gru, lstm};
pub use layout::{Bits, Layout};
#[cfg(mve)]
pub use mve::{columns_of_bytes, columns_of_words, gru, lstm};
#[cfg(feature = "std")]
pub use panels::{Isa, largest, sum_exp2};
#[cfg(not(mve))]
pub use portable::{columns_of_bytes, columns_of_words};

use core::cell::Cell;

use crate::fixed::{saturate_i16, scale};

/// Rows of a stream.
pub const ROWS: usize = 4;
/// Vectors that a program can be run for at once: two where it pays. The smallest cores spare the code.
pub const LANES: usize = if cfg!(any(armv6m, armv7m)) { 1 } else { 2 };
/// Most columns of one uninterrupted sum, so that no kernel's partial sums overflow.
pub const MAX_RUN: usize = 512;

/// Rows of a matrix over the same columns: whole streams of four.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Arrangement of the weights.
    pub layout: Layout,
    /// Size of a weight.
    pub bits: Bits,
    /// The weights, stream after stream.
    pub weights: &'a [u8],
    /// Row records: bias, mantissa, first shift, a zero.
    pub records: &'a [[u8; 8]],
    /// Second shift of the requantization, the same for all rows.
    pub post: u8,
    /// Columns that share a multiplier; 0 when there are none.
    pub group: u16,
    /// Column at which groups start anew: where the inputs of a recurrent step end and its hidden state begins.
    pub split: usize,
    /// Multipliers, by stream, then group of columns, then row.
    pub multipliers: &'a [u8],
}

/// Columns of a product, or a part of them that starts and ends with a tile.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Columns, padded, with the layout's offset added, then put in order by [`prepare`].
    pub values: &'a [i16],
    /// Their sum.
    pub total: i32,
}

impl<'a> Columns<'a> {
    /// Counts the sum, which some kernels need.
    pub fn new(values: &'a [i16]) -> Self {
        Self { values, total: total(values) }
    }
}

/// Sum of the columns.
pub fn total(values: &[i16]) -> i32 {
    values.iter().fold(0i32, |sum, &x| sum.wrapping_add(x as i32))
}

/// Sums of two interleaved vectors.
pub fn totals_two(pair: &[i16]) -> [i32; 2] {
    pair.as_chunks::<4>().0.iter().fold([0i32; 2], |[first, second], &[a, b, c, d]| {
        [first.wrapping_add(a as i32 + b as i32), second.wrapping_add(c as i32 + d as i32)]
    })
}

/// Whether this core's kernel has its own order of a layout's columns; it adds them up by itself.
const fn reorders(layout: Layout) -> bool {
    cfg!(mve) && matches!(layout, Layout::Blocks)
}

/// Puts gathered columns (whole tiles) in the order in which this core's kernel for a layout reads them: once, after
/// [`total`] and before [`project`]. Columns of interleaved vectors stay as they are.
#[inline]
pub fn prepare(layout: Layout, columns: &mut [i16]) {
    #[cfg(mve)]
    if reorders(layout) {
        mve::prepare(columns);
    }
    #[cfg(not(mve))]
    let _ = (layout, columns);
}

/// A row's sum to its result: bias added, requantized, saturated.
#[inline(always)]
fn result(sum: i32, [b0, b1, b2, b3, m0, m1, pre, _]: &[u8; 8], post: u8) -> i16 {
    let bias = i32::from_le_bytes([*b0, *b1, *b2, *b3]);
    saturate_i16(scale(sum.wrapping_add(bias), u16::from_le_bytes([*m0, *m1]), *pre, post))
}

/// Computes rows: sum of weight * column, plus bias, requantized, saturated to 16 bits.
///
/// `to` has as many elements as there are rows, a multiple of four; what is short ends the work early.
pub fn project(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) {
    #[cfg(mve)]
    if mve::project(rows, columns, to) {
        return;
    }
    #[cfg(arm_dsp)]
    if arm_dsp::project(rows, columns, to) {
        return;
    }
    #[cfg(any(armv6m, armv7m))]
    if tiles::project(rows, columns, to) {
        return;
    }
    project_runs(rows, columns, to);
}

/// [`project`] by any core. What it needs is not to be computed before the cores' own kernels are asked.
#[inline(never)]
fn project_runs(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) {
    let add = |values: &[i16]| [total(values)];
    by_runs(rows, columns.values, [columns.total], [to], add, |stream, values, [total]| {
        [dot4(rows.layout, rows.bits, stream, &Columns { values, total })]
    });
}

/// [`project`] for two vectors at once, so that each weight is fetched and unpacked once. Two columns of the first vector
/// stand before two of the second, and so on; `totals` are their sums. Only for products that [`interleaved`] allows.
pub fn project_two(rows: &Rows<'_>, pair: &[i16], totals: [i32; LANES], to: [&[Cell<i16>]; LANES]) {
    #[cfg(arm_dsp)]
    if !arm_dsp::project_two(rows, pair, totals, to) {
        project_two_runs(rows, pair, totals, to);
    }
    #[cfg(not(arm_dsp))]
    let _ = (rows, pair, totals, to);
}

/// [`project_two`] likewise.
#[cfg(arm_dsp)]
#[inline(never)]
fn project_two_runs(rows: &Rows<'_>, pair: &[i16], totals: [i32; LANES], to: [&[Cell<i16>]; LANES]) {
    by_runs(rows, pair, totals, to, totals_two, |stream, pair, totals| {
        arm_dsp::dot4_two(rows.bits, stream, pair, totals)
    });
}

/// Whether this core computes two vectors at once; they are then interleaved, two columns at a time.
pub const fn interleaved(layout: Layout) -> bool {
    cfg!(arm_dsp) && matches!(layout, Layout::Pairs)
}

/// Groups whose columns' sums are kept from stream to stream: where they take as long as the products, and there is stack for them.
const KEPT: usize = if cfg!(all(arm_dsp, not(mve))) { 32 } else { 0 };

/// Products of one vector, or of several that are interleaved, stream by stream and run by run: groups with multipliers, long
/// rows, and layouts that are another core's. `totals` are the sums of all columns, `add` counts those of a run, and `dot4` the
/// sums of a stream's rows over a run, given the run's totals.
#[inline]
fn by_runs<const N: usize>(
    rows: &Rows<'_>,
    values: &[i16],
    totals: [i32; N],
    to: [&[Cell<i16>]; N],
    add: impl Fn(&[i16]) -> [i32; N],
    dot4: impl Fn(&[u8], &[i16], [i32; N]) -> [[i32; ROWS]; N],
) {
    let len = values.len() / N;
    let mut kept = [[0; N]; KEPT];
    let mut known = 0;
    // Groups start anew at the split.
    let (longest, split) = if rows.group == 0 { (MAX_RUN, 0) } else { (rows.group as usize, rows.split) };
    let (mut weights, mut multipliers) = (rows.weights, rows.multipliers);
    let mut to = to.map(|to| to.as_chunks::<ROWS>().0.iter());
    for records in rows.records.as_chunks::<ROWS>().0 {
        let sums = [const { [const { Cell::new(0i32) }; ROWS] }; N];
        let (mut at, mut number) = (0, 0);
        while at < len {
            let end = if at < split { split } else { len };
            let run = longest.min(end - at);
            let Some(values) = values.get(N * at..N * (at + run)) else { return };
            let Some((stream, rest)) = weights.split_at_checked(rows.bits.stream_bytes(run)) else { return };
            weights = rest;
            let mut factors = &[1u8; ROWS];
            if rows.group != 0 {
                let Some((now, rest)) = multipliers.split_first_chunk() else { return };
                (factors, multipliers) = (now, rest);
            }
            let totals = match kept.get_mut(number) {
                // Without multipliers, what is taken away for the first run may be that of all.
                _ if rows.group == 0 && at == 0 => totals,
                _ if rows.group == 0 || !needs_totals(rows.layout, rows.bits) => [0; N],
                Some(kept) if number < known => *kept,
                Some(kept) => {
                    known = number + 1;
                    *kept = add(values);
                    *kept
                }
                None => add(values),
            };
            (at, number) = (at + run, number + 1);
            for (sums, parts) in sums.iter().zip(&dot4(stream, values, totals)) {
                for ((sum, part), factor) in sums.iter().zip(parts).zip(factors) {
                    sum.set(sum.get().wrapping_add(part.wrapping_mul(*factor as i32)));
                }
            }
        }
        for (to, sums) in to.iter_mut().zip(&sums) {
            let Some(to) = to.next() else { return };
            for ((to, sum), record) in to.iter().zip(sums).zip(records) {
                to.set(result(sum.get(), record, rows.post));
            }
        }
    }
}

/// Whether kernels ask for the sums of columns.
pub const fn needs_totals(layout: Layout, bits: Bits) -> bool {
    matches!(layout, Layout::Tiles) || (matches!(bits, Bits::Int4) && !reorders(layout))
}

/// Sums of four rows over a run of columns, by this core's kernel when the layout is its own.
#[inline(always)]
fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> [i32; 4] {
    #[cfg(mve)]
    if let Some(sums) = mve::dot4(layout, bits, stream, columns) {
        return sums;
    }
    #[cfg(arm_dsp)]
    if let Some(sums) = arm_dsp::dot4(layout, bits, stream, columns) {
        return sums;
    }
    #[cfg(any(armv6m, armv7m))]
    if let Some(sums) = tiles::dot4(layout, bits, stream, columns) {
        return sums;
    }
    #[cfg(not(any(armv6m, armv7m)))]
    match (layout, bits) {
        (Layout::Tiles, Bits::Int8) => return portable::tiles_int8(stream, columns),
        (Layout::Tiles, Bits::Int4) => return portable::tiles_int4(stream, columns),
        _ => {}
    }
    portable::dot4(layout, bits, stream, columns)
}
