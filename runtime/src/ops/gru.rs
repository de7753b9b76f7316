//! One step of a gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate multiplies the recurrent product.

use core::cell::Cell;

use super::{Streams, add_table, put_out};
use crate::blob::matrix;
use crate::blob::schema::{GRU_GROUP, Gru};
use crate::frame::{Frame, Part};
use crate::kernels::{self, LANES, ROWS};

/// Sums of a group of units: of r, of z, of `W_n x` and of `U_n h`.
type Sums = [[Cell<i16>; GRU_GROUP]; 4];

/// A group of units at a time.
///
/// Products read the gathered columns, so that states can be replaced unit by unit.
#[inline(never)]
pub(super) fn gru(frame: &mut Frame<'_, '_>, op: &Gru) -> Option<()> {
    let hidden = frame.whole(op.hidden)?;
    let matrix = matrix(frame.data, op.matrix)?;
    let gathered = frame.gather(&op.inputs, Some(hidden), &matrix)?;
    let mut streams = Streams::new(frame, &matrix)?;
    let units = hidden.width as usize;
    let sums: [Sums; LANES] = [const { [const { [const { Cell::new(0) }; GRU_GROUP] }; 4] }; LANES];
    for start in (0..units).step_by(GRU_GROUP) {
        let end = units.min(start + GRU_GROUP);
        let count = (end - start).div_ceil(ROWS);
        for (gate, part) in [Part::All, Part::All, Part::Inputs, Part::State].into_iter().enumerate() {
            let to = sums.each_ref().map(|sums| sums.get(gate).map_or(&[][..], |sums| &sums[..]));
            if part == Part::Inputs && gathered.inputs == 0 {
                // Without columns there are no rows: the token's table is all that enters.
                to.iter().copied().flatten().for_each(|sum| sum.set(0));
            } else {
                streams.project(frame, count, &gathered, part, to)?;
            }
        }
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            let states = frame.row(op.hidden, lane)?;
            let table = frame.table_row(&op.table, 3 * units, lane)?;
            add_table(sums.as_flattened(), table, 3, start..end, units, (GRU_GROUP, 1))?;
            let states = states.get(start..end)?;
            kernels::gru(sums, states, op.candidate_bits as u32);
            put_out(frame, op.out, lane, start..end, states)?;
        }
    }
    Some(())
}
