//! AVX-512 with its byte products (VNNI).

#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{Vector, WIDTH};
use crate::tables::{HALF, exp2_neg};

/// The positive half of the table of tanh without the last entry.
static ENTRIES: [[i16; 64]; 4] = positive(false);
/// From each entry to the next.
static RISES: [[i16; 64]; 4] = positive(true);

const fn positive(rises: bool) -> [[i16; 64]; 4] {
    let mut table = [[0; 64]; 4];
    let mut i = 0;
    while i < 256 {
        table[i / 64][i % 64] = if rises { HALF[i + 1] - HALF[i] } else { HALF[i] };
        i += 1;
    }
    table
}

/// Powers of two without the last, as unsigned numbers.
static POWERS: [i16; 64] = powers(false);
/// From each power to the next, downwards.
static FALLS: [i16; 64] = powers(true);

const fn powers(falls: bool) -> [i16; 64] {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        let power = exp2_neg(i << 9, 15);
        table[i as usize] = (if falls { power - exp2_neg((i + 1) << 9, 15) } else { power }) as u16 as i16;
        i += 1;
    }
    table
}

/// Words of two registers, one after the other: the even ones and the odd ones.
const EVEN: [i32; WIDTH] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
const ODD: [i32; WIDTH] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];

/// Four bytes of -8.
const EIGHTS: i32 = i32::from_le_bytes([(-8i8) as u8; 4]);
/// `a & b ^ c`, as a table of three bits' eight cases.
const AND_XOR: i32 = (0xF0 & 0xCC) ^ 0xAA;

/// No instruction at all, but one that a compiler takes for reading and writing a register.
#[target_feature(enable = "avx512f")]
#[inline]
fn pin(mut x: __m512i) -> __m512i {
    // SAFETY: a comment.
    unsafe { core::arch::asm!("/* {} */", inout(zmm_reg) x, options(nomem, nostack, preserves_flags)) };
    x
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
    fn tanh_steps<const A: u32, const B: u32>([a, b]: [Self; 2]) -> [Self; 2] {
        let each = |a: u32, b: u32| Self::words(a as i16, b as i16);
        intrinsics!({
            // Four words of the one and four of the other by turns.
            let x = _mm512_packs_epi32(a.0, b.0);
            let negative = _mm512_movepi16_mask(x);
            let at = _mm512_srav_epi16(x, each(A, B));
            // Of -k the place of k - 1.
            let at = _mm512_xor_si512(at, _mm512_srai_epi16::<15>(x));
            let rest =
                _mm512_and_si512(_mm512_sllv_epi16(x, each(15 - A, 15 - B)), _mm512_set1_epi16(0x7FFF));
            let far = A < 8 || B < 8;
            let (entry, rise) = (Self::entry(&ENTRIES, at, far), Self::entry(&RISES, at, far));
            // The entry of -k is minus that of k.
            let entry =
                _mm512_mask_sub_epi16(entry, negative, _mm512_setzero_si512(), _mm512_add_epi16(entry, rise));
            let y = _mm512_add_epi16(entry, _mm512_mulhrs_epi16(rise, rest));
            [_mm512_unpacklo_epi16(y, y), _mm512_unpackhi_epi16(y, y)]
                .map(|y| Self(_mm512_srai_epi32::<16>(y)))
        })
    }

    #[inline(always)]
    fn exp2_neg(self) -> Self {
        let at = self.shr(9);
        let (power, fall) = (Self(Self::sixty_four(&POWERS, at.0)), Self(Self::sixty_four(&FALLS, at.0)));
        let (power, fall) = (power.and(Self::splat(0xFFFF)), fall.and(Self::splat(0xFFFF)));
        power.sub(fall.mul(self.and(Self::splat(511))).shr(9))
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
    fn dot<const NIBBLES: bool, const P: usize>(panels: [&[u8]; P], columns: &[u8]) -> [Self; P] {
        let columns = columns.as_chunks::<8>().0;
        let bytes = if NIBBLES { 4 * WIDTH } else { 8 * WIDTH };
        let mut runs = columns.len();
        for panel in panels {
            runs = runs.min(panel.len() / bytes);
        }
        // Two sums a panel, so that one need not wait for the other.
        let (mut first, mut second) = ([Self::splat(0); P], [Self::splat(0); P]);
        let mut offset = Self::splat(0);
        for (at, columns) in columns.iter().take(runs).enumerate() {
            let [x, y] = Self::fours(columns);
            if NIBBLES {
                offset = offset.add_products(x, Self::splat(EIGHTS));
            }
            for ((first, second), panel) in first.iter_mut().zip(&mut second).zip(panels) {
                // SAFETY: every panel has so many bytes for each of its runs, of which there are at least `runs`.
                let place = unsafe { panel.as_ptr().add(bytes * at) };
                // SAFETY: as above.
                let [a, b] = unsafe { if NIBBLES { Self::nibbles(place) } else { Self::bytes(place) } };
                *first = first.add_products(x, a);
                *second = second.add_products(y, b);
            }
        }
        for (first, second) in first.iter_mut().zip(second) {
            *first = first.add(if NIBBLES { offset.add(second.shr(4)) } else { second });
        }
        first
    }

    #[inline(always)]
    fn pin(self) -> Self {
        Self(intrinsics!(pin(self.0)))
    }

    #[inline(always)]
    fn prefetch<const LINES: usize>(place: *const u8) {
        for line in 0..LINES {
            intrinsics!(_mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(64 * line).cast()));
        }
    }
}

impl Avx512 {
    /// Four words of the one and four of the other by turns.
    #[inline(always)]
    fn words(a: i16, b: i16) -> __m512i {
        let four = |x: i16| (x as u16 as u64 * 0x1_0001_0001_0001) as i64;
        intrinsics!(_mm512_set4_epi64(four(b), four(a), four(b), four(a)))
    }

    /// Entries of a table at the low six bits of words. Registers are searched faster than memory is gathered.
    #[inline(always)]
    fn sixty_four(table: &[i16; 64], at: __m512i) -> __m512i {
        let [low, high] = [table.as_ptr(), table.as_ptr().wrapping_add(32)];
        intrinsics!(_mm512_permutex2var_epi16(
            _mm512_loadu_si512(low.cast()),
            at,
            _mm512_loadu_si512(high.cast())
        ))
    }

    /// Entries of a table at words below 128, or, if `far`, 256.
    #[inline(always)]
    fn entry(table: &[[i16; 64]; 4], at: __m512i, far: bool) -> __m512i {
        let [a, b, c, d] = table;
        intrinsics!({
            let odd = _mm512_test_epi16_mask(at, _mm512_set1_epi16(64));
            let low = _mm512_mask_blend_epi16(odd, Self::sixty_four(a, at), Self::sixty_four(b, at));
            if !far {
                return low;
            }
            let high = _mm512_mask_blend_epi16(odd, Self::sixty_four(c, at), Self::sixty_four(d, at));
            _mm512_mask_blend_epi16(_mm512_test_epi16_mask(at, _mm512_set1_epi16(128)), low, high)
        })
    }

    /// Four columns and the next four, in every lane.
    #[inline(always)]
    fn fours(columns: &[u8; 8]) -> [Self; 2] {
        let [a, b, c, d, e, f, g, h] = *columns;
        [Self::splat(i32::from_le_bytes([a, b, c, d])), Self::splat(i32::from_le_bytes([e, f, g, h]))]
    }

    /// Adds each lane's four products of unsigned and signed bytes.
    #[inline(always)]
    fn add_products(self, columns: Self, weights: Self) -> Self {
        Self(intrinsics!(_mm512_dpbusd_epi32(self.0, columns.0, weights.0)))
    }

    /// Weights of four columns and of the next four.
    ///
    /// # Safety
    /// 128 bytes can be read.
    #[inline(always)]
    unsafe fn bytes(place: *const u8) -> [Self; 2] {
        intrinsics!([
            Self(_mm512_loadu_si512(place.cast())),
            Self(_mm512_loadu_si512(place.wrapping_add(4 * WIDTH).cast())),
        ])
    }

    /// Weights of four columns plus 8, and sixteen times those of the next four.
    ///
    /// # Safety
    /// 64 bytes can be read.
    #[inline(always)]
    unsafe fn nibbles(place: *const u8) -> [Self; 2] {
        let both = Self(intrinsics!(_mm512_loadu_si512(place.cast())));
        let high = intrinsics!(_mm512_ternarylogic_epi32::<{ AND_XOR }>(
            both.0,
            _mm512_set1_epi8(-16),
            _mm512_set1_epi8(-128)
        ));
        [both.and(Self::splat(0x0F0F_0F0F)), Self(high)]
    }
}
