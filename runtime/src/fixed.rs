//! All rounding and saturation of the runtime, in one place.
//!
//! Integers alone, no 64-bit product, the same bits on every core.

use crate::blob::schema::Multiplier;

/// Most that a mantissa may be, so that `2^16 * mantissa` plus the rounding constant stays below 2^31.
pub const MAX_MANTISSA: u16 = 32_640;

/// The accumulator times `mantissa / 2^(pre + post)`, before saturation to the result's type.
///
/// `clamp(accumulator >> pre, -2^16, 2^16 - 1) * mantissa`, then a right shift by `post` that rounds half up.
/// The rounding of the first shift is folded into the bias by the compiler (`+ 2^(pre-1)`).
#[inline(always)]
pub const fn scale(accumulator: i32, mantissa: u16, pre: u8, post: u8) -> i32 {
    let mut x = accumulator >> (pre & 31);
    if x > 0xFFFF {
        x = 0xFFFF;
    }
    if x < -0x1_0000 {
        x = -0x1_0000;
    }
    shift_round(x.wrapping_mul(mantissa as i32), post as u32)
}

/// [`scale`] by a multiplier.
#[inline(always)]
pub const fn requantize(accumulator: i32, m: Multiplier) -> i32 {
    scale(accumulator, m.mantissa, m.pre, m.post)
}

/// `x / 2^bits`, rounded half up (0 gives `x`).
#[inline(always)]
pub const fn shift_round(x: i32, bits: u32) -> i32 {
    let bits = bits & 31;
    x.wrapping_add((1 << bits) >> 1) >> bits
}

/// Saturates to 16 bits.
#[inline(always)]
pub const fn saturate_i16(x: i32) -> i16 {
    if x > 32_767 {
        32_767
    } else if x < -32_768 {
        -32_768
    } else {
        x as i16
    }
}

/// Saturates to the symmetric int8 range [-127, 127].
#[inline(always)]
pub const fn saturate_i8(x: i32) -> i8 {
    if x > 127 {
        127
    } else if x < -127 {
        -127
    } else {
        x as i8
    }
}

/// A Q0.15 value as int8 of scale 2^-7, rounded half up, at most 127.
#[inline(always)]
pub const fn q15_to_i8(x: i16) -> i8 {
    saturate_i8((x as i32 + 128) >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requantize_is_the_rounded_product() {
        for (acc, mantissa, pre, post) in
            [(0, 16_384, 0, 15), (100, 16_384, 0, 15), (-101, 20_000, 3, 15), (1 << 30, 32_640, 16, 15)]
        {
            let m = Multiplier { mantissa, pre, post };
            let shifted = (acc >> pre) as f64;
            let want =
                (shifted.clamp(-65_536.0, 65_535.0) * mantissa as f64 / 2f64.powi(post as i32) + 0.5).floor();
            assert_eq!(requantize(acc, m) as f64, want, "{acc} {m:?}");
        }
    }

    #[test]
    fn extremes_stay_in_range() {
        let m = Multiplier { mantissa: MAX_MANTISSA, pre: 0, post: 23 };
        assert_eq!(requantize(i32::MAX, m), 255);
        assert_eq!(requantize(i32::MIN, m), -255);
        let m = Multiplier { mantissa: MAX_MANTISSA, pre: 0, post: 1 };
        assert!(requantize(i32::MAX, m) > 1 << 29);
        assert!(requantize(i32::MIN, m) < -(1 << 29));
    }

    #[test]
    fn q15_rounds_to_the_nearest_byte() {
        assert_eq!(q15_to_i8(i16::MAX), 127);
        assert_eq!(q15_to_i8(i16::MIN), -127);
        assert_eq!(q15_to_i8(127), 0);
        assert_eq!(q15_to_i8(128), 1);
        assert_eq!(q15_to_i8(-128), 0);
        assert_eq!(q15_to_i8(-129), -1);
    }
}
