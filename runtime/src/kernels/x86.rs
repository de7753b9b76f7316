//! x86-64: AVX-512 with its byte products (VNNI), or AVX2, found while the program runs, or SSE2.

use super::vector::{Vector, WIDTH, pair};

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

mod avx2;
mod avx512;
mod sse2;
pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;
pub(crate) use sse2::Sse2;
