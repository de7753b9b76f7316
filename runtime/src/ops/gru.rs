//! One step of a gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate multiplies the recurrent product.

use super::{Streams, entry};
use crate::blob::schema::Gru;
use crate::fixed::{q15_to_i8, saturate_i16, shift_round};
use crate::frame::Frame;
use crate::kernels::padded;
use crate::tables::{sigmoid, tanh};

/// Four units at a time: their rows of r, z, `W_n` and `U_n`, then gates and new hidden state from registers.
///
/// Products read the gathered columns, so that the hidden state can be replaced unit by unit.
#[inline(never)]
pub(super) fn gru(frame: &mut Frame<'_, '_>, op: &Gru) -> Option<()> {
    let x = frame.gather_all(&op.inputs)?;
    let hidden = frame.whole(op.hidden)?;
    let end = frame.gather(x, hidden)?;
    let all = frame.pad(end)?;
    let units = hidden.width as usize;
    let groups = padded(units) / 4;
    let rows = if x == 0 { 12 } else { 16 };
    let mut streams = Streams {
        weights: frame.tensor(op.matrix.weights, groups * 12 * all)?,
        rows: frame.tensor(op.matrix.rows, groups * rows * 8)?.as_chunks().0,
    };
    let (table, shift) = match &op.table {
        Some(table) => (frame.table_row(table, 3 * units)?, table.shift),
        None => ([].as_slice(), 0),
    };
    let token = |gate: usize, unit: usize| table.get(gate * units + unit).map_or(0, |e| entry(e, shift));
    let state = frame.words(hidden)?;
    let mut out = match op.out {
        Some(view) => frame.bytes(view)?,
        None => &[],
    }
    .iter();
    let columns = frame.arranged(all)?;
    let (input, recurrent) = columns.split_at_checked(x)?;
    // r * u is Q(15 + candidate_bits); the candidate's sum is Q3.12.
    let to_q12 = 3 + op.candidate_bits as u32;
    for (group, cells) in state.chunks(4).enumerate() {
        let reset = streams.next(columns)?;
        let update = streams.next(columns)?;
        let candidate = if x == 0 { [0; 4] } else { streams.next(input)? };
        let recurrent = streams.next(recurrent)?;
        for (i, cell) in cells.iter().enumerate() {
            let unit = group * 4 + i;
            let i = i & 3;
            let r = sigmoid(saturate_i16(reset[i] + token(0, unit))) as i32;
            let z = sigmoid(saturate_i16(update[i] + token(1, unit))) as i32;
            let u = saturate_i16(recurrent[i]) as i32;
            let n = candidate[i] + token(2, unit) + shift_round(r * u, to_q12);
            let n = tanh(saturate_i16(n)) as i32;
            let h = saturate_i16(n + shift_round(z * (cell.get() as i32 - n), 15));
            cell.set(h);
            if let Some(byte) = out.next() {
                byte.set(q15_to_i8(h));
            }
        }
    }
    Some(())
}
