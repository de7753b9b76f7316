//! `exp`, `tanh`, `sigmoid` without branches or tables, so that loops over them vectorise.
//!
//! `exp(x) = 2^n · e^r` with `n = round(x / ln 2)` and `|r| <= ln 2 / 2`; the Taylor polynomial of `e^r` to
//! the seventh degree is exact to 5e-9 there. The same bits come out on every host: only f32 additions,
//! products and divisions are used, never the system's mathematics library.

/// Adding this to |x| < 2^22 leaves round(x) in the low bits of the sum.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with so few bits that `n * LN2_HIGH` is exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;

/// `(2^n, e^r - 1)` such that `exp(x) = 2^n (1 + (e^r - 1))`, for -87 <= x <= 88.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let tail = 1.0 / 5040.0;
    let tail = tail * r + 1.0 / 720.0;
    let tail = tail * r + 1.0 / 120.0;
    let tail = tail * r + 1.0 / 24.0;
    let tail = tail * r + 1.0 / 6.0;
    let tail = tail * r + 0.5;
    let power = (shifted.to_bits() << 23).wrapping_add(0x3F80_0000);
    (f32::from_bits(power), r + r * r * tail)
}

/// Not a number passes through both comparisons, as it should.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// e^x; below -87 it stays at e^-87 (1.6e-38), above 88 at e^88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (power, fraction) = split(clamp(x, -87.0, 88.0));
    power + power * fraction
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, as `(e^2x - 1) / (e^2x + 1)` without cancellation near zero.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Beyond 9.02 the nearest f32 is 1.
    let (power, fraction) = split(2.0 * clamp(x, -10.0, 10.0));
    let minus_one = power * fraction + (power - 1.0);
    minus_one / (minus_one + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(f: fn(f32) -> f32, exact: fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let steps = 200_000;
        let point = |i: i32| low + (high - low) * i as f32 / steps as f32;
        let error = |x: f32| {
            let e = exact(f64::from(x));
            if e == 0.0 { f64::from(f(x)).abs() } else { ((f64::from(f(x)) - e) / e).abs() }
        };
        (0..=steps).map(point).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn relative_errors() {
        for (low, high) in [(-87.0, 88.0), (-1.0, 1.0), (-1e-3, 1e-3)] {
            let e = worst(exp, f64::exp, low, high);
            assert!(e < 2e-7, "exp {low}..{high}: {e:e}");
        }
        for (low, high) in [(-20.0, 20.0), (-1.0, 1.0), (-1e-3, 1e-3), (-1e-20, 1e-20)] {
            let e = worst(tanh, f64::tanh, low, high);
            assert!(e < 4e-7, "tanh {low}..{high}: {e:e}");
            let e = worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), low, high);
            assert!(e < 4e-7, "sigmoid {low}..{high}: {e:e}");
        }
    }

    #[test]
    fn extremes() {
        assert_eq!((tanh(1e30), tanh(f32::NEG_INFINITY), tanh(0.0)), (1.0, -1.0, 0.0));
        assert_eq!((sigmoid(1e30), exp(0.0)), (1.0, 1.0));
        assert!(sigmoid(-1e30) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
