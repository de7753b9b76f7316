//! From the sums of gates to new states: plain Rust, the definition; a core may have its own.
//!
//! Sums are Q3.12, hidden states Q0.15, as `docs/quantization.md` has them.

use core::cell::Cell;

use crate::blob::schema::GRU_GROUP;
use crate::fixed::{saturate_i16, shift_round};
use crate::tables::{sigmoid, tanh};

/// Long short-term memory: new cell and hidden states of units whose sums i, f, g, o stand side by side.
///
/// `bits`: fraction bits of a cell state, 0 to 15. The shortest slice ends the work.
#[inline]
pub fn lstm(sums: &[Cell<i16>], cells: &[Cell<i16>], states: &[Cell<i16>], bits: u32) {
    let bits = bits & 15;
    for ((gates, cell), state) in sums.as_chunks::<4>().0.iter().zip(cells).zip(states) {
        let [i, f, g, o] = gates.each_ref().map(Cell::get);
        let (i, f, o) = (sigmoid(i) as i32, sigmoid(f) as i32, sigmoid(o) as i32);
        let c = saturate_i16(shift_round(f * cell.get() as i32 + ((i * tanh(g) as i32) >> (15 - bits)), 15));
        cell.set(c);
        let wide = if bits <= 12 { (c as i32) << (12 - bits) } else { shift_round(c as i32, bits - 12) };
        state.set(saturate_i16(shift_round(o * tanh(saturate_i16(wide)) as i32, 15)));
    }
}

/// Gated recurrent unit: new hidden states of at most [`GRU_GROUP`] units, from their sums of r, of z, of `W_n x`, of `U_n h`.
///
/// `bits`: fraction bits of the last, 0 to 12.
#[inline]
pub fn gru(sums: &[[Cell<i16>; GRU_GROUP]; 4], states: &[Cell<i16>], bits: u32) {
    let [reset, update, candidate, recurrent] = sums;
    // r * u is Q(15 + bits), the candidate's sum Q3.12.
    let to_q12 = 3 + (bits & 15);
    let gates = reset.iter().zip(update).zip(candidate.iter().zip(recurrent));
    for (((r, z), (n, u)), state) in gates.zip(states) {
        let (r, z) = (sigmoid(r.get()) as i32, sigmoid(z.get()) as i32);
        let n = n.get() as i32 + shift_round(r * u.get() as i32, to_q12);
        let n = tanh(saturate_i16(n)) as i32;
        state.set(saturate_i16(n + shift_round(z * (state.get() as i32 - n), 15)));
    }
}
