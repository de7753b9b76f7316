//! AVX2: half a vector a register.

#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Pairs, Vector, WIDTH, by_pairs, total};
use crate::tables::TANH;

/// The table of tanh at one place in memory.
static TABLE: [i16; 513] = TANH;

/// AVX2: two registers of eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2([__m256i; 2]);

/// An intrinsic on both halves. Not a closure: closures are not always inlined into functions for the instruction set.
macro_rules! halves {
    ($f:ident($a:expr $(, $b:expr)?)) => {
        Avx2([
            intrinsics!($f($a.0[0] $(, $b.0[0])?)),
            intrinsics!($f($a.0[1] $(, $b.0[1])?)),
        ])
    };
}

impl Vector for Avx2 {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([intrinsics!(_mm256_set1_epi32(x)); 2])
    }

    #[inline(always)]
    fn from_i32(x: &[i32; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        Self([
            intrinsics!(_mm256_loadu_si256(low.as_ptr().cast())),
            intrinsics!(_mm256_loadu_si256(high.as_ptr().cast())),
        ])
    }

    #[inline(always)]
    fn from_i16(x: &[i16; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        Self([
            intrinsics!(_mm256_cvtepi16_epi32(_mm_loadu_si128(low.as_ptr().cast()))),
            intrinsics!(_mm256_cvtepi16_epi32(_mm_loadu_si128(high.as_ptr().cast()))),
        ])
    }

    #[inline(always)]
    fn from_i8(x: &[i8; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        Self([
            intrinsics!(_mm256_cvtepi8_epi32(_mm_loadl_epi64(low.as_ptr().cast()))),
            intrinsics!(_mm256_cvtepi8_epi32(_mm_loadl_epi64(high.as_ptr().cast()))),
        ])
    }

    #[inline(always)]
    fn to_i32(self) -> [i32; WIDTH] {
        let mut to = [0; WIDTH];
        for (to, half) in to.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            intrinsics!(_mm256_storeu_si256(to.as_mut_ptr().cast(), half));
        }
        to
    }

    #[inline(always)]
    fn to_i16(self) -> [i16; WIDTH] {
        // Sign-extended, so that packing saturates nothing. It works within halves of a register: the middle quarters
        // change places.
        let [low, high] = self.shl(16).shr(16).0;
        let mut to = [0; WIDTH];
        intrinsics!(_mm256_storeu_si256(
            to.as_mut_ptr().cast(),
            _mm256_permute4x64_epi64::<0xD8>(_mm256_packs_epi32(low, high))
        ));
        to
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; WIDTH] {
        self.to_i16().map(|x| x as i8)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        halves!(_mm256_add_epi32(self, other))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        halves!(_mm256_sub_epi32(self, other))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        halves!(_mm256_mullo_epi32(self, other))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        halves!(_mm256_min_epi32(self, other))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        halves!(_mm256_max_epi32(self, other))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        halves!(_mm256_and_si256(self, other))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        let bits = intrinsics!(_mm_cvtsi32_si128(bits as i32 & 31));
        Self([intrinsics!(_mm256_sll_epi32(self.0[0], bits)), intrinsics!(_mm256_sll_epi32(self.0[1], bits))])
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        let bits = intrinsics!(_mm_cvtsi32_si128(bits as i32 & 31));
        Self([intrinsics!(_mm256_sra_epi32(self.0[0], bits)), intrinsics!(_mm256_sra_epi32(self.0[1], bits))])
    }

    #[inline(always)]
    fn shr_each(self, bits: Self) -> Self {
        halves!(_mm256_srav_epi32(self, bits))
    }

    #[inline(always)]
    fn tanh_steps<const A: u32, const B: u32>([a, b]: [Self; 2]) -> [Self; 2] {
        [by_pairs(a, A), by_pairs(b, B)]
    }

    #[inline(always)]
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self) {
        let (mut bias, mut rest) = ([0; WIDTH], [0; WIDTH]);
        for ((bias, rest), &[b0, b1, b2, b3, r0, r1, r2, r3]) in bias.iter_mut().zip(&mut rest).zip(records) {
            *bias = i32::from_le_bytes([b0, b1, b2, b3]);
            *rest = i32::from_le_bytes([r0, r1, r2, r3]);
        }
        (Self::from_i32(&bias), Self::from_i32(&rest))
    }

    #[inline(always)]
    fn dot<const NIBBLES: bool, const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        if NIBBLES {
            return Self::dot_nibbles(panels, columns);
        }
        let mut joined = [Self::splat(0); P];
        for (to, panel) in joined.iter_mut().zip(panels) {
            // Four rows a register, each as two sums side by side.
            let mut sums = [intrinsics!(_mm256_setzero_si256()); 4];
            for (tile, x) in panel.as_chunks::<{ 4 * WIDTH }>().0.iter().zip(columns.as_chunks::<4>().0) {
                let x = intrinsics!(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(i32::from_le_bytes(*x))));
                let x = intrinsics!(_mm256_broadcastq_epi64(x));
                for (sum, rows) in sums.iter_mut().zip(tile.as_chunks::<16>().0) {
                    let rows = intrinsics!(_mm256_cvtepi8_epi16(_mm_loadu_si128(rows.as_ptr().cast())));
                    *sum = intrinsics!(_mm256_add_epi32(*sum, _mm256_madd_epi16(rows, x)));
                }
            }
            let [a, b, c, d] = sums;
            *to = Self([
                intrinsics!(_mm256_permute4x64_epi64::<0xD8>(_mm256_hadd_epi32(a, b))),
                intrinsics!(_mm256_permute4x64_epi64::<0xD8>(_mm256_hadd_epi32(c, d))),
            ]);
        }
        joined
    }
}

impl Avx2 {
    /// [`Vector::dot`] of nibbles. Two products of a byte and a nibble are below 2^13: two tiles' sums fit in 16 bits.
    #[inline(always)]
    fn dot_nibbles<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        let mut sums = [Self::splat(0); P];
        let (low, ones) = (Self::splat(0x0F0F_0F0F), Self::splat(0x0001_0001));
        for (at, columns) in columns.as_chunks::<8>().0.iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = *columns;
            let x = Self::splat(i32::from_le_bytes([a, b, c, d]));
            let y = Self::splat(i32::from_le_bytes([e, f, g, h]));
            for (sum, panel) in sums.iter_mut().zip(panels) {
                let Some(tile) = panel.as_chunks::<{ 4 * WIDTH }>().0.get(at) else { continue };
                let [first, second] = tile.as_chunks::<32>().0 else { continue };
                let both = intrinsics!(Self([
                    _mm256_loadu_si256(first.as_ptr().cast()),
                    _mm256_loadu_si256(second.as_ptr().cast()),
                ]));
                let a = halves!(_mm256_maddubs_epi16(x, both.and(low)));
                let b = halves!(_mm256_maddubs_epi16(y, both.shr(4).and(low)));
                *sum = sum.add(halves!(_mm256_add_epi16(a, b)).madd(ones));
            }
        }
        let offset = Self::splat(8 * total(columns));
        for sum in &mut sums {
            *sum = sum.sub(offset);
        }
        sums
    }
}

impl Pairs for Avx2 {
    #[inline(always)]
    fn madd(self, other: Self) -> Self {
        halves!(_mm256_madd_epi16(self, other))
    }

    #[inline(always)]
    fn entries(self) -> Self {
        let at = self.add(Self::splat(256)).and(Self::splat(511));
        let table = TABLE.as_ptr().cast();
        // Two entries a lane; the last index reads the table's last two: all reads are inside.
        Self([
            intrinsics!(_mm256_i32gather_epi32::<2>(table, at.0[0])),
            intrinsics!(_mm256_i32gather_epi32::<2>(table, at.0[1])),
        ])
    }
}
