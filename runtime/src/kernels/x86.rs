//! x86-64: AVX-512 with its byte products (VNNI), or AVX2, found while the program runs, or SSE2.

use super::vector::{Vector, WIDTH};
use crate::tables::TANH;

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

/// Vectors whose table of tanh is read two entries at a time.
trait Pairs: Vector {
    /// Products of the low and of the high 16 bits, as signed numbers, added.
    fn madd(self, other: Self) -> Self;
    /// Each one's entry of the table of tanh in the low 16 bits and the entry behind it in the high ones. Indices count from the
    /// middle: -256 to 255.
    fn entries(self) -> Self;
}

/// Two entries of the table of tanh side by side.
#[inline(always)]
fn pair(index: i32) -> i32 {
    let at = index.wrapping_add(256) as usize & 511;
    i32::from(TANH[at] as u16) | i32::from(TANH[at + 1]) << 16
}

/// The table of tanh at numbers saturated to 16 bits, `2^step` from entry to entry.
#[inline(always)]
fn by_pairs<V: Pairs>(x: V, step: u32) -> V {
    let x = x.min(V::splat(32_767)).max(V::splat(-32_768));
    // (1 - rest) times an entry and rest times the next.
    let rest = x.and(V::splat((1 << step) - 1));
    let shares = rest.shl(16).sub(rest).add(V::splat(1 << step));
    x.shr(step).entries().madd(shares).add(V::splat((1 << step) >> 1)).shr(step)
}

/// Sum of columns: nibbles are eight more than what they mean.
#[inline(always)]
fn total(columns: &[u8]) -> i32 {
    columns.iter().map(|&x| i32::from(x)).sum()
}

mod avx2;
mod avx512;
mod sse2;
pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;
pub(crate) use sse2::Sse2;
