//! Accumulators to 16-bit results: the multipliers of a product's rows, and their exact effect.

use kinglet::fixed::{MAX_MANTISSA, saturate_i16, shift_round};

use super::row::{ACTIVATION, Row};

/// Unit of the sums that enter a sigmoid or a tanh: Q3.12.
pub const GATE: f64 = 1.0 / 4096.0;
/// How much further than the largest calibrated magnitude a type must reach.
pub const MARGIN: f64 = 1.25;
/// Width of what a product's results become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// int8: keys of attention.
    I8,
    /// 16 bits: all else.
    I16,
}

impl Width {
    /// log2 of how many times the range is smaller than that of 16 bits.
    fn spare(self) -> i32 {
        match self {
            Self::I8 => 8,
            Self::I16 => 0,
        }
    }
}

/// What turns the accumulators of a product into 16-bit results, a value for each row:
/// `saturate(round(clamp((accumulator + bias) >> pre) * mantissa / 2^post))`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// Start of the accumulator, with the rounding of the first shift.
    pub bias: Vec<i32>,
    /// At most [`MAX_MANTISSA`]; 0 where the result is always 0.
    pub mantissa: Vec<u16>,
    /// First shift, at most 31.
    pub pre: Vec<u8>,
    /// Last shift, 1 to 15; to 23 for int8 results.
    pub post: Vec<u8>,
}

impl Records {
    /// The records of a matrix whose results count the given units, row by row. All its rows have the same last shift.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a Row, f64)>, width: Width) -> Self {
        let factors: Vec<(f64, i32)> =
            rows.into_iter().map(|(row, unit)| (row.scale * ACTIVATION / unit, row.bias)).collect();
        let post = last_shift(factors.iter().fold(0.0_f64, |m, f| m.max(f.0)), width);
        let mut records = Self::default();
        for (factor, bias) in factors {
            let (mantissa, pre) = if factor > 0.0 { multiplier(factor, post, width) } else { (0, 0) };
            // The first shift rounds down; half a step makes it round to the nearest.
            let rounding = if pre > 0 { 1 << (pre - 1) } else { 0 };
            records.bias.push(bias.saturating_add(rounding));
            records.mantissa.push(mantissa);
            records.pre.push(pre);
            records.post.push(post as u8);
        }
        records
    }

    /// The record of one factor, for 16-bit results and without a bias.
    pub fn of_factor(factor: f64) -> Self {
        let post = last_shift(factor, Width::I16);
        let (mantissa, pre) = multiplier(factor, post, Width::I16);
        Self { bias: vec![0], mantissa: vec![mantissa], pre: vec![pre], post: vec![post as u8] }
    }

    /// Adds the records of another matrix behind these.
    pub fn extend(&mut self, other: Self) {
        self.bias.extend(other.bias);
        self.mantissa.extend(other.mantissa);
        self.pre.extend(other.pre);
        self.post.extend(other.post);
    }

    /// The saturated result of a row's accumulator.
    #[inline(always)]
    pub fn result(&self, row: usize, accumulator: i32) -> i16 {
        let x = accumulator.wrapping_add(self.bias[row]) >> (self.pre[row] & 31);
        let x = x.clamp(-0x1_0000, 0xFFFF);
        saturate_i16(shift_round(x.wrapping_mul(i32::from(self.mantissa[row])), u32::from(self.post[row])))
    }
}

/// The last shift of rows whose largest factor is `largest`.
fn last_shift(largest: f64, width: Width) -> i32 {
    let fits = |post: &i32| largest * power_of_two(*post) <= f64::from(MAX_MANTISSA);
    (1..=15 + width.spare()).rev().find(fits).unwrap_or(1)
}

/// Mantissa and first shift of a factor, given the last shift. The mantissa is the largest with which one step of the shifted
/// accumulator is no more than one of the result: a finer step would let the 17 bits of the shifted accumulator saturate
/// before the result does.
fn multiplier(factor: f64, post: i32, width: Width) -> (u16, u8) {
    let most = power_of_two(post - width.spare()).clamp(1.0, f64::from(MAX_MANTISSA));
    let mantissa = |pre: i32| (factor * power_of_two(pre + post)).round();
    let pre = (0..=31).rev().find(|&pre| mantissa(pre) <= most).unwrap_or(0);
    (mantissa(pre).min(f64::from(MAX_MANTISSA)) as u16, pre as u8)
}

/// `2^exponent`, exact.
pub fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// The most fraction bits, at most `highest`, with which `largest`, times [`MARGIN`], fits 16 bits.
pub fn fraction_bits(largest: f64, highest: u8) -> u8 {
    let fits = |bits: &u8| largest * MARGIN * power_of_two(i32::from(*bits)) <= 32_767.0;
    (0..=highest).rev().find(fits).unwrap_or(0)
}

/// A token table in 16 bits: entries in units of `unit` times 2^shift, and the shift.
pub fn table(values: &[f64], unit: f64) -> (Vec<i16>, u8) {
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs())) / unit;
    let shift = (0..15).find(|&s| (largest / power_of_two(s)).round() <= 32_767.0).unwrap_or(15);
    let unit = unit * power_of_two(shift);
    (values.iter().map(|v| (v / unit).round() as i16).collect(), shift as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Kind, row};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn results_agree_with_exact_arithmetic(
            weights in prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, 24), 1..5),
            inputs in prop::collection::vec(-127..=127_i32, 24),
            bias in -3.0..3.0_f64,
            unit_bits in 3..14_i32,
            kind in prop::sample::select(vec!["int8", "int4", "int4:16"]),
        ) {
            let kind: Kind = kind.parse().unwrap();
            let unit = power_of_two(-unit_bits);
            let rows: Vec<Row> = weights.iter().map(|w| row(&[w], bias, kind)).collect();
            let records = Records::new(rows.iter().map(|row| (row, unit)), Width::I16);
            for (i, row) in rows.iter().enumerate() {
                let weight = |c: usize| {
                    let m = if kind.group() > 0 { row.multipliers[c / kind.group()].into() } else { 1 };
                    i32::from(row.weights[c]) * m
                };
                let sum: i32 = inputs.iter().enumerate().map(|(c, x)| weight(c) * x).sum();
                let exact = (f64::from(sum) * row.scale * ACTIVATION + bias) / unit;
                let got = f64::from(records.result(i, sum));
                // Half a step for each shift and for the bias; the mantissa has at least 9 bits here.
                let bound = 1.1 + 0.5 * row.scale * ACTIVATION / unit + 2e-3 * exact.abs();
                let limit = 32_767.0 * 0.99;
                prop_assert!((got.clamp(-limit, limit) - exact.clamp(-limit, limit)).abs() <= bound, "{got} {exact}");
            }
        }

        #[test]
        fn multipliers_of_factors_below_one_have_fifteen_bits(exponent in -31.0..-0.01_f64) {
            let factor = exponent.exp2();
            let records = Records::of_factor(factor);
            prop_assert_eq!(records.post[0], 15);
            prop_assert!((16_320..=MAX_MANTISSA).contains(&records.mantissa[0]), "{records:?}");
            let real = f64::from(records.mantissa[0]) * power_of_two(-15 - i32::from(records.pre[0]));
            prop_assert!((real / factor - 1.0).abs() < 4e-5);
        }

        #[test]
        fn fraction_bits_are_the_most_that_fit(largest in 0.001..5000.0_f64) {
            let bits = fraction_bits(largest, 15);
            prop_assert!(largest * MARGIN * power_of_two(bits.into()) <= 32_767.0);
            if bits < 15 {
                prop_assert!(largest * MARGIN * power_of_two(i32::from(bits) + 1) > 32_767.0);
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
    fn extremes_stay_in_range() {
        let records = Records::of_factor(1.0);
        assert_eq!(records.result(0, i32::MAX), i16::MAX);
        assert_eq!(records.result(0, i32::MIN), i16::MIN);
        assert_eq!(Records::of_factor(0.0).result(0, i32::MAX), 0);
        assert_eq!(Records::of_factor(1e9).result(0, 1), 16_320);
        assert_eq!((power_of_two(0), power_of_two(-12), power_of_two(20)), (1.0, GATE, 1_048_576.0));
    }
}
