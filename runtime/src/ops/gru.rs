//! One step of a gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate multiplies the recurrent product.

use core::cell::Cell;

use super::{Streams, add_entry, put_out};
use crate::blob::matrix;
use crate::blob::schema::Gru;
use crate::frame::{Frame, Part};
use crate::kernels::{self, LANES, ROWS};

/// Sums of four units: of r, of z, of `W_n x` and of `U_n h`.
type Sums = [[Cell<i16>; ROWS]; 4];

/// Four units at a time.
///
/// Products read the gathered columns, so that states can be replaced unit by unit.
#[inline(never)]
pub(super) fn gru(frame: &mut Frame<'_, '_>, op: &Gru) -> Option<()> {
    let hidden = frame.whole(op.hidden)?;
    let matrix = matrix(frame.data, op.matrix)?;
    let gathered = frame.gather(&op.inputs, Some(hidden), &matrix)?;
    let mut streams = Streams::new(frame, &matrix)?;
    let units = hidden.width as usize;
    let sums: [Sums; LANES] = [const { [const { [const { Cell::new(0) }; ROWS] }; 4] }; LANES];
    for start in (0..units).step_by(ROWS) {
        let to = |gate: usize, gates: usize| {
            let rows = ROWS * gate..ROWS * (gate + gates);
            sums.each_ref().map(|sums| sums.as_flattened().get(rows.clone()).unwrap_or(&[]))
        };
        streams.project(frame, 2, &gathered, Part::All, to(0, 2))?;
        if gathered.inputs > 0 {
            streams.project(frame, 1, &gathered, Part::Inputs, to(2, 1))?;
        }
        streams.project(frame, 1, &gathered, Part::State, to(3, 1))?;
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            update(frame, op, lane, start, sums)?;
        }
    }
    Some(())
}

/// New states of the four units from `start` on, fewer at the end.
fn update(frame: &Frame<'_, '_>, op: &Gru, lane: usize, start: usize, sums: &Sums) -> Option<()> {
    let states = frame.row(op.hidden, lane)?;
    let units = states.len();
    let (table, shift) = frame.table_row(&op.table, 3 * units, lane)?;
    let end = units.min(start + ROWS);
    for (gate, sums) in sums.iter().enumerate().take(if table.is_empty() { 0 } else { 3 }) {
        for (sum, bytes) in sums.iter().zip(table.get(gate * units + start..)?) {
            // A part without columns has no sums of its own.
            if gate == 2 && op.inputs.is_empty() {
                sum.set(0);
            }
            add_entry(sum, bytes, shift);
        }
    }
    let states = states.get(start..end)?;
    kernels::gru(sums, states, op.candidate_bits as u32);
    put_out(frame, op.out, lane, start..end, states)
}
