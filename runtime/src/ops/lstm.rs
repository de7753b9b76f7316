//! One step of a long short-term memory (Hochreiter & Schmidhuber 1997, with forget gate).

use core::cell::Cell;

use super::{Streams, entry};
use crate::blob::matrix;
use crate::blob::schema::Lstm;
use crate::fixed::{q15_to_i8, saturate_i16, shift_round};
use crate::frame::{Frame, Part};
use crate::kernels::LANES;
use crate::tables::{sigmoid, tanh};

/// Units whose gates are computed before their states.
const CHUNK: usize = 8;

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
        let rows = streams.take(now, &gathered, Part::All)?;
        frame.project(&rows, &gathered, Part::All, sums.each_ref().map(|sums| &sums[..]))?;
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            update(frame, op, lane, done, sums.get(..4 * now)?)?;
        }
        done += now;
    }
    Some(())
}

/// New states of the units from `start` on whose gate sums are known.
fn update(frame: &Frame<'_, '_>, op: &Lstm, lane: usize, start: usize, sums: &[Cell<i16>]) -> Option<()> {
    let states = frame.words(frame.whole(op.hidden)?, lane)?;
    let units = states.len();
    let states = states.get(start..)?;
    let cells = frame.words(frame.whole(op.cell)?, lane)?.get(start..)?;
    let (table, shift) = frame.table_row(&op.table, 4 * units, lane)?;
    let mut out = frame.bytes_or_none(op.out, lane)?.get(start..).unwrap_or(&[]).iter();
    let bits = op.cell_bits as u32 & 15;
    let states = states.iter().zip(cells);
    for (unit, (gates, (state, cell))) in (start..).zip(sums.as_chunks::<4>().0.iter().zip(states)) {
        let mut sums = [gates[0].get(), gates[1].get(), gates[2].get(), gates[3].get()];
        if !table.is_empty() {
            for (gate, sum) in sums.iter_mut().enumerate() {
                let token = table.get(gate * units + unit).map_or(0, |e| entry(e, shift));
                *sum = saturate_i16(*sum as i32 + token);
            }
        }
        let [i, f, g, o] = sums;
        let (i, f, o) = (sigmoid(i) as i32, sigmoid(f) as i32, sigmoid(o) as i32);
        let g = tanh(g) as i32;
        let c = saturate_i16(shift_round(f * cell.get() as i32 + ((i * g) >> (15 - bits)), 15));
        cell.set(c);
        let wide = if bits <= 12 { (c as i32) << (12 - bits) } else { shift_round(c as i32, bits - 12) };
        let h = saturate_i16(shift_round(o * tanh(saturate_i16(wide)) as i32, 15));
        state.set(h);
        if let Some(byte) = out.next() {
            byte.set(q15_to_i8(h));
        }
    }
    Some(())
}
