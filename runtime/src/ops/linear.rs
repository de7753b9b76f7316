//! A matrix times gathered inputs.

use core::cell::Cell;

use super::{Streams, add_table};
use crate::blob::matrix;
use crate::blob::schema::{Activation, Kind, Linear};
use crate::fixed::{saturate_i8, shift_round};
use crate::frame::{Frame, Gathered, Part};
use crate::kernels::{LANES, ROWS};
use crate::tables::tanh;

/// Rows that are computed before they are put where they belong.
const CHUNK: usize = 32;

/// `to = activation(W inputs + b + table[token])`.
#[inline(never)]
pub(super) fn linear(frame: &mut Frame<'_, '_>, op: &Linear) -> Option<()> {
    let matrix = matrix(frame.data, op.matrix)?;
    let gathered = frame.gather(&op.inputs, None, &matrix)?;
    let mut streams = Streams::new(frame, &matrix)?;
    let width = op.to.width as usize;
    let words = frame.slots.get(op.to.slot)?.kind == Kind::I16;
    // Whole streams of results that are stored as they are go to their place at once.
    let direct = if words && op.table.is_none() && op.activation == Activation::None {
        width & !(ROWS - 1)
    } else {
        0
    };
    if direct > 0 {
        let mut to: [&[Cell<i16>]; LANES] = [&[]; LANES];
        for (lane, to) in to.iter_mut().enumerate().take(frame.lanes.count()) {
            *to = frame.words(op.to, lane)?.get(..direct)?;
        }
        streams.project(frame, direct / ROWS, &gathered, Part::All, to)?;
    }
    if direct < width { by_chunks(frame, op, &gathered, &mut streams, direct) } else { Some(()) }
}

/// The rows from `done` on, some at a time; a function of its own, so that the others need no room for them.
#[inline(never)]
fn by_chunks(
    frame: &Frame<'_, '_>,
    op: &Linear,
    gathered: &Gathered,
    streams: &mut Streams<'_>,
    mut done: usize,
) -> Option<()> {
    let width = op.to.width as usize;
    let words = frame.slots.get(op.to.slot)?.kind == Kind::I16;
    let sums = [const { [const { Cell::new(0) }; CHUNK] }; LANES];
    while done < width {
        let rows = CHUNK.min(width - done);
        streams.project(frame, rows.div_ceil(ROWS), gathered, Part::All, sums.each_ref().map(|s| &s[..]))?;
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            let table = frame.table_row(&op.table, width, lane)?;
            add_table(sums, table, 1, done..done + rows, width, (0, 1))?;
            if words {
                for (to, sum) in frame.words(op.to, lane)?.get(done..done + rows)?.iter().zip(sums) {
                    to.set(activate(op.activation, sum.get()));
                }
            } else {
                for (to, sum) in frame.bytes(op.to, lane)?.get(done..done + rows)?.iter().zip(sums) {
                    to.set(saturate_i8(sum.get() as i32));
                }
            }
        }
        done += rows;
    }
    Some(())
}

#[inline(always)]
fn activate(activation: Activation, x: i16) -> i16 {
    match activation {
        Activation::None => x,
        Activation::Tanh { shift } => shift_round(tanh(x) as i32, shift as u32) as i16,
        Activation::Relu => x.max(0),
    }
}
