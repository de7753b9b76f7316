//! What each operation of a program computes; `docs/quantization.md` has the formulas.

mod attention;
mod gru;
mod linear;
mod lstm;
pub(crate) mod softmax;

use crate::blob::schema::{Embed, Multiplier, Op};
use crate::fixed::requantize;
use crate::frame::Frame;
use crate::kernels;

/// Runs one operation at the frame's position, hypothesis and token. Operations are not inlined: their locals would add up
/// in one stack frame.
pub(crate) fn run(frame: &mut Frame<'_, '_>, op: &Op) -> Option<()> {
    match op {
        Op::Embed(op) => embed(frame, op),
        Op::Linear(op) => linear::linear(frame, op),
        Op::Gru(op) => gru::gru(frame, op),
        Op::Lstm(op) => lstm::lstm(frame, op),
        Op::Attend(op) => attention::attend(frame, op),
    }
}

fn embed(frame: &Frame<'_, '_>, op: &Embed) -> Option<()> {
    let width = op.to.width as usize;
    let row = frame.data.get(op.table as usize..)?.get(frame.token as usize * width..)?.get(..width)?;
    for (to, &from) in frame.bytes(op.to)?.iter().zip(row) {
        to.set(from as i8);
    }
    Some(())
}

/// Weights and row records of a product, consumed stream by stream.
struct Streams<'m> {
    weights: &'m [u8],
    rows: &'m [[u8; 8]],
}

impl Streams<'_> {
    /// The next four rows over `columns`, requantized but not saturated.
    #[inline(never)]
    fn next(&mut self, columns: &[i16]) -> Option<[i32; 4]> {
        let (weights, rest) = self.weights.split_at_checked(columns.len() * kernels::TILE_ROWS)?;
        self.weights = rest;
        let (rows, rest) = self.rows.split_first_chunk::<4>()?;
        self.rows = rest;
        let bias = |r: &[u8; 8]| i32::from_le_bytes([r[0], r[1], r[2], r[3]]);
        let [a, b, c, d] = rows;
        let sums = kernels::accumulate([bias(a), bias(b), bias(c), bias(d)], weights, columns);
        let scale = |sum: i32, r: &[u8; 8]| {
            requantize(sum, Multiplier { mantissa: u16::from_le_bytes([r[4], r[5]]), pre: r[6], post: r[7] })
        };
        let [sa, sb, sc, sd] = sums;
        Some([scale(sa, a), scale(sb, b), scale(sc, c), scale(sd, d)])
    }
}

/// A table entry as it is added to a sum.
#[inline(always)]
fn entry(bytes: &[u8; 2], shift: u8) -> i32 {
    (i16::from_le_bytes(*bytes) as i32) << (shift & 15)
}
