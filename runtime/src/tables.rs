//! Sigmoid, tanh, 2^-x and log2(1 + x) in fixed point.
//!
//! Each table is computed while the crate compiles, by series in IEEE doubles, so that every host builds the
//! same bytes. Lookups interpolate linearly; the tests below measure the errors that the documentation states.

use crate::fixed::shift_round;

/// `tanh` over [0, 8], step 1/32, Q0.15; the last entry closes the last interval.
pub(crate) const HALF: [i16; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 257 {
        let e = exp(-2.0 * i as f64 / 32.0);
        table[i] = q15((1.0 - e) / (1.0 + e));
        i += 1;
    }
    table
};

/// The same over [-8, 8]: half a kilobyte more, a few instructions less.
#[cfg(any(test, not(armv6m)))]
pub(crate) const TANH: [i16; 513] = {
    let mut table = [0; 513];
    let mut i = 0;
    while i < 257 {
        table[256 + i] = HALF[i];
        table[256 - i] = -HALF[i];
        i += 1;
    }
    table
};

/// `tanh` of `(i - 256) / 32`, i up to 512.
#[cfg(not(armv6m))]
#[inline(always)]
const fn tanh_entry(i: usize) -> i32 {
    TANH[i] as i32
}

/// `tanh` of `(i - 256) / 32`, i up to 512.
#[cfg(armv6m)]
#[inline(always)]
const fn tanh_entry(i: usize) -> i32 {
    let k = if i < 256 { 256 - i } else { i - 256 };
    let v = HALF[if k < 256 { k } else { 256 }] as i32;
    if i < 256 { -v } else { v }
}

/// `2^-x` over [0, 1], step 1/64, in 2^-15.
const EXP2: [u16; 65] = {
    let mut table = [0; 65];
    let mut i = 0;
    while i < 65 {
        table[i] = (exp(-core::f64::consts::LN_2 * i as f64 / 64.0) * 32_768.0 + 0.5) as u16;
        i += 1;
    }
    table
};

/// `log2(1 + x)` over [0, 1], step 1/64, in 2^-16; the last entry is 2^16 - 1.
const LOG2: [u16; 65] = {
    let mut table = [0; 65];
    let mut i = 0;
    while i < 65 {
        let v = ln(1.0 + i as f64 / 64.0) / core::f64::consts::LN_2 * 65_536.0 + 0.5;
        table[i] = if v > 65_535.0 { 65_535 } else { v as u16 };
        i += 1;
    }
    table
};

/// e^x for x in [-16, 0]: Taylor series of x/256, squared eight times.
const fn exp(x: f64) -> f64 {
    let y = x / 256.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1);
    while k < 20 {
        term *= y / k as f64;
        sum += term;
        k += 1;
    }
    let mut squarings = 0;
    while squarings < 8 {
        sum *= sum;
        squarings += 1;
    }
    sum
}

/// Natural logarithm of y in [1, 2]: 2 artanh((y - 1) / (y + 1)).
const fn ln(y: f64) -> f64 {
    let z = (y - 1.0) / (y + 1.0);
    let (mut sum, mut power, mut k) = (0.0, z, 1);
    while k < 60 {
        sum += power / k as f64;
        power *= z * z;
        k += 2;
    }
    2.0 * sum
}

const fn q15(v: f64) -> i16 {
    let scaled = v * 32_768.0 + 0.5;
    if scaled > 32_767.0 { 32_767 } else { scaled as i16 }
}

/// `tanh` of `x`; one table step is `2^STEP` units of x, 7 or more.
// On the smallest core one copy for all callers of a step: there its flash is worth more than a call.
#[cfg_attr(armv6m, inline(never))]
#[cfg_attr(not(armv6m), inline(always))]
pub(crate) const fn tanh_steps<const STEP: u32>(x: i16) -> i32 {
    let x = x as i32;
    // At most 511, so that the mask changes nothing; it tells the compiler that no index is out of bounds.
    let i = ((x >> STEP) + 256) as usize & 511;
    let (low, high) = (tanh_entry(i), tanh_entry(i + 1));
    low + shift_round((high - low) * (x & ((1 << STEP) - 1)), STEP)
}

/// The table that assembly reads: the middle of that over [-8, 8], or, on the smallest core, the positive half.
#[cfg(any(armv6m, armv7m, arm_dsp))]
pub(crate) fn tanh_table() -> *const i16 {
    #[cfg(armv6m)]
    let table: &'static [i16] = &HALF;
    #[cfg(not(armv6m))]
    let table: &'static [i16] = TANH.get(256..).unwrap_or(&[]);
    table.as_ptr()
}

/// The table of 2^-x that assembly reads.
#[cfg(any(armv7m, arm_dsp))]
pub(crate) fn exp2_table() -> *const u16 {
    let table: &'static [u16; 65] = &EXP2;
    table.as_ptr()
}

/// Hyperbolic tangent of a Q3.12 number, Q0.15; error below 1.3e-4.
#[inline]
pub const fn tanh(x: i16) -> i16 {
    tanh_steps::<7>(x) as i16
}

/// Logistic sigmoid of a Q3.12 number, Q0.15; error below 3.7e-4 (its value at 8), 7.5e-5 within [-7, 7].
#[inline]
pub const fn sigmoid(x: i16) -> i16 {
    ((32_768 + tanh_steps::<8>(x)) >> 1) as i16
}

/// `2^-(x / 2^bits)` in 2^-15, 0 to 32768; `bits` is 0 to 15; error below 2 units.
#[inline(never)]
pub const fn exp2_neg(x: u32, bits: u32) -> u32 {
    let whole = x >> bits;
    if whole > 15 {
        return 0;
    }
    let fraction = ((x << (15 - bits)) & 0x7FFF) as usize;
    let i = fraction >> 9;
    let (high, low) = (EXP2[i & 63] as u32, EXP2[(i & 63) + 1] as u32);
    (high - (((high - low) * (fraction as u32 & 511)) >> 9)) >> whole
}

/// `log2(x)` in 2^-16 for x >= 1 (0 gives 0); error below 7e-5.
#[inline]
pub const fn log2(x: u32) -> u32 {
    let zeros = x.leading_zeros();
    if zeros > 31 {
        return 0;
    }
    // 16 fraction bits of the mantissa, below the leading one.
    let fraction = (x << zeros << 1) >> 16;
    let i = (fraction >> 10) as usize;
    let (low, high) = (LOG2[i & 63] as u32, LOG2[(i & 63) + 1] as u32);
    ((31 - zeros) << 16) + low + (((high - low) * (fraction & 1023)) >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_with_libm() {
        for (i, &t) in TANH.iter().enumerate() {
            let want = (libm::tanh((i as f64 - 256.0) / 32.0) * 32_768.0).round();
            assert_eq!(t as f64, want.clamp(-32_767.0, 32_767.0), "tanh {i}");
        }
        for (i, &t) in EXP2.iter().enumerate() {
            assert_eq!(t as f64, (libm::exp2(-(i as f64) / 64.0) * 32_768.0).round(), "exp2 {i}");
        }
        for (i, &t) in LOG2.iter().enumerate() {
            let want = (libm::log2(1.0 + i as f64 / 64.0) * 65_536.0).round().min(65_535.0);
            assert_eq!(t as f64, want, "log2 {i}");
        }
    }

    #[test]
    fn errors_are_as_documented() {
        let (mut worst_tanh, mut worst_sigmoid, mut worst_inner) = (0f64, 0f64, 0f64);
        for x in i16::MIN..=i16::MAX {
            let real = x as f64 / 4096.0;
            worst_tanh = worst_tanh.max((tanh(x) as f64 / 32_768.0 - libm::tanh(real)).abs());
            let error = (sigmoid(x) as f64 / 32_768.0 - 1.0 / (1.0 + libm::exp(-real))).abs();
            worst_sigmoid = worst_sigmoid.max(error);
            if real.abs() <= 7.0 {
                worst_inner = worst_inner.max(error);
            }
        }
        assert!(worst_tanh < 1.3e-4, "{worst_tanh}");
        assert!(worst_sigmoid < 3.7e-4, "{worst_sigmoid}");
        assert!(worst_inner < 7.5e-5, "{worst_inner}");
        for x in 0..40_000u32 {
            for bits in [6, 10, 15] {
                let want = libm::exp2(-(x as f64) / (1u32 << bits) as f64) * 32_768.0;
                assert!((exp2_neg(x, bits) as f64 - want).abs() < 2.0, "{x} {bits}");
            }
        }
        for x in (1..70_000u32).chain([1 << 20, u32::MAX, 123_456_789]) {
            assert!((log2(x) as f64 / 65_536.0 - libm::log2(x as f64)).abs() < 7e-5, "{x}");
        }
    }

    #[test]
    fn functions_are_odd_and_monotone() {
        for x in 1..=i16::MAX {
            // Odd but for the rounding of halves, which goes up on both sides.
            assert!((tanh(-x) + tanh(x)).abs() <= 1);
            assert!(tanh(x) >= tanh(x - 1) && sigmoid(x) >= sigmoid(x - 1), "{x}");
        }
    }
}
