//! Whole operations over [`Layout::Panels`](super::Layout::Panels): products, gates, attention, sixteen numbers at a time.
//!
//! `ops` defines what they compute; here the same integers are computed side by side.

#![allow(unsafe_code)]

use core::cell::Cell;

pub(crate) use attention::{Context, Energies, Energy, context, energies};
pub(crate) use linear::{Linear, linear};
pub(crate) use recurrent::{Gru, Lstm, gru, lstm};

use super::vector::{Plain, Vector, WIDTH};
#[cfg(target_arch = "x86_64")]
use super::x86;

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
    /// The panels from a block of units on. A block has a panel over all columns for each of its `gates` (or two that share the
    /// columns), and `results` sums of a row are requantized.
    #[inline(always)]
    fn at(&self, block: usize, gates: usize, results: usize, inputs: usize, state: usize) -> Option<Self> {
        Some(Self {
            weights: self.weights.get(block * gates * WIDTH * (inputs + state)..)?,
            records: self.records.get(block * results * WIDTH..)?,
            multipliers: self
                .multipliers
                .get(block * gates * (self.groups(inputs) + self.groups(state))..)?,
            ..*self
        })
    }

    /// Multipliers of a panel over so many columns.
    #[inline(always)]
    fn groups(&self, columns: usize) -> usize {
        if self.group == 0 { 0 } else { WIDTH * columns.div_ceil(self.group as usize) }
    }

    /// The next panel, over so many columns.
    #[inline(always)]
    fn take(&mut self, inputs: usize, state: usize) -> Option<Panel<'a>> {
        let (multipliers, factors) =
            self.multipliers.split_at_checked(self.groups(inputs) + self.groups(state))?;
        let multipliers = multipliers.split_at_checked(self.groups(inputs))?;
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
    fn result<V: Vector>(&self, sum: V, records: &[[u8; 8]; WIDTH]) -> V {
        let (bias, rest) = V::records(records);
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
    // (1 - rest) times an entry and rest times the next.
    let rest = x.and(V::splat((1 << step) - 1));
    let shares = rest.shl(16).sub(rest).add(V::splat(1 << step));
    shift_round(x.shr(step).entries().madd(shares), step)
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

/// Up to sixteen elements from `start` on; zeros where there are none. `ALL` says that there are sixteen or none.
#[inline(always)]
fn read<T: Copy + Default, const ALL: bool>(from: &[Cell<T>], start: usize) -> [T; WIDTH] {
    let from = from.get(start..).unwrap_or(&[]);
    if let Some(all) = from.first_chunk::<WIDTH>() {
        return whole(all).get();
    }
    let mut to = [T::default(); WIDTH];
    if !ALL {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.get());
    }
    to
}

/// Puts elements from `start` on, as many as there is room for. `ALL` says that it is for sixteen or none.
#[inline(always)]
fn write<T: Copy, const ALL: bool>(to: &[Cell<T>], start: usize, values: [T; WIDTH]) {
    let to = to.get(start..).unwrap_or(&[]);
    if let Some(all) = to.first_chunk::<WIDTH>() {
        return whole(all).set(values);
    }
    if !ALL {
        to.iter().zip(values).for_each(|(to, value)| to.set(value));
    }
}

/// A token's part of a product: entries in the order of the results, shifted left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub entries: &'a [[u8; 2]],
    pub shift: u8,
}

impl Entries<'_> {
    /// Sixteen from `start` on, before `end`; zeros where there are none. `ALL` says that there are sixteen or none.
    #[inline(always)]
    fn read<V: Vector, const ALL: bool>(&self, start: usize, end: usize) -> V {
        let entries = self.entries.get(start..end.min(self.entries.len())).unwrap_or(&[]);
        if let Some(all) = entries.first_chunk::<WIDTH>() {
            return V::from_i16(&all.map(i16::from_le_bytes)).shl(self.shift as u32 & 15);
        }
        if ALL {
            return V::splat(0);
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

// Behind the macro that they use.
mod attention;
mod linear;
mod recurrent;

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
