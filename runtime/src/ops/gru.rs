//! One step of a gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate multiplies the recurrent product.

use core::cell::Cell;

use super::{Streams, entry};
use crate::blob::matrix;
use crate::blob::schema::Gru;
use crate::fixed::{q15_to_i8, saturate_i16, shift_round};
use crate::frame::{Frame, Part};
use crate::kernels::{LANES, ROWS};
use crate::tables::{sigmoid, tanh};

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
    // What a part without columns would give is zero.
    let sums: [Sums; LANES] = [const { [const { [const { Cell::new(0) }; ROWS] }; 4] }; LANES];
    for start in (0..units).step_by(ROWS) {
        let to = |gate: usize, gates: usize| {
            let rows = ROWS * gate..ROWS * (gate + gates);
            sums.each_ref().map(|sums| sums.as_flattened().get(rows.clone()).unwrap_or(&[]))
        };
        let gates = streams.take(2, &gathered, Part::All)?;
        frame.project(&gates, &gathered, Part::All, to(0, 2))?;
        if gathered.inputs > 0 {
            let candidate = streams.take(1, &gathered, Part::Inputs)?;
            frame.project(&candidate, &gathered, Part::Inputs, to(2, 1))?;
        }
        let recurrent = streams.take(1, &gathered, Part::State)?;
        frame.project(&recurrent, &gathered, Part::State, to(3, 1))?;
        for (lane, sums) in sums.iter().enumerate().take(frame.lanes.count()) {
            update(frame, op, lane, start, sums)?;
        }
    }
    Some(())
}

/// New states of the four units from `start` on.
fn update(frame: &Frame<'_, '_>, op: &Gru, lane: usize, start: usize, sums: &Sums) -> Option<()> {
    let states = frame.words(frame.whole(op.hidden)?, lane)?;
    let units = states.len();
    let (table, shift) = frame.table_row(&op.table, 3 * units, lane)?;
    let token = |gate: usize, unit: usize| table.get(gate * units + unit).map_or(0, |e| entry(e, shift));
    let mut out = frame.bytes_or_none(op.out, lane)?.get(start..).unwrap_or(&[]).iter();
    // r * u is Q(15 + candidate_bits); the candidate's sum is Q3.12.
    let to_q12 = 3 + op.candidate_bits as u32;
    let [reset, update, candidate, recurrent] = sums;
    for (i, cell) in states.get(start..)?.iter().take(ROWS).enumerate() {
        let unit = start + i;
        let sum = |sums: &[Cell<i16>; ROWS]| sums[i & (ROWS - 1)].get() as i32;
        let r = sigmoid(saturate_i16(sum(reset) + token(0, unit))) as i32;
        let z = sigmoid(saturate_i16(sum(update) + token(1, unit))) as i32;
        let n = sum(candidate) + token(2, unit) + shift_round(r * sum(recurrent), to_q12);
        let n = tanh(saturate_i16(n)) as i32;
        let h = saturate_i16(n + shift_round(z * (cell.get() as i32 - n), 15));
        cell.set(h);
        if let Some(byte) = out.next() {
            byte.set(q15_to_i8(h));
        }
    }
    Some(())
}
