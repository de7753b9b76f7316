//! Steps of gated cells, sixteen units at a time.

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{
    Columns, Entries, Isa, Panels, Plain, Vector, WIDTH, read, saturate, shift_round, sigmoid, tanh, to_byte,
    write,
};

/// A step of a gated recurrent unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gru<'a> {
    pub panels: Panels<'a>,
    pub columns: Columns<'a>,
    pub table: Entries<'a>,
    pub candidate_bits: u8,
    pub states: &'a [Cell<i16>],
    pub out: &'a [Cell<i8>],
}

kernel!(
    /// New states of all units: sixteen units are a panel each of r, z, `W_n` (without inputs: none) and `U_n`.
    gru(Gru<'_>), gru_with
);

#[inline(always)]
fn gru_with<V: Vector>(job: &Gru<'_>) -> Option<()> {
    let Gru { mut panels, columns, .. } = *job;
    let (inputs, state) = (columns.inputs.len(), columns.state.len());
    let units = job.states.len();
    for start in (0..units).step_by(WIDTH) {
        let reset = panels.take(inputs, state)?;
        let update = panels.take(inputs, state)?;
        let zero = V::splat(0);
        let (mut gates, mut candidate) = ([zero; 2], zero);
        if inputs > 0 {
            let of_inputs = panels.take(inputs, 0)?;
            let [r, z, n] = panels.dot([reset, update, of_inputs], 0, columns.inputs);
            (gates, candidate) = ([r, z], panels.result(n, &of_inputs));
        }
        let of_state = panels.take(0, state)?;
        let [r, z, u] = panels.dot([reset, update, of_state], 1, columns.state);
        let r = panels.result(gates[0].add(r), &reset);
        let z = panels.result(gates[1].add(z), &update);
        let recurrent = panels.result(u, &of_state);
        let token = |gate: usize| job.table.read::<V>(gate * units + start, (gate + 1) * units);
        let r = sigmoid(saturate(r.add(token(0))));
        let z = sigmoid(saturate(z.add(token(1))));
        // r * u is Q(15 + candidate_bits); the candidate's sum is Q3.12.
        let n = saturate(candidate.add(token(2)))
            .add(shift_round(r.mul(recurrent), 3 + job.candidate_bits as u32));
        let n = tanh(saturate(n));
        let h = V::from_i16(&read(job.states, start));
        let h = saturate(n.add(shift_round(z.mul(h.sub(n)), 15)));
        write(job.states, start, h.to_i16());
        write(job.out, start, to_byte(h).to_i8());
    }
    Some(())
}

/// A step of a long short-term memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lstm<'a> {
    pub panels: Panels<'a>,
    pub columns: Columns<'a>,
    pub table: Entries<'a>,
    pub cell_bits: u8,
    /// Of i, f and o, and the right shift of one times a cell state.
    pub peepholes: Option<(Entries<'a>, u8)>,
    pub states: &'a [Cell<i16>],
    pub cells: &'a [Cell<i16>],
    pub out: &'a [Cell<i8>],
}

kernel!(
    /// New states of all units: sixteen units are a panel each of i, f, g and o.
    lstm(Lstm<'_>), lstm_with
);

#[inline(always)]
fn lstm_with<V: Vector>(job: &Lstm<'_>) -> Option<()> {
    let Lstm { mut panels, columns, .. } = *job;
    let (inputs, state) = (columns.inputs.len(), columns.state.len());
    let units = job.states.len();
    let bits = job.cell_bits as u32 & 15;
    for start in (0..units).step_by(WIDTH) {
        let mut next = || panels.take(inputs, state);
        let gates = [next()?, next()?, next()?, next()?];
        let mut sums: [V; 4] = panels.dot(gates, 1, columns.state);
        if inputs > 0 {
            let of_inputs: [V; 4] = panels.dot(gates, 0, columns.inputs);
            for (sum, x) in sums.iter_mut().zip(of_inputs) {
                *sum = sum.add(x);
            }
        }
        let token = |gate: usize| job.table.read::<V>(gate * units + start, (gate + 1) * units);
        let i = saturate(panels.result(sums[0], &gates[0]).add(token(0)));
        let f = saturate(panels.result(sums[1], &gates[1]).add(token(1)));
        let g = saturate(panels.result(sums[2], &gates[2]).add(token(2)));
        let o = saturate(panels.result(sums[3], &gates[3]).add(token(3)));
        let c = V::from_i16(&read(job.cells, start));
        let (i, f) = (sigmoid(look(job, i, 0, start, c)), sigmoid(look(job, f, 1, start, c)));
        let g = tanh(g);
        let c = saturate(shift_round(f.mul(c).add(i.mul(g).shr(15 - bits)), 15));
        let wide = if bits <= 12 { c.shl(12 - bits) } else { shift_round(c, bits - 12) };
        let o = sigmoid(look(job, o, 2, start, c));
        let h = saturate(shift_round(o.mul(tanh(saturate(wide))), 15));
        write(job.cells, start, c.to_i16());
        write(job.states, start, h.to_i16());
        write(job.out, start, to_byte(h).to_i8());
    }
    Some(())
}

/// A gate's sums with what it sees of cell states: gates i, f, o are 0, 1, 2.
#[inline(always)]
fn look<V: Vector>(job: &Lstm<'_>, sum: V, gate: usize, start: usize, cells: V) -> V {
    let Some((peepholes, down)) = &job.peepholes else { return sum };
    let units = job.states.len();
    let peephole: V = peepholes.read(gate * units + start, (gate + 1) * units);
    saturate(sum.add(shift_round(peephole.mul(cells), *down as u32)))
}
