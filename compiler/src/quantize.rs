//! Real numbers to the integers of `docs/quantization.md`: multipliers, rows, fraction bits, tables.
//!
//! Everything here is exact IEEE arithmetic on `f64` (products, sums, roundings, powers of two), so that any host
//! makes the same bytes.

use kinglet::blob::schema::Multiplier;
use kinglet::fixed::MAX_MANTISSA;

/// Scale of hidden states, contexts and encoder outputs that enter a product.
pub const ACTIVATION: f64 = 1.0 / 128.0;
/// Unit of the sums that enter a sigmoid or a tanh: Q3.12.
pub const GATE: f64 = 1.0 / 4096.0;
/// How much further than the largest calibrated magnitude a type must reach.
pub const MARGIN: f64 = 1.25;

/// Accumulators of products stay below 2^28, so a bias below this never overflows 32 bits.
const MAX_BIAS: f64 = (1u32 << 29) as f64;
/// Accumulator value of the bias of a row whose weights are all zero.
const LONE_BIAS: f64 = (1u32 << 20) as f64;

/// Width of a requantized result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Saturates to [-127, 127].
    I8,
    /// Saturates to 16 bits.
    I16,
}

/// What turns a row's accumulator into its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Start of the accumulator, with the rounding of the first shift.
    pub bias: i32,
    /// Accumulator units to result units.
    pub multiplier: Multiplier,
}

impl Record {
    /// Record of a row that only pads.
    pub const PADDING: Self = Self { bias: 0, multiplier: Multiplier { mantissa: 0, pre: 0, post: 1 } };
}

/// One quantized row of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As many as the row had weights.
    pub weights: Vec<i8>,
    /// A weight is its integer times this.
    pub scale: f64,
    /// Bias and requantization.
    pub record: Record,
}

/// `2^exponent`, exact.
pub fn power_of_two(exponent: i32) -> f64 {
    libm::ldexp(1.0, exponent)
}

/// The multiplier nearest to a factor, for results of the given width.
///
/// The mantissa lies in [16320, 32640]; `post` is as large as the width allows and `pre` takes the rest (see
/// `docs/quantization.md`, "Requantization"). Zero and factors below 2^-62 give mantissa 0 or a small one, factors
/// above 16320 the largest that there is.
pub fn multiplier(factor: f64, bits: Bits) -> Multiplier {
    let most_post = match bits {
        Bits::I16 => 15,
        Bits::I8 => 23,
    };
    let least = f64::from(MAX_MANTISSA / 2);
    for exponent in 1..=most_post + 31 {
        let mantissa = (factor * power_of_two(exponent)).round();
        if mantissa > f64::from(MAX_MANTISSA) {
            break;
        }
        if mantissa >= least || exponent == most_post + 31 {
            let post = exponent.min(most_post);
            return Multiplier { mantissa: mantissa as u16, pre: (exponent - post) as u8, post: post as u8 };
        }
    }
    Multiplier { mantissa: MAX_MANTISSA, pre: 0, post: 1 }
}

/// Quantizes a row of weights and its bias so that the requantized accumulator counts `unit`s.
///
/// The inputs of the product are int8 of scale [`ACTIVATION`]; what has another scale is folded into `weights` before.
pub fn row(weights: &[f64], bias: f64, unit: f64, bits: Bits) -> Row {
    let largest = weights.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    let scale = if largest > 0.0 {
        (largest / 127.0).max(bias.abs() / ACTIVATION / MAX_BIAS)
    } else {
        bias.abs() / ACTIVATION / LONE_BIAS
    };
    if scale == 0.0 {
        return Row { weights: vec![0; weights.len()], scale, record: Record::PADDING };
    }
    let multiplier = multiplier(scale * ACTIVATION / unit, bits);
    let rounding = if multiplier.pre > 0 { 1 << (multiplier.pre - 1) } else { 0 };
    let bias = (bias / (scale * ACTIVATION)).round() as i32;
    Row {
        weights: weights.iter().map(|w| (w / scale).round() as i8).collect(),
        scale,
        record: Record { bias: bias.saturating_add(rounding), multiplier },
    }
}

/// A vector in int8 with one scale: the integers and the scale (0 when all values are).
pub fn vector(values: &[f32]) -> (Vec<i8>, f64) {
    let scale = values.iter().fold(0.0_f32, |m, v| m.max(v.abs())) as f64 / 127.0;
    let quantize = |&v: &f32| if scale > 0.0 { (f64::from(v) / scale).round() as i8 } else { 0 };
    (values.iter().map(quantize).collect(), scale)
}

/// The most fraction bits, at most `highest`, with which `largest`, times [`MARGIN`], fits 16 bits.
pub fn fraction_bits(largest: f32, highest: u8) -> u8 {
    let fits = |bits: &u8| f64::from(largest) * MARGIN * power_of_two(i32::from(*bits)) <= 32_767.0;
    (0..=highest).rev().find(fits).unwrap_or(0)
}

/// A token table in 16 bits: entries in units of `unit` divided by 2^shift, and the shift.
pub fn table(values: &[f64], unit: f64) -> (Vec<i16>, u8) {
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs())) / unit;
    let shift = (0..15).find(|&s| (largest / power_of_two(s)).round() <= 32_767.0).unwrap_or(15);
    let unit = unit * power_of_two(shift);
    (values.iter().map(|v| (v / unit).round() as i16).collect(), shift as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::fixed::{requantize, saturate_i8, saturate_i16};
    use proptest::prelude::*;

    fn real(m: Multiplier) -> f64 {
        f64::from(m.mantissa) * power_of_two(-i32::from(m.pre) - i32::from(m.post))
    }

    proptest! {
        #[test]
        fn multipliers_are_normalised_and_near(exponent in -31.0..13.0_f64, wide: bool) {
            let factor = exponent.exp2();
            let m = multiplier(factor, if wide { Bits::I16 } else { Bits::I8 });
            prop_assert!((16_320..=32_640).contains(&m.mantissa), "{m:?}");
            prop_assert!(m.pre <= 31 && (1..=23).contains(&m.post), "{m:?}");
            prop_assert!((real(m) / factor - 1.0).abs() < 4e-5, "{factor} {m:?}");
        }

        #[test]
        fn requantized_rows_agree_with_exact_arithmetic(
            weights in prop::collection::vec(-2.0..2.0_f64, 1..80),
            inputs in prop::collection::vec(-127..=127_i32, 80),
            bias in -3.0..3.0_f64,
            unit_bits in 3..14_i32,
            wide: bool,
        ) {
            let (bits, unit) = if wide {
                (Bits::I16, power_of_two(-unit_bits))
            } else {
                (Bits::I8, power_of_two(-unit_bits.min(7)))
            };
            let row = row(&weights, bias, unit, bits);
            let product: i32 = row.weights.iter().zip(&inputs).map(|(&w, x)| i32::from(w) * x).sum();
            let got = requantize(product + row.record.bias, row.record.multiplier);
            let exact = (f64::from(product) * row.scale * ACTIVATION + bias) / unit;
            // Half a step for each of the two shifts and for the bias.
            let bound = 1.0 + 0.5 * row.scale * ACTIVATION / unit + 4e-5 * exact.abs();
            if wide {
                let limit = 32_767.0 * 0.996;
                let exact = exact.clamp(-limit, limit);
                prop_assert!((f64::from(saturate_i16(got)).clamp(-limit, limit) - exact).abs() <= bound);
            } else {
                let exact = exact.clamp(-127.0, 127.0);
                prop_assert!((f64::from(saturate_i8(got)) - exact).abs() <= bound);
            }
        }

        #[test]
        fn fraction_bits_are_the_most_that_fit(largest in 0.001..5000.0_f32) {
            let bits = fraction_bits(largest, 15);
            prop_assert!(f64::from(largest) * MARGIN * power_of_two(bits.into()) <= 32_767.0);
            if bits < 15 {
                prop_assert!(f64::from(largest) * MARGIN * power_of_two(i32::from(bits) + 1) > 32_767.0);
            }
        }

        #[test]
        fn tables_round_to_the_nearest(values in prop::collection::vec(-40.0..40.0_f64, 1..50)) {
            let (entries, shift) = table(&values, GATE);
            for (v, e) in values.iter().zip(entries) {
                let unit = GATE * power_of_two(shift.into());
                prop_assert!((f64::from(e) * unit - v).abs() <= unit / 2.0);
            }
        }
    }

    #[test]
    fn factors_out_of_range_are_held() {
        assert_eq!(multiplier(0.0, Bits::I16).mantissa, 0);
        assert_eq!(multiplier(1e9, Bits::I8), Multiplier { mantissa: MAX_MANTISSA, pre: 0, post: 1 });
    }

    #[test]
    fn a_bias_without_weights_survives() {
        let row = row(&[0.0; 8], -1.5, GATE, Bits::I16);
        assert_eq!(requantize(row.record.bias, row.record.multiplier), -6144);
        assert_eq!(super::row(&[0.0; 8], 0.0, GATE, Bits::I16).record, Record::PADDING);
    }

    #[test]
    fn a_bias_far_above_its_weights_does_not_overflow() {
        let row = row(&[1e-9; 4], 2.0, GATE, Bits::I16);
        assert_eq!(requantize(row.record.bias, row.record.multiplier), 8192);
    }

    #[test]
    fn vectors_and_empty_ranges() {
        assert_eq!(vector(&[0.5, -1.0, 0.25]), (vec![64, -127, 32], 1.0 / 127.0));
        assert_eq!(vector(&[0.0, 0.0]), (vec![0, 0], 0.0));
        assert_eq!(fraction_bits(0.0, 12), 12);
        assert_eq!(fraction_bits(1e9, 12), 0);
    }
}
