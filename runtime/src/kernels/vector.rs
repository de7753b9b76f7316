//! Sixteen 32-bit numbers side by side: what the desktop's kernels are written in, once for all instruction sets.

use crate::tables::TANH;

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
    /// Products of the low and of the high 16 bits, as signed numbers, added.
    fn madd(self, other: Self) -> Self;
    /// Each one's entry of the table of tanh in the low 16 bits and the entry behind it in the high ones. Indices count from the
    /// middle: -256 to 255.
    fn entries(self) -> Self;
    /// Row records as two numbers each: the bias; the mantissa and, above its 16 bits, the first shift.
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self);
    /// Sums of panels over the columns of a run: `columns.len()` is a multiple of 4, each panel has 16 bytes a column.
    fn dot<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P];
    /// Asks for cache lines from an address on, which may be any: they will be read soon.
    #[inline(always)]
    fn prefetch<const LINES: usize>(_place: *const u8) {}
}

/// Two entries of the table of tanh side by side.
#[inline(always)]
pub(crate) fn pair(index: i32) -> i32 {
    let at = index.wrapping_add(256) as usize & 511;
    i32::from(TANH[at] as u16) | i32::from(TANH[at + 1]) << 16
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
    fn madd(self, other: Self) -> Self {
        let product = |a: i32, b: i32| i32::from(a as i16) * i32::from(b as i16);
        self.zip(other, |a, b| product(a, b).wrapping_add(product(a >> 16, b >> 16)))
    }

    #[inline(always)]
    fn entries(self) -> Self {
        Self(self.0.map(pair))
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
    fn dot<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        panels.map(|panel| {
            let mut sums = [0i32; WIDTH];
            for (tile, x) in panel.as_chunks::<{ 4 * WIDTH }>().0.iter().zip(columns.as_chunks::<4>().0) {
                for (sum, w) in sums.iter_mut().zip(tile.as_chunks::<4>().0) {
                    for (&w, &x) in w.iter().zip(x) {
                        *sum = sum.wrapping_add(i32::from(w as i8) * i32::from(x));
                    }
                }
            }
            Self(sums)
        })
    }
}
