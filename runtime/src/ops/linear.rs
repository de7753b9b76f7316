//! A matrix times gathered inputs.

use super::{Streams, entry};
use crate::blob::schema::{Activation, Kind, Linear};
use crate::fixed::{saturate_i8, saturate_i16, shift_round};
use crate::frame::Frame;
use crate::kernels::padded;
use crate::tables::tanh;

/// `to = activation(W inputs + b + table[token])`, four rows at a time.
#[inline(never)]
pub(super) fn linear(frame: &mut Frame<'_, '_>, op: &Linear) -> Option<()> {
    let columns = frame.gather_all(&op.inputs)?;
    let width = op.to.width as usize;
    let rows = padded(width);
    let mut streams = Streams {
        weights: frame.tensor(op.matrix.weights, rows * columns)?,
        rows: frame.tensor(op.matrix.rows, rows * 8)?.as_chunks().0,
    };
    let (table, shift) = match &op.table {
        Some(table) => (frame.table_row(table, width)?, table.shift),
        None => ([].as_slice(), 0),
    };
    let mut entries = table.iter();
    let (bytes, words) = match frame.slots.get(op.to.slot)?.kind {
        Kind::I8 => (frame.bytes(op.to)?, [].as_slice()),
        Kind::I16 => ([].as_slice(), frame.words(op.to)?),
    };
    let (mut bytes, mut words) = (bytes.iter(), words.iter());
    let columns = frame.arranged(columns)?;
    for _ in 0..rows / 4 {
        for sum in streams.next(columns)? {
            let sum = sum + entries.next().map_or(0, |e| entry(e, shift));
            if let Some(byte) = bytes.next() {
                byte.set(saturate_i8(sum));
            } else if let Some(word) = words.next() {
                word.set(match op.activation {
                    Activation::None => saturate_i16(sum),
                    Activation::Tanh { shift } => {
                        shift_round(tanh(saturate_i16(sum)) as i32, shift as u32) as i16
                    }
                });
            }
        }
    }
    Some(())
}
