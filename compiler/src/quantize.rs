//! Real numbers to the integers of `docs/quantization.md`.
//!
//! The integers and scales of rows, their requantization, and tables come from [`kinglet_train::quant`], so that a network
//! that was trained on the grid meets the very same one here. This adds what a blob needs: padded rows, and biases corrected for
//! the mean error of rounded weights.

use kinglet::blob::schema::Multiplier;
use kinglet_train::quant::{self, Records};
pub use kinglet_train::quant::{ACTIVATION, GATE, Width, power_of_two, table, vector};

use crate::kinds::Kind;

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

/// A multiplier of its own, with both shifts, to 16 bits: for single sums.
pub fn lone_multiplier(factor: f64) -> Multiplier {
    let records = Records::of_factor(factor);
    Multiplier { mantissa: records.mantissa[0], pre: records.pre[0], post: records.post[0] }
}

/// A float row and what its sums count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Float {
    /// Weights over the columns of the inputs, and over those of the hidden state: int8 of scale [`ACTIVATION`]; what has another
    /// scale is folded into them before.
    pub parts: [Vec<f64>; 2],
    /// Mean of each column on calibration data, in the same units; empty to leave the bias alone.
    pub means: [Vec<f64>; 2],
    /// Bias.
    pub bias: f64,
    /// Unit of the requantized sum.
    pub unit: f64,
}

/// Float rows of a matrix to integers, each part padded, and the second shift that they share.
pub fn rows(floats: &[Float], kind: Kind, width: Width, padded: impl Fn(usize) -> usize) -> (Vec<Row>, u8) {
    let quantized: Vec<quant::Row> = floats.iter().map(|float| integers(float, kind)).collect();
    let units = floats.iter().map(|float| float.unit);
    let records = Records::new(quantized.iter().zip(units), width);
    let rows = quantized.into_iter().zip(floats).enumerate().map(|(at, (row, float))| {
        let (first, second) = row.weights.split_at(float.parts[0].len());
        let mut weights = first.to_vec();
        weights.resize(padded(weights.len()), 0);
        let split = if second.is_empty() { 0 } else { weights.len() };
        weights.extend_from_slice(second);
        weights.resize(padded(weights.len()), 0);
        let record = Record { bias: records.bias[at], mantissa: records.mantissa[at], pre: records.pre[at] };
        let group = usize::from(kind.group());
        Row { weights, scale: row.scale, multipliers: row.multipliers, group, split, record }
    });
    (rows.collect(), records.post.first().copied().unwrap_or(1))
}

/// Integers and scale of a row; its bias makes up for the mean error of the rounded weights where means are known (Nagel, van
/// Baalen, Blankevoort, Welling 2019, section 4.2).
fn integers(float: &Float, kind: Kind) -> quant::Row {
    let parts = float.parts.each_ref().map(Vec::as_slice);
    let mut row = quant::row(&parts, float.bias, kind.into());
    if row.scale == 0.0 || float.means.iter().all(Vec::is_empty) {
        return row;
    }
    let group = usize::from(kind.group());
    let places = groups(row.weights.len(), group, parts[0].len());
    let multiplier = |place: usize| row.multipliers.get(place).map_or(1.0, |&m| f64::from(m));
    let restored =
        row.weights.iter().zip(places).map(|(&q, place)| f64::from(q) * multiplier(place) * row.scale);
    let errors = restored.zip(parts.iter().copied().flatten()).map(|(restored, weight)| restored - weight);
    let error: f64 = errors.zip(float.means.iter().flatten()).map(|(error, mean)| error * mean).sum();
    // Biases stay well within 32 bits: an error is a part of the sum that it corrects.
    row.bias = ((float.bias - error) / (row.scale * ACTIVATION)).round() as i32;
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::fixed::{saturate_i8, saturate_i16, scale};
    use proptest::prelude::*;

    const KINDS: [Kind; 3] = [Kind::Int8, Kind::Int4, Kind::Int4Groups(16)];

    fn row(weights: &[f64], bias: f64, kind: Kind, unit: f64, width: Width) -> (Row, u8) {
        let float = Float { parts: [weights.to_vec(), Vec::new()], bias, unit, ..Float::default() };
        let (rows, post) = rows(&[float], kind, width, |columns| columns.next_multiple_of(4));
        (rows[0].clone(), post)
    }

    fn requantize(sum: i32, record: Record, post: u8) -> i32 {
        scale(sum.wrapping_add(record.bias), record.mantissa, record.pre, post)
    }

    proptest! {
        #[test]
        fn requantized_rows_agree_with_exact_arithmetic(
            weights in prop::collection::vec(-2.0..2.0_f64, 1..80),
            inputs in prop::collection::vec(-127..=127_i32, 80),
            bias in -3.0..3.0_f64,
            unit_bits in 3..14_i32,
            wide: bool,
            kind in prop::sample::select(KINDS.to_vec()),
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
        fn integers_stand_for_their_weights_part_by_part(
            x in prop::collection::vec(-2.0..2.0_f64, 0..40),
            h in prop::collection::vec(-2.0..2.0_f64, 40),
        ) {
            for (kind, steps) in KINDS.into_iter().zip([127.0, 7.0, 7.0]) {
                let parts = [x.clone(), h.clone()];
                let float = Float { parts, unit: 1.0, ..Float::default() };
                let (rows, _) = rows(&[float], kind, Width::I16, |columns| columns.next_multiple_of(16));
                let row = &rows[0];
                prop_assert_eq!((row.split, row.weights.len()), (x.len().next_multiple_of(16), row.split + 48));
                let integers: Vec<i32> = row.integers().collect();
                let padding = integers[x.len()..row.split].iter().chain(&integers[row.split + 40..]);
                prop_assert!(padding.copied().all(|q| q == 0));
                let range = x.iter().chain(&h).fold(0.0_f64, |m, w| m.max(w.abs()));
                let (first, second) = (integers.iter().zip(&x), integers[row.split..].iter().zip(&h));
                for (&got, want) in first.chain(second) {
                    // Half a step, and what clipping may take.
                    let allowed = range * (0.51 / steps + if kind == Kind::Int8 { 0.0 } else { 0.5 });
                    prop_assert!((f64::from(got) * row.scale - want).abs() <= allowed);
                }
            }
        }

        #[test]
        fn corrected_biases_leave_no_mean_error(
            weights in prop::collection::vec(-2.0..2.0_f64, 50),
            means in prop::collection::vec(-0.9..0.9_f64, 50),
            bias in -3.0..3.0_f64,
            kind in prop::sample::select(KINDS.to_vec()),
        ) {
            let parts = [weights[..30].to_vec(), weights[30..].to_vec()];
            let known = [means[..30].to_vec(), means[30..].to_vec()];
            let row = integers(&Float { parts, means: known, bias, unit: GATE }, kind);
            let places = groups(50, usize::from(kind.group()), 30);
            let integer = |(place, &q): (usize, &i8)| f64::from(q) * row.multipliers.get(place).map_or(1.0, |&m| m.into());
            let sum: f64 = places.zip(&row.weights).map(integer).zip(&means).map(|(q, mean)| q * row.scale * mean).sum();
            let wanted: f64 = weights.iter().zip(&means).map(|(w, mean)| w * mean).sum::<f64>() + bias;
            let unit = row.scale * ACTIVATION;
            prop_assert!((sum + f64::from(row.bias) * unit - wanted).abs() <= 0.51 * unit);
        }
    }

    #[test]
    fn factors_out_of_range_are_held() {
        assert_eq!(lone_multiplier(0.0).mantissa, 0);
        let largest = lone_multiplier(1e9);
        assert_eq!((largest.pre, largest.post), (0, 1));
    }

    #[test]
    fn rows_of_one_matrix_may_differ_a_thousandfold() {
        let float = |w: f64| Float { parts: [vec![w; 4], Vec::new()], unit: GATE, ..Float::default() };
        let (rows, post) = rows(&[float(3.0), float(0.003)], Kind::Int8, Width::I16, |columns| columns);
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
        let (row, _) = row(&weights, 0.0, Kind::Int4Groups(16), 1.0, Width::I16);
        let worst = row.integers().zip(&weights).map(|(q, w)| (f64::from(q) * row.scale - w).abs()).skip(16);
        // With a scale for the whole row all of them would be 0, up to 0.01 away.
        assert!(worst.fold(0.0, f64::max) < 0.003);
    }

    #[test]
    fn a_bias_survives_weights_of_any_size() {
        let (row, post) = row(&[0.0; 8], -1.5, Kind::Int8, GATE, Width::I16);
        assert_eq!(requantize(0, row.record, post), -6144);
        let (row, _) = self::row(&[0.0; 8], 0.0, Kind::Int8, GATE, Width::I16);
        assert_eq!(row.record, Record::default());
        let (row, post) = self::row(&[1e-9; 4], 2.0, Kind::Int8, GATE, Width::I16);
        assert_eq!(requantize(0, row.record, post), 8192);
    }
}
