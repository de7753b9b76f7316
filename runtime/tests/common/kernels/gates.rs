//! Gates of LSTMs and GRUs.

use core::cell::Cell;

use kinglet::blob::schema::GRU_GROUP;
use kinglet::kernels;
use kinglet::tables::{sigmoid, tanh};

use super::{Difference, Random, UNTOUCHED, rounded, saturate};

/// Most units of a case for gates.
const UNITS: usize = 20;

/// Runs the gates of LSTMs and GRUs.
///
/// # Errors
///
/// The first difference.
pub fn gates() -> Result<usize, Difference> {
    let mut random = Random(0x2545_F491);
    let mut done = 0;
    for _ in 0..40 {
        for bits in 0..16 {
            // Fewer than a vector's, one vector and two, and some more.
            let units = 1 + random.below(UNITS as u32) as usize;
            lstm(&mut random, bits, units, None)?;
            let shift = random.below(31);
            lstm(&mut random, bits, units, Some(shift))?;
            done += 2;
        }
        for bits in 0..=12 {
            let units = 1 + random.below(GRU_GROUP as u32) as usize;
            gru(&mut random, bits, units)?;
            done += 1;
        }
    }
    Ok(done)
}

fn words<const N: usize>(random: &mut Random) -> [Cell<i16>; N] {
    let words = [const { Cell::new(0) }; N];
    words.iter().for_each(|word| word.set(random.word()));
    words
}

/// Runs the gates of an LSTM, with peepholes where they have a shift.
fn lstm(random: &mut Random, bits: u32, units: usize, shift: Option<u32>) -> Result<(), Difference> {
    let peepholes: [[[u8; 2]; UNITS]; 3] =
        core::array::from_fn(|_| core::array::from_fn(|_| random.word().to_le_bytes()));
    let sums: [Cell<i16>; 4 * UNITS] = words(random);
    let cells: [Cell<i16>; UNITS] = words(random);
    let states = [const { Cell::new(UNTOUCHED) }; UNITS];
    let before = cells.clone();
    let some = sums.get(..4 * units).unwrap_or(&[]);
    match shift {
        Some(shift) => {
            let peepholes = peepholes.each_ref().map(|gate| &gate[..]);
            kernels::lstm_peephole(some, &cells, &states, bits, peepholes, shift);
        }
        None => kernels::lstm(some, &cells, &states, bits),
    }
    let found = cells.iter().zip(&states).zip(&before).zip(sums.as_chunks::<4>().0);
    for (unit, (((cell, state), before), gates)) in found.enumerate() {
        let [i, f, g, o] = gates.each_ref().map(Cell::get);
        let seen = |sum: i16, gate: usize, cell: i16| match shift {
            Some(shift) => {
                let bytes = peepholes.get(gate).and_then(|p| p.get(unit)).copied().unwrap_or_default();
                saturate(
                    i64::from(sum) + rounded(i64::from(i16::from_le_bytes(bytes)) * i64::from(cell), shift),
                )
            }
            None => sum,
        };
        let (i, f) = (seen(i, 0, before.get()), seen(f, 1, before.get()));
        let (i, f) = (i64::from(sigmoid(i)), i64::from(sigmoid(f)));
        let g = i64::from(tanh(g));
        let c = saturate(rounded(f * i64::from(before.get()) + ((i * g) >> (15 - bits)), 15));
        let o = i64::from(sigmoid(seen(o, 2, c)));
        let wide = if bits <= 12 { i64::from(c) << (12 - bits) } else { rounded(c.into(), bits - 12) };
        let h = saturate(rounded(o * i64::from(tanh(saturate(wide))), 15));
        let expected = if unit < units { [h, c] } else { [UNTOUCHED, before.get()] };
        let found = [state.get(), cell.get()];
        if found != expected {
            return Err(Difference::Gates { kind: "LSTM", bits, units, unit, expected, found });
        }
    }
    Ok(())
}

fn gru(random: &mut Random, bits: u32, units: usize) -> Result<(), Difference> {
    let sums: [[Cell<i16>; GRU_GROUP]; 4] = [words(random), words(random), words(random), words(random)];
    let states: [Cell<i16>; GRU_GROUP] = words(random);
    let (before, [r, z, n, u]) = (states.clone(), sums.clone());
    kernels::gru(&sums, states.get(..units).unwrap_or(&[]), bits);
    let gates = r.iter().zip(&z).zip(n.iter().zip(&u)).zip(before.iter().zip(&states));
    for (unit, (((r, z), (n, u)), (before, state))) in gates.enumerate() {
        let (r, z) = (i64::from(sigmoid(r.get())), i64::from(sigmoid(z.get())));
        let n = i64::from(n.get()) + rounded(r * i64::from(u.get()), 3 + bits);
        let n = i64::from(tanh(saturate(n)));
        let h = saturate(n + rounded(z * (i64::from(before.get()) - n), 15));
        let expected = [if unit < units { h } else { before.get() }; 2];
        let found = [state.get(); 2];
        if found != expected {
            return Err(Difference::Gates { kind: "GRU", bits, units, unit, expected, found });
        }
    }
    Ok(())
}
