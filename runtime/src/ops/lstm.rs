//! One step of a long short-term memory (Hochreiter & Schmidhuber 1997, with forget gate).

use super::{Streams, entry};
use crate::blob::schema::Lstm;
use crate::fixed::{q15_to_i8, saturate_i16, shift_round};
use crate::frame::Frame;
use crate::tables::{sigmoid, tanh};

/// Unit by unit: the four rows of a tile are its four gates.
#[inline(never)]
pub(super) fn lstm(frame: &mut Frame<'_, '_>, op: &Lstm) -> Option<()> {
    let x = frame.gather_all(&op.inputs)?;
    let hidden = frame.whole(op.hidden)?;
    let end = frame.gather(x, hidden)?;
    let all = frame.pad(end)?;
    let units = hidden.width as usize;
    let mut streams = Streams {
        weights: frame.tensor(op.matrix.weights, units * 4 * all)?,
        rows: frame.tensor(op.matrix.rows, units * 4 * 8)?.as_chunks().0,
    };
    let (table, shift) = match &op.table {
        Some(table) => (frame.table_row(table, 4 * units)?, table.shift),
        None => ([].as_slice(), 0),
    };
    let token = |gate: usize, unit: usize| table.get(gate * units + unit).map_or(0, |e| entry(e, shift));
    let states = frame.words(hidden)?;
    let cells = frame.words(frame.whole(op.cell)?)?;
    let mut out = match op.out {
        Some(view) => frame.bytes(view)?,
        None => &[],
    }
    .iter();
    let columns = frame.arranged(all)?;
    let bits = op.cell_bits as u32 & 15;
    for (unit, (state, cell)) in states.iter().zip(cells).enumerate() {
        let [i, f, g, o] = streams.next(columns)?;
        let i = sigmoid(saturate_i16(i + token(0, unit))) as i32;
        let f = sigmoid(saturate_i16(f + token(1, unit))) as i32;
        let g = tanh(saturate_i16(g + token(2, unit))) as i32;
        let o = sigmoid(saturate_i16(o + token(3, unit))) as i32;
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
