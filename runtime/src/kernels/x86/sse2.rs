//! SSE2, which every x86-64 processor has: what runs where neither AVX2 nor AVX-512 does.

#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Pairs, Vector, WIDTH, by_pairs, pair, total};

/// Four registers of four.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sse2([__m128i; 4]);

/// A register of numbers.
#[inline(always)]
fn load<T: Copy, const N: usize>(from: &[T; N]) -> __m128i {
    const { assert!(size_of::<[T; N]>() == size_of::<__m128i>()) };
    intrinsics!(_mm_loadu_si128(from.as_ptr().cast()))
}

/// Where the numbers of a register go.
#[inline(always)]
fn store<T: Copy, const N: usize>(to: &mut [T; N], from: __m128i) {
    const { assert!(size_of::<[T; N]>() == size_of::<__m128i>()) };
    intrinsics!(_mm_storeu_si128(to.as_mut_ptr().cast(), from))
}

/// Eight 16-bit numbers as twice four of 32 bits.
#[inline(always)]
fn widen(x: __m128i) -> [__m128i; 2] {
    intrinsics!([_mm_unpacklo_epi16(x, x), _mm_unpackhi_epi16(x, x)].map(|x| _mm_srai_epi32::<16>(x)))
}

/// Sixteen bytes as twice eight 16-bit numbers.
#[inline(always)]
fn widen_bytes(x: __m128i) -> [__m128i; 2] {
    intrinsics!({
        let sign = _mm_cmpgt_epi8(_mm_setzero_si128(), x);
        [_mm_unpacklo_epi8(x, sign), _mm_unpackhi_epi8(x, sign)]
    })
}

/// Sixteen bytes as twice eight 16-bit numbers without signs.
#[inline(always)]
fn widen_unsigned(x: __m128i) -> [__m128i; 2] {
    let zero = intrinsics!(_mm_setzero_si128());
    intrinsics!([_mm_unpacklo_epi8(x, zero), _mm_unpackhi_epi8(x, zero)])
}

/// Low nibbles and high ones, as bytes.
#[inline(always)]
fn nibbles(both: __m128i) -> [__m128i; 2] {
    let low = intrinsics!(_mm_set1_epi8(15));
    intrinsics!([_mm_and_si128(both, low), _mm_and_si128(_mm_srli_epi16::<4>(both), low)])
}

/// Four columns, twice, as 16-bit numbers.
#[inline(always)]
fn four(columns: &[u8; 4]) -> __m128i {
    let [columns, _] = widen_unsigned(intrinsics!(_mm_set1_epi32(i32::from_le_bytes(*columns))));
    columns
}

/// Adds four rows' products with four columns, in two sums a row.
#[inline(always)]
fn add_products(sums: &mut [__m128i; 2], rows: [__m128i; 2], columns: __m128i) {
    for (sum, rows) in sums.iter_mut().zip(rows) {
        *sum = intrinsics!(_mm_add_epi32(*sum, _mm_madd_epi16(rows, columns)));
    }
}

/// Even words of two registers, and odd ones.
#[inline(always)]
fn unzip(a: __m128i, b: __m128i) -> [__m128i; 2] {
    intrinsics!({
        let (a, b) = (_mm_castsi128_ps(a), _mm_castsi128_ps(b));
        [_mm_shuffle_ps::<0b10_00_10_00>(a, b), _mm_shuffle_ps::<0b11_01_11_01>(a, b)]
            .map(|x| _mm_castps_si128(x))
    })
}

impl Sse2 {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(__m128i, __m128i) -> __m128i) -> Self {
        let mut to = self.0;
        for (a, b) in to.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(to)
    }

    /// Each one's number of either, by a mask.
    #[inline(always)]
    fn choose(self, other: Self, mask: impl Fn(__m128i, __m128i) -> __m128i) -> Self {
        self.zip(other, |a, b| {
            let mask = mask(a, b);
            intrinsics!(_mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b)))
        })
    }
}

impl Vector for Sse2 {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([intrinsics!(_mm_set1_epi32(x)); 4])
    }

    #[inline(always)]
    fn from_i32(x: &[i32; WIDTH]) -> Self {
        let [a, b, c, d] = x.as_chunks().0 else { return Self::splat(0) };
        Self([a, b, c, d].map(load::<i32, 4>))
    }

    #[inline(always)]
    fn from_i16(x: &[i16; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        let ([a, b], [c, d]) = (widen(load(low)), widen(load(high)));
        Self([a, b, c, d])
    }

    #[inline(always)]
    fn from_i8(x: &[i8; WIDTH]) -> Self {
        let [low, high] = widen_bytes(load(x));
        let ([a, b], [c, d]) = (widen(low), widen(high));
        Self([a, b, c, d])
    }

    #[inline(always)]
    fn to_i32(self) -> [i32; WIDTH] {
        let mut to = [0; WIDTH];
        for (to, from) in to.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            store(to, from);
        }
        to
    }

    #[inline(always)]
    fn to_i16(self) -> [i16; WIDTH] {
        // Sign-extended, so that packing saturates nothing.
        let [a, b, c, d] = self.shl(16).shr(16).0;
        let mut to = [0; WIDTH];
        for (to, (low, high)) in to.as_chunks_mut::<8>().0.iter_mut().zip([(a, b), (c, d)]) {
            store(to, intrinsics!(_mm_packs_epi32(low, high)));
        }
        to
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; WIDTH] {
        self.to_i16().map(|x| x as i8)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm_add_epi32(a, b)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm_sub_epi32(a, b)))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // The low half of a product is the same with signs and without.
        self.zip(other, |a, b| {
            intrinsics!({
                let even = _mm_mul_epu32(a, b);
                let odd = _mm_mul_epu32(_mm_srli_epi64::<32>(a), _mm_srli_epi64::<32>(b));
                let [even, odd] = [even, odd].map(|x| _mm_shuffle_epi32::<0b10_00>(x));
                _mm_unpacklo_epi32(even, odd)
            })
        })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.choose(other, |a, b| intrinsics!(_mm_cmpgt_epi32(b, a)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.choose(other, |a, b| intrinsics!(_mm_cmpgt_epi32(a, b)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm_and_si128(a, b)))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        let bits = intrinsics!(_mm_cvtsi32_si128(bits as i32 & 31));
        Self(self.0.map(|x| intrinsics!(_mm_sll_epi32(x, bits))))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        let bits = intrinsics!(_mm_cvtsi32_si128(bits as i32 & 31));
        Self(self.0.map(|x| intrinsics!(_mm_sra_epi32(x, bits))))
    }

    #[inline(always)]
    fn shr_each(self, bits: Self) -> Self {
        // One by one: all lanes of a register are shifted alike.
        let mut to = self.to_i32();
        to.iter_mut().zip(bits.to_i32()).for_each(|(x, bits)| *x >>= bits & 31);
        Self::from_i32(&to)
    }

    #[inline(always)]
    fn tanh_steps<const A: u32, const B: u32>([a, b]: [Self; 2]) -> [Self; 2] {
        [by_pairs(a, A), by_pairs(b, B)]
    }

    #[inline(always)]
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self) {
        let (mut bias, mut rest) = (Self::splat(0), Self::splat(0));
        for ((bias, rest), four) in bias.0.iter_mut().zip(&mut rest.0).zip(records.as_chunks::<4>().0) {
            let [low, high] = four.as_chunks::<2>().0 else { continue };
            [*bias, *rest] = unzip(load(low), load(high));
        }
        (bias, rest)
    }

    #[inline(always)]
    fn dot<const NIBBLES: bool, const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        panels.map(|panel| {
            // Two rows a register, each as two sums side by side.
            let mut sums = [[intrinsics!(_mm_setzero_si128()); 2]; 4];
            let (fours, tiles) = (columns.as_chunks::<4>().0, panel.as_chunks::<{ 4 * WIDTH }>().0);
            if NIBBLES {
                for (tile, [x, y]) in tiles.iter().zip(fours.as_chunks::<2>().0) {
                    let (x, y) = (four(x), four(y));
                    for (sums, rows) in sums.iter_mut().zip(tile.as_chunks::<16>().0) {
                        let [low, high] = nibbles(load(rows));
                        add_products(sums, widen_unsigned(low), x);
                        add_products(sums, widen_unsigned(high), y);
                    }
                }
            } else {
                for (tile, x) in tiles.iter().zip(fours) {
                    let x = four(x);
                    for (sums, rows) in sums.iter_mut().zip(tile.as_chunks::<16>().0) {
                        add_products(sums, widen_bytes(load(rows)), x);
                    }
                }
            }
            let offset = if NIBBLES { 8 * total(columns) } else { 0 };
            Self(sums.map(|[low, high]| {
                let [even, odd] = unzip(low, high);
                intrinsics!(_mm_sub_epi32(_mm_add_epi32(even, odd), _mm_set1_epi32(offset)))
            }))
        })
    }
}

impl Pairs for Sse2 {
    #[inline(always)]
    fn madd(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn entries(self) -> Self {
        // One by one: there is no gather.
        Self::from_i32(&self.to_i32().map(pair))
    }
}
