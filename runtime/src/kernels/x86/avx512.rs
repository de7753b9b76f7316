//! AVX-512 with its byte products (VNNI).

#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Vector, WIDTH};
use crate::tables::HALF;

/// The positive half of the table of tanh without the last entry, which is the one before it.
static POSITIVE: [[i16; 32]; 8] = {
    assert!(HALF[256] == HALF[255]);
    let mut table = [[0; 32]; 8];
    let mut i = 0;
    while i < 256 {
        table[i / 32][i % 32] = HALF[i];
        i += 1;
    }
    table
};

/// Words of two registers, one after the other: the even ones and the odd ones.
const EVEN: [i32; WIDTH] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
const ODD: [i32; WIDTH] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];

/// Bytes of the low 16 bits of four numbers, each twice.
const TWICE: [u8; 16] = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];

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
    fn madd(self, other: Self) -> Self {
        Self(intrinsics!(_mm512_madd_epi16(self.0, other.0)))
    }

    #[inline(always)]
    fn entries(self) -> Self {
        // The index in both halves, one more in the high one. Registers are searched faster than memory is gathered.
        let twice = Self(intrinsics!(_mm512_shuffle_epi8(
            self.0,
            _mm512_broadcast_i32x4(_mm_loadu_si128(TWICE.as_ptr().cast()))
        )));
        let at = twice.add(Self::splat(1 << 16)).0;
        intrinsics!({
            let negative = _mm512_movepi16_mask(at);
            let at = _mm512_min_epu16(_mm512_abs_epi16(at), _mm512_set1_epi16(255));
            let odd = _mm512_test_epi16_mask(at, _mm512_set1_epi16(64));
            let low = _mm512_mask_blend_epi16(odd, Self::quarter(0, at), Self::quarter(1, at));
            let high = _mm512_mask_blend_epi16(odd, Self::quarter(2, at), Self::quarter(3, at));
            let upper = _mm512_test_epi16_mask(at, _mm512_set1_epi16(128));
            let value = _mm512_mask_blend_epi16(upper, low, high);
            Self(_mm512_mask_sub_epi16(value, negative, _mm512_setzero_si512(), value))
        })
    }

    #[inline(always)]
    fn records(records: &[[u8; 8]; WIDTH]) -> (Self, Self) {
        let [low, high] = records.as_chunks::<8>().0 else { return (Self::splat(0), Self::splat(0)) };
        let low = intrinsics!(_mm512_loadu_si512(low.as_ptr().cast()));
        let high = intrinsics!(_mm512_loadu_si512(high.as_ptr().cast()));
        let even = Self::from_i32(&EVEN).0;
        let odd = Self::from_i32(&ODD).0;
        let bias = intrinsics!(_mm512_permutex2var_epi32(low, even, high));
        let rest = intrinsics!(_mm512_permutex2var_epi32(low, odd, high));
        (Self(bias), Self(rest))
    }

    #[inline(always)]
    fn dot<const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        let columns = columns.as_chunks::<4>().0;
        let mut tiles = columns.len();
        for panel in panels {
            tiles = tiles.min(panel.len() / (4 * WIDTH));
        }
        // Two sums a panel, so that one need not wait for the other.
        let (mut first, mut second) = ([Self::splat(0); P], [Self::splat(0); P]);
        let (two, one) = columns.split_at(tiles & !1);
        for (at, [x, y]) in two.as_chunks::<2>().0.iter().enumerate() {
            // SAFETY: both tiles are below `tiles`, the number of tiles of the shortest panel.
            unsafe {
                Self::tile(&mut first, &panels, 2 * at, x);
                Self::tile(&mut second, &panels, 2 * at + 1, y);
            }
        }
        if tiles & 1 == 1
            && let Some(x) = one.first()
        {
            // SAFETY: as above.
            unsafe { Self::tile(&mut first, &panels, tiles - 1, x) };
        }
        for (first, second) in first.iter_mut().zip(second) {
            *first = first.add(second);
        }
        first
    }

    #[inline(always)]
    fn prefetch<const LINES: usize>(place: *const u8) {
        for line in 0..LINES {
            intrinsics!(_mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(64 * line).cast()));
        }
    }
}

impl Avx512 {
    /// Entries of a quarter of the table, by the low six bits of their indices.
    #[inline(always)]
    fn quarter(number: usize, at: __m512i) -> __m512i {
        let [low, high] = [&POSITIVE[2 * number], &POSITIVE[2 * number + 1]];
        intrinsics!(_mm512_permutex2var_epi16(
            _mm512_loadu_si512(low.as_ptr().cast()),
            at,
            _mm512_loadu_si512(high.as_ptr().cast())
        ))
    }

    /// Adds four columns of every panel to its sums.
    ///
    /// # Safety
    /// Every panel has a tile of that number.
    #[inline(always)]
    unsafe fn tile<const P: usize>(
        sums: &mut [Self; P],
        panels: &[&[u8]; P],
        number: usize,
        columns: &[u8; 4],
    ) {
        let x = Self::splat(i32::from_le_bytes(*columns));
        for (sum, panel) in sums.iter_mut().zip(panels) {
            // SAFETY: as the caller says.
            let tile = unsafe { panel.as_ptr().add(4 * WIDTH * number) };
            *sum = Self(intrinsics!(_mm512_dpbusd_epi32(sum.0, x.0, _mm512_loadu_si512(tile.cast()))));
        }
    }
}
