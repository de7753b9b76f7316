//! x86-64 with AVX2 or with AVX-512 and its byte products (VNNI), found while the program runs.

#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::vector::{Vector, WIDTH};
use crate::tables::TANH;

/// The table of tanh at one place in memory.
static TABLE: [i16; 513] = TANH;

/// Whether this processor has what [`Avx512`] needs.
#[inline]
pub(crate) fn has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vnni")
}

/// Whether this processor has what [`Avx2`] needs.
#[inline]
pub(crate) fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2")
}

/// An expression of intrinsics. The types of this module are made and used in functions alone that are compiled for the
/// instruction set and called when the processor has it; no intrinsic here has another condition unless a comment says so.
macro_rules! intrinsics {
    ($e:expr) => {
        // SAFETY: see above.
        unsafe { $e }
    };
}

/// AVX-512 F, BW and VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(__m512i);

impl Vector for Avx512 {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self(intrinsics!(_mm512_set1_epi32(x)))
    }

    #[inline(always)]
    fn from_i32(x: &[i32; WIDTH]) -> Self {
        Self(intrinsics!(_mm512_loadu_si512(x.as_ptr().cast())))
    }

    #[inline(always)]
    fn from_i16(x: &[i16; WIDTH]) -> Self {
        Self(intrinsics!(_mm512_cvtepi16_epi32(_mm256_loadu_si256(x.as_ptr().cast()))))
    }

    #[inline(always)]
    fn from_i8(x: &[i8; WIDTH]) -> Self {
        Self(intrinsics!(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))))
    }

    #[inline(always)]
    fn to_i32(self) -> [i32; WIDTH] {
        let mut to = [0; WIDTH];
        intrinsics!(_mm512_storeu_si512(to.as_mut_ptr().cast(), self.0));
        to
    }

    #[inline(always)]
    fn to_i16(self) -> [i16; WIDTH] {
        let mut to = [0; WIDTH];
        intrinsics!(_mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(self.0)));
        to
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; WIDTH] {
        let mut to = [0; WIDTH];
        intrinsics!(_mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(self.0)));
        to
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_sub_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_mullo_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_min_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_max_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(intrinsics!(_mm512_sll_epi32(self.0, _mm_cvtsi32_si128(bits as i32 & 31))))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(intrinsics!(_mm512_sra_epi32(self.0, _mm_cvtsi32_si128(bits as i32 & 31))))
    }

    #[inline(always)]
    fn shr_each(self, bits: Self) -> Self {
        Self(intrinsics!(_mm512_srav_epi32(self.0, bits.0)))
    }

    #[inline(always)]
    fn lookup(self) -> (Self, Self) {
        let at = self.and(Self::splat(511));
        // Two entries a lane; the last index reads the table's last two: all reads are inside.
        let both = Self(intrinsics!(_mm512_i32gather_epi32::<2>(at.0, TABLE.as_ptr().cast())));
        (both.shl(16).shr(16), both.shr(16))
    }

    #[inline(always)]
    fn dot<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        let panels = panels.map(|panel| panel.as_chunks::<{ 4 * WIDTH }>().0);
        let columns = columns.as_chunks::<4>().0;
        let tiles = panels.iter().fold(columns.len(), |tiles, panel| tiles.min(panel.len()));
        // Two sums a panel, so that one need not wait for the other.
        let mut sums = [[Self::splat(0); 2]; P];
        let mut add = |at: usize, chain: usize| {
            // SAFETY: `at` is below `tiles`, the number of tiles of every panel and of the columns.
            let x = Self::splat(i32::from_le_bytes(unsafe { *columns.get_unchecked(at) }));
            for (sums, panel) in sums.iter_mut().zip(panels) {
                // SAFETY: as above.
                let tile = unsafe { panel.get_unchecked(at) };
                let sum = &mut sums[chain];
                *sum = Self(intrinsics!(_mm512_dpbusd_epi32(
                    sum.0,
                    x.0,
                    _mm512_loadu_si512(tile.as_ptr().cast())
                )));
            }
        };
        let mut at = 0;
        while at + 2 <= tiles {
            add(at, 0);
            add(at + 1, 1);
            at += 2;
        }
        if at < tiles {
            add(at, 0);
        }
        sums.map(|[a, b]| a.add(b))
    }
}

/// AVX2: two registers of eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2([__m256i; 2]);

impl Avx2 {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(__m256i, __m256i) -> __m256i) -> Self {
        Self([f(self.0[0], other.0[0]), f(self.0[1], other.0[1])])
    }

    /// The low 16 bits of each; they must mean the same number.
    #[inline(always)]
    fn packed(self) -> __m256i {
        // Packing works within halves of a register: the middle quarters change places.
        intrinsics!(_mm256_permute4x64_epi64::<0xD8>(_mm256_packs_epi32(self.0[0], self.0[1])))
    }
}

impl Vector for Avx2 {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([intrinsics!(_mm256_set1_epi32(x)); 2])
    }

    #[inline(always)]
    fn from_i32(x: &[i32; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        Self([low, high].map(|half| intrinsics!(_mm256_loadu_si256(half.as_ptr().cast()))))
    }

    #[inline(always)]
    fn from_i16(x: &[i16; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        let wide =
            |half: &[i16; 8]| intrinsics!(_mm256_cvtepi16_epi32(_mm_loadu_si128(half.as_ptr().cast())));
        Self([wide(low), wide(high)])
    }

    #[inline(always)]
    fn from_i8(x: &[i8; WIDTH]) -> Self {
        let [low, high] = x.as_chunks::<8>().0 else { return Self::splat(0) };
        let wide = |half: &[i8; 8]| intrinsics!(_mm256_cvtepi8_epi32(_mm_loadl_epi64(half.as_ptr().cast())));
        Self([wide(low), wide(high)])
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
        let mut to = [0; WIDTH];
        // Sign-extended first, so that packing saturates nothing.
        intrinsics!(_mm256_storeu_si256(to.as_mut_ptr().cast(), self.shl(16).shr(16).packed()));
        to
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; WIDTH] {
        self.to_i16().map(|x| x as i8)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_add_epi32(a, b)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_sub_epi32(a, b)))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_mullo_epi32(a, b)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_min_epi32(a, b)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_max_epi32(a, b)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| intrinsics!(_mm256_and_si256(a, b)))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(self.0.map(|x| intrinsics!(_mm256_sll_epi32(x, _mm_cvtsi32_si128(bits as i32 & 31)))))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(self.0.map(|x| intrinsics!(_mm256_sra_epi32(x, _mm_cvtsi32_si128(bits as i32 & 31)))))
    }

    #[inline(always)]
    fn shr_each(self, bits: Self) -> Self {
        self.zip(bits, |x, bits| intrinsics!(_mm256_srav_epi32(x, bits)))
    }

    #[inline(always)]
    fn lookup(self) -> (Self, Self) {
        let at = self.and(Self::splat(511));
        // Two entries a lane; the last index reads the table's last two: all reads are inside.
        let both = Self(at.0.map(|at| intrinsics!(_mm256_i32gather_epi32::<2>(TABLE.as_ptr().cast(), at))));
        (both.shl(16).shr(16), both.shr(16))
    }

    #[inline(always)]
    fn dot<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        panels.map(|panel| {
            let zero = intrinsics!(_mm256_setzero_si256());
            // Four rows a register, each as two sums side by side.
            let mut sums = [zero; 4];
            for (tile, x) in panel.as_chunks::<{ 4 * WIDTH }>().0.iter().zip(columns.as_chunks::<4>().0) {
                let x = intrinsics!(_mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(
                    i32::from_le_bytes(*x)
                ))));
                for (sum, rows) in sums.iter_mut().zip(tile.as_chunks::<16>().0) {
                    *sum = intrinsics!(_mm256_add_epi32(
                        *sum,
                        _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(rows.as_ptr().cast())), x)
                    ));
                }
            }
            let [a, b, c, d] = sums;
            let join = |a, b| intrinsics!(_mm256_permute4x64_epi64::<0xD8>(_mm256_hadd_epi32(a, b)));
            Self([join(a, b), join(c, d)])
        })
    }
}
