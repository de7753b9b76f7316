//! Steps of gated cells, sixteen units at a time: a block.
//!
//! The weights of a step are rarely in the first cache. Blocks are walked up and down by turns, so that a step begins with those
//! that the one before ended with, and while gates are computed, the next block's weights are under way.

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
    /// Last block first.
    pub down: bool,
}

kernel!(
    /// New states of all units: sixteen units are a panel each of r, z, `W_n` (without inputs: none) and `U_n`.
    gru(Gru<'_>), gru_with
);

#[inline(always)]
fn gru_with<V: Vector>(job: &Gru<'_>) -> Option<()> {
    let units = job.states.len();
    let whole = units / WIDTH;
    for at in 0..whole {
        let (block, next) = turn(at, whole, job.down);
        gru_block::<V, true>(job, block, next)?;
    }
    if whole * WIDTH < units {
        gru_block::<V, false>(job, whole, 0)?;
    }
    Some(())
}

/// The units of a block; `next` is the block that follows.
#[inline(always)]
fn gru_block<V: Vector, const ALL: bool>(job: &Gru<'_>, block: usize, next: usize) -> Option<()> {
    let (columns, units, start) = (job.columns, job.states.len(), block * WIDTH);
    let (inputs, state) = (columns.inputs.len(), columns.state.len());
    let results = if inputs > 0 { 4 } else { 3 };
    let mut soon = Soon::new(&job.panels, next * 3, inputs + state);
    let mut panels = job.panels.at(block, 3, results, inputs, state)?;
    let reset = panels.take(inputs, state)?;
    let update = panels.take(inputs, state)?;
    let zero = V::splat(0);
    let (mut gates, mut candidate) = ([zero; 2], zero);
    if inputs > 0 {
        let of_inputs = panels.take(inputs, 0)?;
        let [r, z, n] = panels.dot([reset, update, of_inputs], 0, columns.inputs);
        (gates, candidate) = ([r, z], panels.result(n, of_inputs.records));
    }
    let of_state = panels.take(0, state)?;
    let [r, z, u] = panels.dot([reset, update, of_state], 1, columns.state);
    soon.fetch::<V>();
    let token = |gate: usize| job.table.read::<V, ALL>(gate * units + start, (gate + 1) * units);
    let r = panels.result(gates[0].add(r), reset.records);
    soon.fetch::<V>();
    let z = panels.result(gates[1].add(z), update.records);
    soon.fetch::<V>();
    let recurrent = panels.result(u, of_state.records);
    soon.fetch::<V>();
    let r = sigmoid(saturate(r.add(token(0))));
    soon.fetch::<V>();
    let z = sigmoid(saturate(z.add(token(1))));
    soon.fetch::<V>();
    // r * u is Q(15 + candidate_bits); the candidate's sum is Q3.12.
    let n =
        saturate(candidate.add(token(2))).add(shift_round(r.mul(recurrent), 3 + job.candidate_bits as u32));
    soon.fetch::<V>();
    let n = tanh(saturate(n));
    soon.fetch::<V>();
    let h = V::from_i16(&read::<_, ALL>(job.states, start));
    let h = saturate(n.add(shift_round(z.mul(h.sub(n)), 15)));
    soon.fetch::<V>();
    write::<_, ALL>(job.states, start, h.to_i16());
    write::<_, ALL>(job.out, start, to_byte(h).to_i8());
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
    /// Last block first.
    pub down: bool,
}

kernel!(
    /// New states of all units: sixteen units are a panel each of i, f, g and o.
    lstm(Lstm<'_>), lstm_with
);

#[inline(always)]
fn lstm_with<V: Vector>(job: &Lstm<'_>) -> Option<()> {
    let units = job.states.len();
    let whole = units / WIDTH;
    for at in 0..whole {
        let (block, next) = turn(at, whole, job.down);
        lstm_block::<V, true>(job, block, next)?;
    }
    if whole * WIDTH < units {
        lstm_block::<V, false>(job, whole, 0)?;
    }
    Some(())
}

/// The units of a block; `next` is the block that follows.
#[inline(always)]
fn lstm_block<V: Vector, const ALL: bool>(job: &Lstm<'_>, block: usize, next: usize) -> Option<()> {
    let (columns, units, start) = (job.columns, job.states.len(), block * WIDTH);
    let (inputs, state) = (columns.inputs.len(), columns.state.len());
    let bits = job.cell_bits as u32 & 15;
    let mut soon = Soon::new(&job.panels, next * 4, inputs + state);
    let mut panels = job.panels.at(block, 4, 4, inputs, state)?;
    let mut next = || panels.take(inputs, state);
    let gates = [next()?, next()?, next()?, next()?];
    let mut sums: [V; 4] = panels.dot(gates, 1, columns.state);
    if inputs > 0 {
        let of_inputs: [V; 4] = panels.dot(gates, 0, columns.inputs);
        for (sum, x) in sums.iter_mut().zip(of_inputs) {
            *sum = sum.add(x);
        }
    }
    let token = |gate: usize| job.table.read::<V, ALL>(gate * units + start, (gate + 1) * units);
    soon.fetch::<V>();
    let i = saturate(panels.result(sums[0], gates[0].records).add(token(0)));
    soon.fetch::<V>();
    let f = saturate(panels.result(sums[1], gates[1].records).add(token(1)));
    soon.fetch::<V>();
    let g = saturate(panels.result(sums[2], gates[2].records).add(token(2)));
    soon.fetch::<V>();
    let o = saturate(panels.result(sums[3], gates[3].records).add(token(3)));
    soon.fetch::<V>();
    let c = V::from_i16(&read::<_, ALL>(job.cells, start));
    let i = sigmoid(look::<V, ALL>(job, i, 0, start, c));
    soon.fetch::<V>();
    let f = sigmoid(look::<V, ALL>(job, f, 1, start, c));
    soon.fetch::<V>();
    let g = tanh(g);
    soon.fetch::<V>();
    let c = saturate(shift_round(f.mul(c).add(i.mul(g).shr(15 - bits)), 15));
    soon.fetch::<V>();
    let wide = if bits <= 12 { c.shl(12 - bits) } else { shift_round(c, bits - 12) };
    let o = sigmoid(look::<V, ALL>(job, o, 2, start, c));
    soon.fetch::<V>();
    let h = saturate(shift_round(o.mul(tanh(saturate(wide))), 15));
    soon.fetch::<V>();
    write::<_, ALL>(job.cells, start, c.to_i16());
    write::<_, ALL>(job.states, start, h.to_i16());
    write::<_, ALL>(job.out, start, to_byte(h).to_i8());
    Some(())
}

/// A gate's sums with what it sees of cell states: gates i, f, o are 0, 1, 2.
#[inline(always)]
fn look<V: Vector, const ALL: bool>(job: &Lstm<'_>, sum: V, gate: usize, start: usize, cells: V) -> V {
    let Some((peepholes, right)) = &job.peepholes else { return sum };
    let units = job.states.len();
    let peephole = peepholes.read::<V, ALL>(gate * units + start, (gate + 1) * units);
    saturate(sum.add(shift_round(peephole.mul(cells), *right as u32)))
}

/// Which of `all` blocks is the one to be walked at a place, and which the next.
#[inline(always)]
fn turn(at: usize, all: usize, down: bool) -> (usize, usize) {
    if down { (all - 1 - at, (all - 1 - at).saturating_sub(1)) } else { (at, at + 1) }
}

/// Cache lines that are asked for at a time: as many as arrive while the next part of a gate is computed.
const LINES: usize = 6;

/// Weights that are asked for bit by bit: the first of two panels side by side, whose sums are computed together.
struct Soon {
    places: [*const u8; 2],
}

impl Soon {
    /// Those from a panel on.
    #[inline(always)]
    fn new(panels: &Panels<'_>, panel: usize, columns: usize) -> Self {
        let first = panels.weights.as_ptr().wrapping_add(panel * WIDTH * columns);
        Self { places: [first, first.wrapping_add(WIDTH * columns)] }
    }

    /// Asks for some more, of the one and the other by turns.
    #[inline(always)]
    fn fetch<V: Vector>(&mut self) {
        let [place, other] = self.places;
        V::prefetch::<LINES>(place);
        self.places = [other, place.wrapping_add(LINES * 64)];
    }
}
