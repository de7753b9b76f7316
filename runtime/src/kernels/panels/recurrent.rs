//! Steps of gated cells, sixteen units at a time: a block.
//!
//! The weights of a step are rarely in the first cache. Blocks are walked up and down by turns, so that a step begins with those
//! that the one before ended with, and while gates are computed, the next block's weights are under way: a few lines of them are
//! asked for behind each part of the gates ([`Vector::pin`] keeps that order).

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{
    Columns, Entries, Isa, Panels, Plain, Records, Token, Vector, WIDTH, bytes, numbers, read, saturate,
    shift_round, sigmoid, tanh, tanh_sigmoid, to_byte, whole,
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
    gru(Gru<'_>) -> Option<()>, gru_any
);

#[inline(always)]
fn gru_any<V: Vector>(job: &Gru<'_>) -> Option<()> {
    by_kind!(gru_with::<V>(job))
}

#[inline(always)]
fn gru_with<V: Vector, const NIBBLES: bool, const GROUPED: bool>(job: &Gru<'_>) -> Option<()> {
    let blocks = job.states.len().div_ceil(WIDTH);
    let (states, out) = (Lanes::new(job.states), Lanes::new(job.out));
    let gates = Gates::new(job.table, job.states.len());
    for at in 0..blocks {
        let (block, next) = turn(at, blocks, job.down);
        gru_block::<V, NIBBLES, GROUPED>(
            job,
            block,
            next,
            gates.of(block),
            (states.of(block), out.of(block)),
        )?;
    }
    states.put_back();
    out.put_back();
    Some(())
}

/// The units of a block; `next` is the block that follows.
#[inline(always)]
fn gru_block<V: Vector, const NIBBLES: bool, const GROUPED: bool>(
    job: &Gru<'_>,
    block: usize,
    next: usize,
    tokens: [&Token; 3],
    (states, out): (&Lane<i16>, &Lane<i8>),
) -> Option<()> {
    let columns = [job.columns.inputs.len(), job.columns.state.len()];
    let results = if columns[0] > 0 { 4 } else { 3 };
    let mut soon = Soon::<NIBBLES>::new(&job.panels, next * 3, columns);
    let block = job.panels.block::<NIBBLES, GROUPED>(block, (3, results), columns)?;
    let zero = V::splat(0);
    let (mut gates, mut candidate) = ([zero; 2], zero);
    let [reset, update, behind @ ..] = block.records else { return None };
    if let [of_inputs, _] = behind {
        let [r, z, n] = block.dot([[0, 0], [1, 1], [2, 2]], job.columns.inputs)?;
        (gates, candidate) = ([r, z], block.result(n, of_inputs));
    }
    let of_state = behind.last()?;
    let [r, z, u] = block.dot([[1, 0], [2, 1], [3, 2]], job.columns.state)?;
    soon.fetch::<V>();
    let r = block.result(gates[0].add(r), reset).add(numbers(tokens[0], job.table.shift)).pin();
    soon.fetch::<V>();
    let z = block.result(gates[1].add(z), update).add(numbers(tokens[1], job.table.shift)).pin();
    soon.fetch::<V>();
    let recurrent = block.result(u, of_state).pin();
    soon.fetch::<V>();
    let [r, z] = sigmoid([r, z]);
    let (r, z) = (r.pin(), z.pin());
    soon.fetch::<V>();
    // r * u is Q(15 + candidate_bits); the candidate's sum is Q3.12.
    let n = saturate(candidate.add(numbers(tokens[2], job.table.shift)))
        .add(shift_round(r.mul(recurrent), 3 + job.candidate_bits as u32))
        .pin();
    soon.fetch::<V>();
    let n = tanh(n).pin();
    soon.fetch::<V>();
    let h = V::from_i16(&whole(states).get());
    let h = saturate(n.add(shift_round(z.mul(h.sub(n)), 15))).pin();
    soon.fetch::<V>();
    whole(states).set(h.to_i16());
    whole(out).set(to_byte(h).to_i8());
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
    lstm(Lstm<'_>) -> Option<()>, lstm_any
);

#[inline(always)]
fn lstm_any<V: Vector>(job: &Lstm<'_>) -> Option<()> {
    by_kind!(lstm_with::<V>(job))
}

#[inline(always)]
fn lstm_with<V: Vector, const NIBBLES: bool, const GROUPED: bool>(job: &Lstm<'_>) -> Option<()> {
    let blocks = job.states.len().div_ceil(WIDTH);
    let (states, cells, out) = (Lanes::new(job.states), Lanes::new(job.cells), Lanes::new(job.out));
    let gates = Gates::new(job.table, job.states.len());
    let sights = job.peepholes.map(|(entries, right)| (Gates::new(entries, job.states.len()), right));
    for at in 0..blocks {
        let (block, next) = turn(at, blocks, job.down);
        let units = (states.of(block), cells.of(block), out.of(block));
        let sights = sights.as_ref().map(|(gates, right)| (gates.of(block), *right));
        lstm_block::<V, NIBBLES, GROUPED>(job, block, next, gates.of(block), sights, units)?;
    }
    states.put_back();
    cells.put_back();
    out.put_back();
    Some(())
}

/// The units of a block; `next` is the block that follows.
#[inline(always)]
fn lstm_block<V: Vector, const NIBBLES: bool, const GROUPED: bool>(
    job: &Lstm<'_>,
    block: usize,
    next: usize,
    tokens: [&Token; 4],
    peepholes: Option<Peepholes<'_>>,
    (states, cells, out): (&Lane<i16>, &Lane<i16>, &Lane<i8>),
) -> Option<()> {
    let columns = [job.columns.inputs.len(), job.columns.state.len()];
    let bits = job.cell_bits as u32 & 15;
    let mut soon = Soon::<NIBBLES>::new(&job.panels, next * 4, columns);
    let block = job.panels.block::<NIBBLES, GROUPED>(block, (4, 4), columns)?;
    let records: &[Records; 4] = block.records.first_chunk()?;
    let mut sums: [V; 4] = block.dot([[1, 0], [2, 1], [3, 2], [4, 3]], job.columns.state)?;
    if columns[0] > 0 {
        let of_inputs: [V; 4] = block.dot([[0, 0], [1, 1], [2, 2], [3, 3]], job.columns.inputs)?;
        for (sum, x) in sums.iter_mut().zip(of_inputs) {
            *sum = sum.add(x);
        }
    }
    soon.fetch::<V>();
    let i = block.result(sums[0], &records[0]).add(numbers(tokens[0], job.table.shift)).pin();
    soon.fetch::<V>();
    let f = block.result(sums[1], &records[1]).add(numbers(tokens[1], job.table.shift)).pin();
    soon.fetch::<V>();
    let g = block.result(sums[2], &records[2]).add(numbers(tokens[2], job.table.shift)).pin();
    soon.fetch::<V>();
    let o = block.result(sums[3], &records[3]).add(numbers(tokens[3], job.table.shift)).pin();
    soon.fetch::<V>();
    let c = V::from_i16(&whole(cells).get());
    let [i, f] = sigmoid([look(&peepholes, i, 0, c), look(&peepholes, f, 1, c)]);
    let (i, f) = (i.pin(), f.pin());
    soon.fetch::<V>();
    let [g, blind] = tanh_sigmoid([g, o]);
    let (g, blind) = (g.pin(), blind.pin());
    soon.fetch::<V>();
    let c = saturate(shift_round(f.mul(c).add(i.mul(g).shr(15 - bits)), 15)).pin();
    soon.fetch::<V>();
    let wide = if bits <= 12 { c.shl(12 - bits) } else { shift_round(c, bits - 12) };
    let [o, wide] = match peepholes {
        None => [blind, tanh(wide)],
        Some(_) => {
            let [wide, o] = tanh_sigmoid([wide, look(&peepholes, o, 2, c)]);
            [o, wide]
        }
    };
    let wide = wide.pin();
    soon.fetch::<V>();
    let h = saturate(shift_round(o.mul(wide), 15)).pin();
    soon.fetch::<V>();
    whole(cells).set(c.to_i16());
    whole(states).set(h.to_i16());
    whole(out).set(to_byte(h).to_i8());
    Some(())
}

/// Of i, f and o, and the right shift of one times a cell state.
type Peepholes<'a> = ([&'a Token; 3], u8);

/// A gate's sums with what it sees of cell states: gates i, f, o are 0, 1, 2.
#[inline(always)]
fn look<V: Vector>(peepholes: &Option<Peepholes<'_>>, sum: V, gate: usize, cells: V) -> V {
    let Some((peepholes, right)) = peepholes else { return sum };
    saturate(sum).add(shift_round(numbers::<V>(peepholes[gate], 0).mul(cells), *right as u32))
}

/// Sixteen units' elements.
type Lane<T> = [Cell<T>; WIDTH];

/// Elements by sixteen units; those of the last ones are copied, with zeros behind.
struct Lanes<'a, T> {
    whole: &'a [Lane<T>],
    rest: &'a [Cell<T>],
    last: Lane<T>,
}

impl<'a, T: Copy + Default> Lanes<'a, T> {
    #[inline(always)]
    fn new(all: &'a [Cell<T>]) -> Self {
        let (whole, rest) = all.as_chunks();
        Self { whole, rest, last: read(rest, 0).map(Cell::new) }
    }

    #[inline(always)]
    fn of(&self, block: usize) -> &Lane<T> {
        self.whole.get(block).unwrap_or(&self.last)
    }

    /// Writes what the last ones have become.
    #[inline(always)]
    fn put_back(&self) {
        self.rest.iter().zip(&self.last).for_each(|(to, from)| to.set(from.get()));
    }
}

/// Entries by gates and sixteen units, in the same way.
struct Gates<'a, const GATES: usize> {
    whole: [&'a [Token]; GATES],
    last: [Token; GATES],
}

impl<'a, const GATES: usize> Gates<'a, GATES> {
    #[inline(always)]
    fn new(table: Entries<'a>, units: usize) -> Self {
        let mut gates = Self { whole: [&[]; GATES], last: [[[0; 2]; WIDTH]; GATES] };
        let parts = gates.whole.iter_mut().zip(&mut gates.last);
        for (entries, (whole, last)) in table.entries.chunks_exact(units.max(1)).zip(parts) {
            let (blocks, rest) = entries.as_chunks();
            *whole = blocks;
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        }
        gates
    }

    #[inline(always)]
    fn of(&self, block: usize) -> [&Token; GATES] {
        let mut here = self.last.each_ref();
        for (here, gate) in here.iter_mut().zip(self.whole) {
            *here = gate.get(block).unwrap_or(here);
        }
        here
    }
}

/// Which of `all` blocks is the one to be walked at a place, and which the next.
#[inline(always)]
fn turn(at: usize, all: usize, down: bool) -> (usize, usize) {
    if down { (all - 1 - at, (all - 1 - at).saturating_sub(1)) } else { (at, at + 1) }
}

/// Cache lines that are asked for at a time: as many as arrive while the next part of a gate is computed.
const LINES: usize = 7;

/// Weights that are asked for bit by bit: the first of two panels side by side, whose sums are computed together. Nibbles come in
/// time without: there is more to compute than to wait for.
struct Soon<const NIBBLES: bool> {
    places: [*const u8; 2],
}

impl<const NIBBLES: bool> Soon<NIBBLES> {
    /// Those from a panel on.
    #[inline(always)]
    fn new(panels: &Panels<'_>, panel: usize, [inputs, state]: [usize; 2]) -> Self {
        let bytes = bytes::<NIBBLES>(inputs + state);
        let first = panels.weights.as_ptr().wrapping_add(panel * bytes);
        Self { places: [first, first.wrapping_add(bytes)] }
    }

    /// Asks for some more, of the one and the other by turns.
    #[inline(always)]
    fn fetch<V: Vector>(&mut self) {
        if !NIBBLES {
            let [place, other] = self.places;
            V::prefetch::<LINES>(place);
            self.places = [other, place.wrapping_add(LINES * 64)];
        }
    }
}
