//! Whole operations over [`Layout::Panels`](super::Layout::Panels): products, gates, attention, sixteen numbers at a time.
//!
//! `ops` defines what they compute; here the same integers are computed side by side.

#![allow(unsafe_code)]

use core::cell::Cell;

use super::vector::{Plain, Vector, WIDTH};
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::blob::schema::{Activation, Multiplier};
use crate::fixed::{requantize, saturate_i16};

/// What the operations of this module are compiled for and this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with VNNI.
    Avx512Vnni,
    /// AVX2.
    Avx2,
    /// Any x86-64.
    Sse2,
    /// Whatever the target has.
    Plain,
}

impl Isa {
    /// What this processor has.
    pub fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx512() {
                return Self::Avx512Vnni;
            }
            if x86::has_avx2() {
                return Self::Avx2;
            }
            Self::Sse2
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Plain
    }
}

/// Columns of a product: unsigned bytes, `x + 128`, inputs and hidden state each padded to a multiple of four.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub inputs: &'a [u8],
    pub state: &'a [u8],
}

/// Panels of a matrix, consumed one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub weights: &'a [u8],
    pub records: &'a [[u8; 8]],
    pub multipliers: &'a [u8],
    pub post: u8,
    pub group: u16,
}

/// Sixteen rows over columns of the inputs and of the state.
#[derive(Clone, Copy)]
struct Panel<'a> {
    weights: [&'a [u8]; 2],
    multipliers: [&'a [u8]; 2],
    records: &'a [[u8; 8]; WIDTH],
}

impl<'a> Panels<'a> {
    /// The next panel, over so many columns.
    #[inline(always)]
    fn take(&mut self, inputs: usize, state: usize) -> Option<Panel<'a>> {
        let groups = |columns: usize| {
            if self.group == 0 { 0 } else { WIDTH * columns.div_ceil(self.group as usize) }
        };
        let (multipliers, factors) = self.multipliers.split_at_checked(groups(inputs) + groups(state))?;
        let multipliers = multipliers.split_at_checked(groups(inputs))?;
        self.multipliers = factors;
        let (weights, rest) = self.weights.split_at_checked(WIDTH * (inputs + state))?;
        self.weights = rest;
        let weights = weights.split_at_checked(WIDTH * inputs)?;
        let (records, rest) = self.records.split_first_chunk()?;
        self.records = rest;
        Some(Panel { weights: weights.into(), multipliers: multipliers.into(), records })
    }

    /// Sums of panels over one part of the columns.
    #[inline(always)]
    fn dot<V: Vector, const P: usize>(&self, panels: [Panel<'a>; P], part: usize, columns: &[u8]) -> [V; P] {
        let mut weights: [&[u8]; P] = [&[]; P];
        for (weights, panel) in weights.iter_mut().zip(&panels) {
            *weights = panel.weights[part & 1];
        }
        if self.group == 0 {
            return V::dot(weights, columns);
        }
        let mut sums = [V::splat(0); P];
        let run = self.group as usize;
        for (at, columns) in columns.chunks(run).enumerate() {
            let mut here = weights;
            for here in &mut here {
                *here = here.get(WIDTH * run * at..).unwrap_or(&[]);
            }
            let parts: [V; P] = V::dot(here, columns);
            for ((sum, part_sum), panel) in sums.iter_mut().zip(parts).zip(panels) {
                let factors = panel.multipliers[part & 1].as_chunks::<WIDTH>().0.get(at);
                let factors = V::from_i32(&factors.map_or([0; WIDTH], |f| f.map(i32::from)));
                *sum = sum.add(part_sum.mul(factors));
            }
        }
        sums
    }

    /// Sums to results: bias added, requantized, saturated.
    #[inline(always)]
    fn result<V: Vector>(&self, sum: V, panel: &Panel<'_>) -> V {
        let (bias, rest) = V::records(panel.records);
        let pre = rest.shr(16).and(V::splat(31));
        let mantissa = rest.and(V::splat(0xFFFF));
        let x = sum.add(bias).shr_each(pre).min(V::splat(0xFFFF)).max(V::splat(-0x1_0000));
        saturate(shift_round(x.mul(mantissa), self.post as u32))
    }
}

/// Saturates to 16 bits.
#[inline(always)]
fn saturate<V: Vector>(x: V) -> V {
    x.min(V::splat(32_767)).max(V::splat(-32_768))
}

/// `x / 2^bits`, rounded half up.
#[inline(always)]
fn shift_round<V: Vector>(x: V, bits: u32) -> V {
    let bits = bits & 31;
    x.add(V::splat((1 << bits) >> 1)).shr(bits)
}

#[inline(always)]
fn tanh_steps<V: Vector>(x: V, step: u32) -> V {
    let (low, high) = x.shr(step).add(V::splat(256)).lookup();
    low.add(shift_round(high.sub(low).mul(x.and(V::splat((1 << step) - 1))), step))
}

/// [`tanh`](crate::tables::tanh) of 16-bit numbers.
#[inline(always)]
fn tanh<V: Vector>(x: V) -> V {
    tanh_steps(x, 7)
}

/// [`sigmoid`](crate::tables::sigmoid) of 16-bit numbers.
#[inline(always)]
fn sigmoid<V: Vector>(x: V) -> V {
    V::splat(32_768).add(tanh_steps(x, 8)).shr(1)
}

/// Q0.15 as int8 of scale 2^-7.
#[inline(always)]
fn to_byte<V: Vector>(x: V) -> V {
    x.add(V::splat(128)).shr(8).min(V::splat(127)).max(V::splat(-127))
}

/// Sixteen cells as one.
#[inline(always)]
fn whole<T>(cells: &[Cell<T>; WIDTH]) -> &Cell<[T; WIDTH]> {
    // SAFETY: a cell has the layout of its content, so that an array of cells has that of a cell of an array.
    unsafe { &*core::ptr::from_ref(cells).cast() }
}

/// Up to sixteen elements from `start` on; zeros where there are none.
#[inline(always)]
fn read<T: Copy + Default>(from: &[Cell<T>], start: usize) -> [T; WIDTH] {
    let from = from.get(start..).unwrap_or(&[]);
    if let Some(all) = from.first_chunk::<WIDTH>() {
        return whole(all).get();
    }
    let mut to = [T::default(); WIDTH];
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.get());
    to
}

/// Puts elements from `start` on, as many as there is room for.
#[inline(always)]
fn write<T: Copy>(to: &[Cell<T>], start: usize, values: [T; WIDTH]) {
    let to = to.get(start..).unwrap_or(&[]);
    if let Some(all) = to.first_chunk::<WIDTH>() {
        return whole(all).set(values);
    }
    to.iter().zip(values).for_each(|(to, value)| to.set(value));
}

/// A token's part of a product: entries in the order of the results, shifted left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub entries: &'a [[u8; 2]],
    pub shift: u8,
}

impl Entries<'_> {
    #[inline(always)]
    fn read<V: Vector>(&self, start: usize, end: usize) -> V {
        let entries = self.entries.get(start..end.min(self.entries.len())).unwrap_or(&[]);
        if let Some(all) = entries.first_chunk::<WIDTH>() {
            return V::from_i16(&all.map(i16::from_le_bytes)).shl(self.shift as u32 & 15);
        }
        let mut values = [0; WIDTH];
        values.iter_mut().zip(entries).for_each(|(to, &from)| *to = i16::from_le_bytes(from));
        V::from_i16(&values).shl(self.shift as u32 & 15)
    }
}

/// One function for each instruction set, and the choice among them.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($job:ty), $generic:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, job: &$job) -> Option<()> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
                fn avx512(job: &$job) -> Option<()> {
                    $generic::<x86::Avx512>(job)
                }
                #[target_feature(enable = "avx2")]
                fn avx2(job: &$job) -> Option<()> {
                    $generic::<x86::Avx2>(job)
                }
                match isa {
                    // SAFETY: the processor has what the function is compiled for.
                    Isa::Avx512Vnni => return unsafe { avx512(job) },
                    // SAFETY: as above.
                    Isa::Avx2 => return unsafe { avx2(job) },
                    Isa::Sse2 => return $generic::<x86::Sse2>(job),
                    Isa::Plain => {}
                }
            }
            let _ = isa;
            $generic::<Plain>(job)
        }
    };
}

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

/// A linear map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub panels: Panels<'a>,
    pub columns: &'a [u8],
    pub table: Entries<'a>,
    /// What becomes of a sum that goes to words.
    pub activation: Activation,
    /// Where results go as 16-bit numbers, or
    pub words: &'a [Cell<i16>],
    /// as bytes, saturated to [-127, 127]. The other is empty.
    pub bytes: &'a [Cell<i8>],
}

kernel!(
    /// All rows.
    linear(Linear<'_>), linear_with
);

#[inline(always)]
fn linear_with<V: Vector>(job: &Linear<'_>) -> Option<()> {
    let mut panels = job.panels;
    let rows = job.words.len().max(job.bytes.len());
    let mut start = 0;
    while start < rows {
        let panels = &mut panels;
        start += match (rows - start).div_ceil(WIDTH) {
            1 => some::<V, 1>(job, panels, start)?,
            2 => some::<V, 2>(job, panels, start)?,
            3 => some::<V, 3>(job, panels, start)?,
            _ => some::<V, 4>(job, panels, start)?,
        };
    }
    Some(())
}

/// The rows of some panels; how many.
#[inline(always)]
fn some<'a, V: Vector, const P: usize>(
    job: &Linear<'a>,
    panels: &mut Panels<'a>,
    start: usize,
) -> Option<usize> {
    let first = panels.take(job.columns.len(), 0)?;
    let mut all = [first; P];
    for panel in all.iter_mut().skip(1) {
        *panel = panels.take(job.columns.len(), 0)?;
    }
    let sums: [V; P] = panels.dot(all, 0, job.columns);
    for at in 0..P {
        finish(job, start + at * WIDTH, panels.result(sums[at], &all[at]));
    }
    Some(P * WIDTH)
}

/// Token part, activation, and off it goes.
#[inline(always)]
fn finish<V: Vector>(job: &Linear<'_>, start: usize, sum: V) {
    let sum = sum.add(job.table.read(start, usize::MAX));
    if job.bytes.is_empty() {
        let x = saturate(sum);
        let x = match job.activation {
            Activation::None => x,
            Activation::Tanh { shift } => shift_round(tanh(x), shift as u32),
            Activation::Relu => x.max(V::splat(0)),
        };
        write(job.words, start, x.to_i16());
    } else {
        write(job.bytes, start, sum.min(V::splat(127)).max(V::splat(-127)).to_i8());
    }
}

/// Attention up to the scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Energies<'a> {
    pub query: &'a [Cell<i16>],
    /// A row of as many bytes as the query is wide for each score.
    pub keys: &'a [Cell<i8>],
    pub energy: Energy<'a>,
    pub score: Multiplier,
    pub scores: &'a [Cell<i16>],
}

/// What a score is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Energy<'a> {
    /// `v . tanh(query + key)`.
    Additive { query_bits: u8, key_scale: u16, v: &'a [u8] },
    /// `query . key`.
    #[cfg(feature = "dot")]
    Dot,
}

kernel!(
    /// The energy of each position, requantized.
    energies(Energies<'_>), energies_with
);

#[inline(always)]
fn energies_with<V: Vector>(job: &Energies<'_>) -> Option<()> {
    let width = job.query.len();
    for (t, score) in job.scores.iter().enumerate() {
        let keys = job.keys.get(t * width..)?.get(..width)?;
        let mut sum = V::splat(0);
        for start in (0..width).step_by(WIDTH) {
            sum = sum.add(terms(job, V::from_i8(&read(keys, start)), start));
        }
        let sum = sum.to_i32().iter().fold(0i32, |all, &x| all.wrapping_add(x));
        score.set(saturate_i16(requantize(sum, job.score)));
    }
    Some(())
}

/// Terms of an energy from an element on; zeros beyond the end.
#[inline(always)]
fn terms<V: Vector>(job: &Energies<'_>, key: V, start: usize) -> V {
    let query = V::from_i16(&read(job.query, start));
    match job.energy {
        Energy::Additive { query_bits, key_scale, v } => {
            let key = shift_round(key.mul(V::splat(key_scale as i32)), 6);
            let x = saturate(key.add(query.shl(12 - (query_bits as u32).min(12))));
            // Beyond the end v is zero.
            let mut here = [0; WIDTH];
            let rest = v.get(start..).unwrap_or(&[]);
            match rest.first_chunk::<WIDTH>() {
                Some(all) => here = all.map(|v| v as i8),
                None => here.iter_mut().zip(rest).for_each(|(to, &from)| *to = from as i8),
            }
            V::from_i8(&here).mul(tanh(x))
        }
        #[cfg(feature = "dot")]
        Energy::Dot => key.mul(to_byte(query)),
    }
}

/// Attention's weighted sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// In 2^-15, unsigned.
    pub weights: &'a [Cell<i16>],
    /// A row of as many bytes as `to` for each weight.
    pub values: &'a [Cell<i8>],
    pub to: &'a [Cell<i8>],
}

kernel!(
    /// Sum of weight * value, rounded.
    context(Context<'_>), context_with
);

#[inline(always)]
fn context_with<V: Vector>(job: &Context<'_>) -> Option<()> {
    let width = job.to.len();
    for start in (0..width).step_by(WIDTH) {
        let mut sum = V::splat(0);
        for (t, weight) in job.weights.iter().enumerate() {
            let row = job.values.get(t * width..)?.get(..width)?;
            sum = sum.add(V::from_i8(&read(row, start)).mul(V::splat(i32::from(weight.get() as u16))));
        }
        let sum = shift_round(sum, 15).min(V::splat(127)).max(V::splat(-127));
        write(job.to, start, sum.to_i8());
    }
    Some(())
}

/// The same memory as bytes, for columns.
pub(crate) fn bytes_of(words: &mut [i16]) -> &mut [u8] {
    // SAFETY: bytes need no alignment, an i16 is two without padding, and every bit pattern is valid for both.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 2 * words.len()) }
}

/// Int8 values as columns.
#[inline]
pub(crate) fn columns_of_bytes(from: &[Cell<i8>], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.get() as u8 ^ 0x80;
    }
}

/// Q0.15 values as columns: rounded to 2^-7, at most 127, at least -127.
#[inline]
pub(crate) fn columns_of_words(from: &[Cell<i16>], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        // Where the addition saturates, the shift gives 127 just the same.
        *to = ((from.get().saturating_add(128) >> 8).max(-127) + 128) as u8;
    }
}

#[cfg(test)]
mod tests;
