//! One step of a long short-term memory (Hochreiter & Schmidhuber 1997, with forget gate).

use core::cell::Cell;

use super::{Streams, add_table, put_out};
use crate::blob::matrix;
use crate::blob::schema::Lstm;
use crate::frame::{Frame, Part};
use crate::kernels::{self, LANES};

/// Units whose gates are computed before their states.
const CHUNK: usize = if LANES == 1 { 8 } else { 16 };

/// The four rows of a stream are a unit's four gates.
///
/// Products read the gathered columns, so that states can be replaced unit by unit.
#[inline(never)]
pub(super) fn lstm(frame: &mut Frame<'_, '_>, op: &Lstm) -> Option<()> {
    let hidden = frame.whole(op.hidden)?;
    let matrix = matrix(frame.data, op.matrix)?;
    let gathered = frame.gather(&op.inputs, Some(hidden), &matrix)?;
    let mut streams = Streams::new(frame, &matrix)?;
    let units = hidden.width as usize;
    let sums = [const { [const { Cell::new(0) }; 4 * CHUNK] }; LANES];
    let mut done = 0;
    while done < units {
        let now = (units - done).min(CHUNK);
        streams.project(frame, now, &gathered, Part::All, sums.each_ref().map(|sums| &sums[..]))?;
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            update(frame, op, lane, done, sums.get(..4 * now)?)?;
        }
        done += now;
    }
    Some(())
}

/// New states of the units from `start` on whose gate sums are known.
fn update(frame: &Frame<'_, '_>, op: &Lstm, lane: usize, start: usize, sums: &[Cell<i16>]) -> Option<()> {
    let states = frame.row(op.hidden, lane)?;
    let units = start..start + sums.len() / 4;
    let table = frame.table_row(&op.table, 4 * states.len(), lane)?;
    add_table(sums, table, 4, units.clone(), states.len(), (1, 4))?;
    #[cfg(feature = "peephole")]
    let all = states.len();
    let states = states.get(units.clone())?;
    let (cells, bits) = (frame.row(op.cell, lane)?.get(units.clone())?, op.cell_bits as u32);
    #[cfg(feature = "peephole")]
    if let Some(shift) = op.peepholes {
        let entries = frame.tensor(op.matrix + 16, 6 * all)?.as_chunks::<2>().0;
        let of = |gate: usize| entries.get(gate * all + units.start..gate * all + units.end);
        kernels::lstm_peephole(sums, cells, states, bits, [of(0)?, of(1)?, of(2)?], shift as u32);
        return put_out(frame, op.out, lane, units, states);
    }
    kernels::lstm(sums, cells, states, bits);
    put_out(frame, op.out, lane, units, states)
}
