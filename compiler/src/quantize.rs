//! Real numbers to the integers of `docs/quantization.md`: multipliers, rows, fraction bits, tables.
//!
//! Everything here is exact IEEE arithmetic on `f64` (products, sums, roundings, powers of two), so that any host
//! makes the same bytes.

use kinglet::blob::schema::Multiplier;
use kinglet::fixed::MAX_MANTISSA;

use crate::kinds::Kind;

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
pub enum Width {
    /// Saturates to [-127, 127].
    I8,
    /// Saturates to 16 bits.
    I16,
}

impl Width {
    /// log2 of how many times the result's range is smaller than 16 bits.
    fn spare(self) -> i32 {
        match self {
            Self::I8 => 8,
            Self::I16 => 0,
        }
    }
}

/// What turns a row's accumulator into its result, beside the second shift that all rows share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Start of the accumulator, with the rounding of the first shift.
    pub bias: i32,
    /// Accumulator units to result units, with both shifts.
    pub mantissa: u16,
    /// First shift.
    pub pre: u8,
}

/// One quantized row of a product.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As many as the row had weights.
    pub weights: Vec<i8>,
    /// A weight is its integer, times its group's multiplier if there are groups, times this.
    pub scale: f64,
    /// Multipliers of groups of columns; empty without groups.
    pub multipliers: Vec<u8>,
    /// Columns a group.
    pub group: usize,
    /// Column at which groups start anew.
    pub split: usize,
    /// Bias and requantization.
    pub record: Record,
}

impl Row {
    /// The group of each column.
    fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        groups(self.weights.len(), self.group, self.split)
    }

    /// Integers times their multipliers.
    pub fn integers(&self) -> impl Iterator<Item = i32> + '_ {
        let multiplier = |group: usize| self.multipliers.get(group).map_or(1, |&m| i32::from(m));
        self.weights.iter().zip(self.groups()).map(move |(&w, group)| i32::from(w) * multiplier(group))
    }

    /// Sum of the integers times their multipliers.
    pub fn total(&self) -> i32 {
        self.integers().sum()
    }
}

/// The group of each of `columns`, counted anew from `split` on; all 0 when groups have no columns.
pub fn groups(columns: usize, group: usize, split: usize) -> impl Iterator<Item = usize> {
    let before = if group == 0 { 0 } else { split.div_ceil(group) };
    (0..columns).map(move |c| match (group, c < split) {
        (0, _) => 0,
        (_, true) => c / group,
        (_, false) => before + (c - split) / group,
    })
}

/// `2^exponent`, exact.
pub fn power_of_two(exponent: i32) -> f64 {
    libm::ldexp(1.0, exponent)
}

/// The second shift of a matrix whose largest factor, accumulator units to result units, is `largest`.
pub fn second_shift(largest: f64, width: Width) -> u8 {
    let most = 15 + width.spare();
    (1..=most).rev().find(|&post| largest * power_of_two(post) <= f64::from(MAX_MANTISSA)).unwrap_or(1) as u8
}

/// Mantissa and first shift nearest to a factor, given the second shift.
///
/// The mantissa is the largest for which one step of the shifted accumulator is no more than one of the result (of 2^-8
/// of one for int8 results): finer would let the 17 bits of the shifted accumulator saturate before the result does.
pub fn multiplier(factor: f64, post: u8, width: Width) -> (u16, u8) {
    let post = i32::from(post);
    let most = power_of_two(post - width.spare()).clamp(1.0, f64::from(MAX_MANTISSA));
    let mantissa = |pre: i32| (factor * power_of_two(pre + post)).round();
    let pre = (0..=31).rev().find(|&pre| mantissa(pre) <= most).unwrap_or(0);
    (mantissa(pre).min(f64::from(MAX_MANTISSA)) as u16, pre as u8)
}

/// A multiplier of its own, with both shifts: for single sums.
pub fn lone_multiplier(factor: f64, width: Width) -> Multiplier {
    let post = second_shift(factor, width);
    let (mantissa, pre) = multiplier(factor, post, width);
    Multiplier { mantissa, pre, post }
}

/// A float row and what its sums count.
#[derive(Debug, Clone, PartialEq)]
pub struct Float {
    /// Weights over int8 inputs of scale [`ACTIVATION`]; what has another scale is folded into them before.
    pub weights: Vec<f64>,
    /// Bias.
    pub bias: f64,
    /// Unit of the requantized sum.
    pub unit: f64,
    /// Column at which groups start anew.
    pub split: usize,
}

/// Float rows of a matrix to integers, and the second shift that they share.
pub fn rows(floats: &[Float], kind: Kind, width: Width) -> (Vec<Row>, u8) {
    let mut rows: Vec<Row> = floats.iter().map(|float| integers(float, kind)).collect();
    let factors: Vec<f64> =
        rows.iter().zip(floats).map(|(row, float)| row.scale * ACTIVATION / float.unit).collect();
    let post = second_shift(largest(&factors), width);
    for ((row, float), factor) in rows.iter_mut().zip(floats).zip(factors) {
        if row.scale == 0.0 {
            continue;
        }
        let (mantissa, pre) = multiplier(factor, post, width);
        let rounding = if pre > 0 { 1 << (pre - 1) } else { 0 };
        let bias = (float.bias / (row.scale * ACTIVATION)).round() as i32;
        row.record = Record { bias: bias.saturating_add(rounding), mantissa, pre };
    }
    (rows, post)
}

/// Integers and scale of a row.
fn integers(float: &Float, kind: Kind) -> Row {
    let Float { weights, bias, split, .. } = float;
    let group = match kind {
        Kind::Int4Groups(group) => usize::from(group),
        _ => 0,
    };
    let limit = if kind == Kind::Int8 { 127.0 } else { 7.0 };
    let places: Vec<usize> = groups(weights.len(), group, *split).collect();
    let count = places.last().map_or(0, |last| last + 1);
    let members = |group: usize| -> Vec<f64> {
        weights.iter().zip(&places).filter(|&(_, &place)| place == group).map(|(&w, _)| w).collect()
    };
    // The step of each group of columns.
    let steps: Vec<f64> = match kind {
        Kind::Int8 => vec![largest(weights) / limit],
        _ => (0..count).map(|group| best_step(&members(group), limit, |step| step)).collect(),
    };
    let largest_step = largest(&steps);
    let scale = match (largest_step > 0.0, kind) {
        (true, Kind::Int4Groups(_)) => largest_step / 255.0,
        (true, _) => largest_step,
        (false, _) => bias.abs() / ACTIVATION / LONE_BIAS,
    };
    let scale = scale.max(bias.abs() / ACTIVATION / MAX_BIAS);
    let multipliers: Vec<u8> = match kind {
        Kind::Int4Groups(_) if scale > 0.0 => {
            let whole = |step: f64| (step / scale).round().clamp(1.0, 255.0);
            let multiplier = |group| best_step(&members(group), limit, |step| whole(step) * scale);
            (0..count).map(|group| whole(multiplier(group)) as u8).collect()
        }
        Kind::Int4Groups(_) => vec![1; count],
        _ => Vec::new(),
    };
    let step = |place: usize| scale * multipliers.get(place).map_or(1.0, |&m| f64::from(m));
    let quantize = |(&w, &place): (&f64, &usize)| {
        if scale > 0.0 { (w / step(place)).round().clamp(-limit, limit) as i8 } else { 0 }
    };
    let integers = weights.iter().zip(&places).map(quantize).collect();
    Row { weights: integers, scale, multipliers, group, split: *split, record: Record::default() }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0_f64, |m, w| m.max(w.abs()))
}

/// The step with the least squared rounding error, of those that clip the largest value to 60 to 100 %, each first made
/// one that is `possible`.
///
/// With few levels it pays to clip: the bulk of the values is rounded more finely.
fn best_step(values: &[f64], limit: f64, possible: impl Fn(f64) -> f64) -> f64 {
    let largest = largest(values);
    let error = |step: f64| -> f64 {
        values.iter().map(|v| (v - (v / step).round().clamp(-limit, limit) * step).powi(2)).sum()
    };
    let steps = (0..=20).map(|i| possible(largest * (1.0 - 0.02 * f64::from(i)) / limit));
    let steps = steps.filter(|&step| step > 0.0).map(|step| (error(step), step));
    steps.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, step)| step)
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
    use kinglet::fixed::{saturate_i8, saturate_i16, scale};
    use proptest::prelude::*;

    fn row(weights: &[f64], bias: f64, kind: Kind, unit: f64, width: Width) -> (Row, u8) {
        let (rows, post) = rows(&[Float { weights: weights.to_vec(), bias, unit, split: 0 }], kind, width);
        (rows[0].clone(), post)
    }

    fn requantize(sum: i32, record: Record, post: u8) -> i32 {
        scale(sum.wrapping_add(record.bias), record.mantissa, record.pre, post)
    }

    proptest! {
        #[test]
        fn multipliers_are_near(exponent in -31.0..12.0_f64, wide: bool, less in 0..4_u8) {
            let (factor, width) = (exponent.exp2(), if wide { Width::I16 } else { Width::I8 });
            let post = second_shift(factor, width).saturating_sub(less).max(1);
            let (mantissa, pre) = multiplier(factor, post, width);
            prop_assert!(mantissa <= MAX_MANTISSA && pre <= 31 && (1..=23).contains(&post));
            let real = f64::from(mantissa) * power_of_two(-i32::from(pre) - i32::from(post));
            // A second shift that other rows forced down costs as many bits of the mantissa.
            prop_assert!((real / factor - 1.0).abs() < 4e-5 * f64::from(1 << less) || factor < 1e-8 || post < 10);
        }

        #[test]
        fn requantized_rows_agree_with_exact_arithmetic(
            weights in prop::collection::vec(-2.0..2.0_f64, 1..80),
            inputs in prop::collection::vec(-127..=127_i32, 80),
            bias in -3.0..3.0_f64,
            unit_bits in 3..14_i32,
            wide: bool,
            kind in prop::sample::select(vec![Kind::Int8, Kind::Int4, Kind::Int4Groups(16)]),
        ) {
            let (width, unit) = if wide {
                (Width::I16, power_of_two(-unit_bits))
            } else {
                (Width::I8, power_of_two(-unit_bits.min(7)))
            };
            let (row, post) = row(&weights, bias, kind, unit, width);
            let product: i32 = row.integers().zip(&inputs).map(|(w, x)| w * x).sum();
            let got = requantize(product, row.record, post);
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
        fn integers_stand_for_their_weights(
            weights in prop::collection::vec(-2.0..2.0_f64, 70),
            split in prop::sample::select(vec![0usize, 16, 20]),
        ) {
            for (kind, steps) in [(Kind::Int8, 127.0), (Kind::Int4, 7.0), (Kind::Int4Groups(16), 7.0)] {
                let row = integers(&Float { weights: weights.clone(), bias: 0.0, unit: 1.0, split }, kind);
                let range = largest(&weights);
                for (got, want) in row.integers().zip(&weights) {
                    // Half a step, and what clipping to 60 % may take.
                    let allowed = range * (0.51 / steps + if kind == Kind::Int8 { 0.0 } else { 0.4 });
                    prop_assert!((f64::from(got) * row.scale - want).abs() <= allowed);
                }
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
        assert_eq!(multiplier(0.0, 15, Width::I16).0, 0);
        assert_eq!(lone_multiplier(1e9, Width::I8), Multiplier { mantissa: MAX_MANTISSA, pre: 0, post: 1 });
    }

    #[test]
    fn rows_of_one_matrix_may_differ_a_thousandfold() {
        let float = |w: f64| Float { weights: vec![w; 4], bias: 0.0, unit: GATE, split: 0 };
        let (rows, post) = rows(&[float(3.0), float(0.003)], Kind::Int8, Width::I16);
        for (row, want) in rows.iter().zip([3.0 * 4.0 * 4096.0 / 128.0, 0.003 * 4.0 * 4096.0 / 128.0]) {
            let sum = row.integers().sum();
            assert_eq!(f64::from(requantize(sum, row.record, post)), f64::round(want));
        }
    }

    #[test]
    fn groups_start_anew_at_the_split() {
        let groups: Vec<usize> = super::groups(8, 3, 4).collect();
        assert_eq!(groups, [0, 0, 0, 1, 2, 2, 2, 3]);
    }

    #[test]
    fn a_group_with_small_weights_keeps_its_precision() {
        let mut weights = vec![1.0; 16];
        weights.extend((0..16).map(|i| 0.01 * f64::from(i - 8) / 8.0));
        let float = Float { weights: weights.clone(), bias: 0.0, unit: 1.0, split: 0 };
        let row = integers(&float, Kind::Int4Groups(16));
        let worst = row.integers().zip(&weights).map(|(q, w)| (f64::from(q) * row.scale - w).abs()).skip(16);
        assert!(worst.fold(0.0, f64::max) < 0.0015);
    }

    #[test]
    fn a_bias_without_weights_survives() {
        let (row, post) = row(&[0.0; 8], -1.5, Kind::Int8, GATE, Width::I16);
        assert_eq!(requantize(0, row.record, post), -6144);
        let (row, _) = self::row(&[0.0; 8], 0.0, Kind::Int8, GATE, Width::I16);
        assert_eq!(row.record, Record::default());
    }

    #[test]
    fn a_bias_far_above_its_weights_does_not_overflow() {
        let (row, post) = row(&[1e-9; 4], 2.0, Kind::Int8, GATE, Width::I16);
        assert_eq!(requantize(0, row.record, post), 8192);
    }

    #[test]
    fn vectors_and_empty_ranges() {
        assert_eq!(vector(&[0.5, -1.0, 0.25]), (vec![64, -127, 32], 1.0 / 127.0));
        assert_eq!(vector(&[0.0, 0.0]), (vec![0, 0], 0.0));
        assert_eq!(fraction_bits(0.0, 12), 12);
        assert_eq!(fraction_bits(1e9, 12), 0);
    }
}
