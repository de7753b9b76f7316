//! Whole operations over [`Layout::Panels`](super::Layout::Panels): products, gates, attention, sixteen numbers at a time.
//!
//! `ops` defines what they compute; here the same integers are computed side by side.

#![allow(unsafe_code)]

use core::cell::Cell;

pub(crate) use attention::{Context, Energies, Energy, context, energies};
pub(crate) use linear::{Linear, linear};
pub(crate) use recurrent::{Gru, Lstm, gru, lstm};
pub use softmax::{largest, sum_exp2};

use super::layout::Bits;
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

/// Columns of a product: unsigned bytes, `x + 128`, inputs and hidden state each padded to a multiple of eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub inputs: &'a [u8],
    pub state: &'a [u8],
}

/// Panels of a matrix: sixteen rows each, over columns of the inputs and then of the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub weights: &'a [u8],
    pub records: &'a [[u8; 8]],
    pub multipliers: &'a [u8],
    pub post: u8,
    pub group: u16,
    pub bits: Bits,
}

/// Sixteen rows' records.
type Records = [[u8; 8]; WIDTH];

/// Bytes of a panel over columns.
#[inline(always)]
const fn bytes<const NIBBLES: bool>(columns: usize) -> usize {
    if NIBBLES { WIDTH / 2 * columns } else { WIDTH * columns }
}

/// Some panels, one after another: of nibbles, if not of bytes, and `GROUPED` with a multiplier for each group of columns.
#[derive(Clone, Copy)]
struct Block<'a, const NIBBLES: bool, const GROUPED: bool> {
    weights: &'a [u8],
    multipliers: &'a [u8],
    records: &'a [Records],
    /// Columns of the inputs and of the state.
    columns: [usize; 2],
    group: usize,
    post: u8,
}

/// Where a panel's part begins: behind so many parts of inputs and so many of the state.
type Place = [usize; 2];

impl<'a> Panels<'a> {
    /// Block `number` of blocks of so many panels, with so many results a row that are requantized.
    #[inline(always)]
    fn block<const NIBBLES: bool, const GROUPED: bool>(
        &self,
        number: usize,
        (panels, results): (usize, usize),
        columns: [usize; 2],
    ) -> Option<Block<'a, NIBBLES, GROUPED>> {
        let [inputs, state] = columns;
        let of = |size: usize| number * size..(number + 1) * size;
        let mut block = Block {
            weights: self.weights.get(of(panels * bytes::<NIBBLES>(inputs + state)))?,
            multipliers: &[],
            records: self.records.as_chunks().0.get(of(results))?,
            columns,
            group: self.group.max(1) as usize,
            post: self.post,
        };
        if GROUPED {
            block.multipliers = self.multipliers.get(of(panels * WIDTH * block.groups([1, 1])))?;
        }
        Some(block)
    }
}

impl<const NIBBLES: bool, const GROUPED: bool> Block<'_, NIBBLES, GROUPED> {
    /// Groups of columns before a place.
    #[inline(always)]
    fn groups(&self, place: Place) -> usize {
        let [inputs, state] = self.columns.map(|columns| columns.div_ceil(self.group));
        place[0] * inputs + place[1] * state
    }

    /// Sums of panels' parts.
    #[inline(always)]
    fn dot<V: Vector, const P: usize>(&self, places: [Place; P], columns: &[u8]) -> Option<[V; P]> {
        let mut weights: [&[u8]; P] = [&[]; P];
        for (weights, place) in weights.iter_mut().zip(places) {
            let start = bytes::<NIBBLES>(place[0] * self.columns[0] + place[1] * self.columns[1]);
            *weights = self.weights.get(start..start + bytes::<NIBBLES>(columns.len()))?;
        }
        if !GROUPED {
            return Some(V::dot::<NIBBLES, P>(weights, columns));
        }
        let mut sums = [V::splat(0); P];
        for (at, columns) in columns.chunks(self.group).enumerate() {
            let mut here = weights;
            for here in &mut here {
                *here = here.get(bytes::<NIBBLES>(self.group * at)..).unwrap_or(&[]);
            }
            let parts: [V; P] = V::dot::<NIBBLES, P>(here, columns);
            for ((sum, part_sum), place) in sums.iter_mut().zip(parts).zip(places) {
                let factors = self.multipliers.as_chunks::<WIDTH>().0.get(self.groups(place) + at);
                let factors = V::from_i32(&factors.map_or([0; WIDTH], |f| f.map(i32::from)));
                *sum = sum.add(part_sum.mul(factors));
            }
        }
        Some(sums)
    }

    /// Sums to results: bias added, requantized, saturated.
    #[inline(always)]
    fn result<V: Vector>(&self, sum: V, records: &Records) -> V {
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

/// [`tanh`](crate::tables::tanh) of numbers saturated to 16 bits.
#[inline(always)]
fn tanh<V: Vector>(x: V) -> V {
    let [y, _] = V::tanh_steps::<7, 7>([x; 2]);
    y
}

/// [`sigmoid`](crate::tables::sigmoid) of numbers saturated to 16 bits.
#[inline(always)]
fn sigmoid<V: Vector>(both: [V; 2]) -> [V; 2] {
    let [a, b] = V::tanh_steps::<8, 8>(both);
    [half(a), half(b)]
}

/// Hyperbolic tangent of the one, sigmoid of the other.
#[inline(always)]
fn tanh_sigmoid<V: Vector>(both: [V; 2]) -> [V; 2] {
    let [a, b] = V::tanh_steps::<7, 8>(both);
    [a, half(b)]
}

#[inline(always)]
fn half<V: Vector>(x: V) -> V {
    V::splat(32_768).add(x).shr(1)
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

/// Sixteen entries.
type Token = [[u8; 2]; WIDTH];

/// Entries as numbers.
#[inline(always)]
fn numbers<V: Vector>(token: &Token, shift: u8) -> V {
    V::from_i16(&token.map(i16::from_le_bytes)).shl(shift as u32 & 15)
}

impl Entries<'_> {
    /// Sixteen from a row on; zeros where there are none.
    #[inline(always)]
    fn row<V: Vector>(&self, start: usize) -> V {
        let rest = self.entries.get(start..).unwrap_or(&[]);
        let mut row = [[0; 2]; WIDTH];
        match rest.first_chunk() {
            Some(all) => row = *all,
            None => row.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
        }
        numbers(&row, self.shift)
    }
}

/// One function for each instruction set, and the choice among them.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($job:ty) -> $result:ty, $generic:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, job: &$job) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
                fn avx512(job: &$job) -> $result {
                    $generic::<x86::Avx512>(job)
                }
                #[target_feature(enable = "avx2")]
                fn avx2(job: &$job) -> $result {
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

/// A function for each kind of panels, and the choice among them.
macro_rules! by_kind {
    ($function:ident::<$vector:ident>($job:expr)) => {
        match ($job.panels.bits, $job.panels.group) {
            (crate::kernels::Bits::Int8, 0) => $function::<$vector, false, false>($job),
            (crate::kernels::Bits::Int8, _) => $function::<$vector, false, true>($job),
            (crate::kernels::Bits::Int4, 0) => $function::<$vector, true, false>($job),
            (crate::kernels::Bits::Int4, _) => $function::<$vector, true, true>($job),
        }
    };
}

// Behind the macros that they use.
mod attention;
mod linear;
mod recurrent;
mod softmax;

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
