//! Sixteen 32-bit numbers side by side: what the desktop's kernels are written in, once for all instruction sets.

use crate::fixed::saturate_i16;
use crate::tables::{exp2_neg, tanh_steps};

/// Numbers of a vector, and rows of a panel.
pub(crate) const WIDTH: usize = 16;

/// Sixteen wrapping 32-bit integers. An implementation may differ from [`Plain`] in speed alone.
pub(crate) trait Vector: Copy {
    fn splat(x: i32) -> Self;
    fn from_i32(x: &[i32; WIDTH]) -> Self;
    fn from_i16(x: &[i16; WIDTH]) -> Self;
    fn from_i8(x: &[i8; WIDTH]) -> Self;
    fn to_i32(self) -> [i32; WIDTH];
    /// The low 16 bits of each.
    fn to_i16(self) -> [i16; WIDTH];
    /// The low 8 bits of each.
    fn to_i8(self) -> [i8; WIDTH];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    /// Left shift by 0 to 31.
    fn shl(self, bits: u32) -> Self;
    /// Arithmetic right shift by 0 to 31.
    fn shr(self, bits: u32) -> Self;
    /// Arithmetic right shift of each by its own 0 to 31.
    fn shr_each(self, bits: Self) -> Self;
    /// The table of tanh at numbers saturated to 16 bits, `2^A` of the first and `2^B` of the second vector from entry to entry:
    /// 7 gives tanh of Q3.12, 8 that of half as much.
    fn tanh_steps<const A: u32, const B: u32>(both: [Self; 2]) -> [Self; 2];
    /// `2^-(x / 2^15)` in 2^-15 of fractions, below `2^15`.
    #[inline(always)]
    fn exp2_neg(self) -> Self {
        Self::from_i32(&self.to_i32().map(|x| exp2_neg(x as u32, 15) as i32))
    }
    /// Row records as two numbers each: the bias; the mantissa and, above its 16 bits, the first shift.
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self);
    /// Sums of panels over the columns of a run, as [`layout::weight`](super::layout::weight) says: `columns.len()` is a multiple of
    /// 8, each panel has 16 bytes a column or, of nibbles, 8.
    fn dot<const NIBBLES: bool, const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P];
    /// Itself. Compilers keep what it comes from before what follows, memory that is asked for included: they would mix both as
    /// they like, and cannot know what waits for memory.
    #[inline(always)]
    fn pin(self) -> Self {
        self
    }
    /// Asks for cache lines from an address on, which may be any: they will be read soon.
    #[inline(always)]
    fn prefetch<const LINES: usize>(_place: *const u8) {}
}

/// Plain Rust: the definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain([i32; WIDTH]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(i32, i32) -> i32) -> Self {
        let mut to = self.0;
        for (a, b) in to.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(to)
    }
}

impl Vector for Plain {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([x; WIDTH])
    }

    #[inline(always)]
    fn from_i32(x: &[i32; WIDTH]) -> Self {
        Self(*x)
    }

    #[inline(always)]
    fn from_i16(x: &[i16; WIDTH]) -> Self {
        Self(x.map(i32::from))
    }

    #[inline(always)]
    fn from_i8(x: &[i8; WIDTH]) -> Self {
        Self(x.map(i32::from))
    }

    #[inline(always)]
    fn to_i32(self) -> [i32; WIDTH] {
        self.0
    }

    #[inline(always)]
    fn to_i16(self) -> [i16; WIDTH] {
        self.0.map(|x| x as i16)
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; WIDTH] {
        self.0.map(|x| x as i8)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_mul)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, Ord::min)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, Ord::max)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(self.0.map(|x| x << (bits & 31)))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(self.0.map(|x| x >> (bits & 31)))
    }

    #[inline(always)]
    fn shr_each(self, bits: Self) -> Self {
        self.zip(bits, |x, bits| x >> (bits & 31))
    }

    #[inline(always)]
    fn tanh_steps<const A: u32, const B: u32>([a, b]: [Self; 2]) -> [Self; 2] {
        [
            Self(a.0.map(|x| tanh_steps::<A>(saturate_i16(x)))),
            Self(b.0.map(|x| tanh_steps::<B>(saturate_i16(x)))),
        ]
    }

    #[inline(always)]
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self) {
        let (mut bias, mut rest) = ([0; WIDTH], [0; WIDTH]);
        for ((bias, rest), &[b0, b1, b2, b3, r0, r1, r2, r3]) in bias.iter_mut().zip(&mut rest).zip(records) {
            *bias = i32::from_le_bytes([b0, b1, b2, b3]);
            *rest = i32::from_le_bytes([r0, r1, r2, r3]);
        }
        (Self(bias), Self(rest))
    }

    #[inline(always)]
    fn dot<const NIBBLES: bool, const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        panels.map(|panel| {
            let mut sums = [0i32; WIDTH];
            let tiles = panel.as_chunks::<{ 4 * WIDTH }>().0;
            if NIBBLES {
                for (tile, x) in tiles.iter().zip(columns.as_chunks::<8>().0) {
                    let (low, high) = x.split_at(4);
                    for (sum, both) in sums.iter_mut().zip(tile.as_chunks::<4>().0) {
                        for ((&both, &x), &y) in both.iter().zip(low).zip(high) {
                            let (a, b) = (i32::from(both & 15) - 8, i32::from(both >> 4) - 8);
                            *sum = sum.wrapping_add(a * i32::from(x) + b * i32::from(y));
                        }
                    }
                }
            } else {
                for (tile, x) in tiles.iter().zip(columns.as_chunks::<4>().0) {
                    for (sum, w) in sums.iter_mut().zip(tile.as_chunks::<4>().0) {
                        for (&w, &x) in w.iter().zip(x) {
                            *sum = sum.wrapping_add(i32::from(w as i8) * i32::from(x));
                        }
                    }
                }
            }
            Self(sums)
        })
    }
}
