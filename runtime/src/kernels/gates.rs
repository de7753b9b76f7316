//! From the sums of gates to new states: plain Rust, the definition; a core may have its own.
//!
//! Sums are Q3.12, hidden states Q0.15, as `docs/quantization.md` has them.

use core::cell::Cell;

use crate::blob::schema::GRU_GROUP;
use crate::fixed::{saturate_i8, saturate_i16, shift_round};
use crate::tables::{sigmoid, tanh};

/// Long short-term memory: new cell and hidden states of units whose sums i, f, g, o stand side by side.
///
/// `bits`: fraction bits of a cell state, 0 to 15. The shortest slice ends the work.
#[inline]
pub fn lstm(sums: &[Cell<i16>], cells: &[Cell<i16>], states: &[Cell<i16>], bits: u32) {
    for ((gates, cell), state) in sums.as_chunks::<4>().0.iter().zip(cells).zip(states) {
        let [i, f, g, o] = gates.each_ref().map(Cell::get);
        cell.set(new_cell(cell.get(), [i, f, g], bits & 15));
        state.set(new_state(cell.get(), o, bits & 15));
    }
}

/// [`lstm`] with peepholes of the units to i, f and o, in units of which one times a cell state, shifted right by `shift`, 0 to
/// 30, is Q3.12.
pub fn lstm_peephole(
    sums: &[Cell<i16>],
    cells: &[Cell<i16>],
    states: &[Cell<i16>],
    bits: u32,
    peepholes: [&[[u8; 2]]; 3],
    shift: u32,
) {
    let units = sums.as_chunks::<4>().0.iter().zip(cells).zip(states);
    let [pi, pf, po] = peepholes;
    for (((gates, cell), state), ((pi, pf), po)) in units.zip(pi.iter().zip(pf).zip(po)) {
        let [i, f, g, o] = gates.each_ref().map(Cell::get);
        let look = |sum: i16, peephole: &[u8; 2]| {
            let seen = i16::from_le_bytes(*peephole) as i32 * cell.get() as i32;
            saturate_i16(sum as i32 + shift_round(seen, shift))
        };
        cell.set(new_cell(cell.get(), [look(i, pi), look(f, pf), g], bits & 15));
        state.set(new_state(cell.get(), look(o, po), bits & 15));
    }
}

/// A cell state from the one before and the sums i, f, g.
#[inline(always)]
fn new_cell(cell: i16, [i, f, g]: [i16; 3], bits: u32) -> i16 {
    let (i, f) = (sigmoid(i) as i32, sigmoid(f) as i32);
    saturate_i16(shift_round(f * cell as i32 + ((i * tanh(g) as i32) >> (15 - bits)), 15))
}

/// A hidden state from the cell's and the sum o.
#[inline(always)]
fn new_state(cell: i16, o: i16, bits: u32) -> i16 {
    let wide = if bits <= 12 { (cell as i32) << (12 - bits) } else { shift_round(cell as i32, bits - 12) };
    saturate_i16(shift_round(sigmoid(o) as i32 * tanh(saturate_i16(wide)) as i32, 15))
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

/// Sum of `2^(x - largest)` in 2^-15 over 16-bit values with `bits` fraction bits, 0 to 15, none above `largest`.
#[cfg(any(test, not(feature = "std")))]
#[cfg_attr(armv6m, inline(never))]
pub fn sum_exp2(values: &[Cell<i16>], largest: i16, bits: u32) -> u32 {
    let power = |x: &Cell<i16>| crate::tables::exp2_neg((largest as i32 - x.get() as i32) as u32, bits & 15);
    values.iter().map(power).fold(0u32, u32::wrapping_add)
}

/// Additive attention for one source position: `v . tanh(query + key)`, as many terms as the shortest has.
///
/// A key counts in `scale` times 2^-18, a query in 2^(`up` - 12).
#[inline]
pub fn energy(key: &[Cell<i8>], query: &[Cell<i16>], v: &[u8], scale: i32, up: u32) -> i32 {
    let mut sum = 0i32;
    for ((key, query), &v) in key.iter().zip(query).zip(v) {
        let x = shift_round(key.get() as i32 * scale, 6) + ((query.get() as i32) << up);
        sum = sum.wrapping_add(v as i8 as i32 * tanh(saturate_i16(x)) as i32);
    }
    sum
}

/// Attention by products for one source position: `query . key`, as many terms as the shorter has.
#[inline]
pub fn dot(key: &[Cell<i8>], query: &[i16]) -> i32 {
    key.iter().zip(query).fold(0i32, |sum, (k, &q)| sum.wrapping_add(k.get() as i32 * q as i32))
}

/// Sum of values, rows as wide as `to`, weighted in 2^-15, rounded to int8.
#[inline]
pub fn context(values: &[Cell<i8>], weights: &[Cell<i16>], to: &[Cell<i8>]) {
    for (i, to_one) in to.iter().enumerate() {
        let mut sum = 0i32;
        let mut at = i;
        for weight in weights {
            let Some(value) = values.get(at) else { break };
            sum = sum.wrapping_add(weight.get() as u16 as i32 * value.get() as i32);
            at += to.len();
        }
        to_one.set(saturate_i8(shift_round(sum, 15)));
    }
}

/// The largest value and the first place where it stands; of none, 0 and the least that there can be.
#[cfg(any(test, not(feature = "std")))]
#[cfg_attr(armv6m, inline(never))]
pub fn largest(values: &[Cell<i16>]) -> (usize, i16) {
    let (mut at, mut largest) = (0, i16::MIN);
    for (i, value) in values.iter().enumerate() {
        if value.get() > largest {
            (at, largest) = (i, value.get());
        }
    }
    (at, largest)
}

/// [`energy`] of two queries.
#[cfg(not(any(armv6m, armv7m, arm_dsp)))]
pub fn energy_two(key: &[Cell<i8>], queries: [&[Cell<i16>]; 2], v: &[u8], scale: i32, up: u32) -> [i32; 2] {
    queries.map(|query| energy(key, query, v, scale, up))
}

/// [`dot`] of two queries.
#[cfg(not(arm_dsp))]
pub fn dot_two(key: &[Cell<i8>], queries: [&[i16]; 2]) -> [i32; 2] {
    queries.map(|query| dot(key, query))
}

/// [`context`] of two vectors of weights.
#[cfg(not(any(armv6m, armv7m, arm_dsp)))]
pub fn context_two(values: &[Cell<i8>], weights: [&[Cell<i16>]; 2], to: [&[Cell<i8>]; 2]) {
    for (weights, to) in weights.into_iter().zip(to) {
        context(values, weights, to);
    }
}
