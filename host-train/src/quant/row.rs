//! Float rows to integers and scales: the one place where training and compiler choose them.
//!
//! Everything is exact IEEE arithmetic on `f64` (products, quotients, sums, roundings), so that any host finds the
//! same integers.

use super::kind::Kind;

/// Scale of hidden states, contexts and encoder outputs that enter a product: `2^-7`.
pub const ACTIVATION: f64 = 1.0 / 128.0;
/// Accumulators of products stay below 2^28, so that a bias below this never overflows 32 bits.
const MAX_BIAS: f64 = (1u32 << 29) as f64;
/// Accumulator value of the bias of a row whose weights are all zero.
const LONE_BIAS: f64 = (1u32 << 20) as f64;
/// Largest multiplier of a group.
const MAX_MULTIPLIER: f64 = 255.0;
/// Where fewer than eight bits are clipped is one of `1 - k / 16` times the largest magnitude, `k` below this.
const CLIPS: u8 = 9;

/// A row of a product in integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As many as the row has columns.
    pub weights: Vec<i8>,
    /// Multiplier of each group, part after part; empty without groups.
    pub multipliers: Vec<u8>,
    /// A weight is its integer times this, and times its group's multiplier.
    pub scale: f64,
    /// The bias in units of the accumulator, `scale * 2^-7`, rounded to the nearest.
    pub bias: i32,
}

/// Quantizes a row of weights and its bias.
///
/// `parts` are its columns: those of the inputs, then those of the hidden state, if it has any; groups start anew with
/// each part. Inputs are int8 of scale [`ACTIVATION`]; what has another scale is folded into the weights before.
///
/// Eight bits reach the largest magnitude. Fewer are clipped, for each row or group, where the squared error of its weights is
/// least among nine candidates. A group's scale is then rounded to a multiple of the row's.
pub fn row(parts: &[&[f64]], bias: f64, kind: Kind) -> Row {
    let limit = f64::from(kind.limit());
    let groups: Vec<&[f64]> = match kind.group() {
        0 => Vec::new(),
        size => parts.iter().flat_map(|part| part.chunks(size)).collect(),
    };
    let wanted: Vec<f64> = if groups.is_empty() {
        vec![clip(parts, limit)]
    } else {
        groups.iter().map(|group| clip(&[group], limit)).collect()
    };
    let largest = wanted.iter().fold(0.0_f64, |m, &s| m.max(s));
    let most = if groups.is_empty() { 1.0 } else { MAX_MULTIPLIER };
    let units = bias.abs() / ACTIVATION;
    let scale = if largest > 0.0 { (largest / most).max(units / MAX_BIAS) } else { units / LONE_BIAS };

    let columns = parts.iter().map(|part| part.len()).sum();
    let mut row = Row { weights: Vec::with_capacity(columns), multipliers: Vec::new(), scale, bias: 0 };
    if scale == 0.0 {
        row.weights.resize(columns, 0);
        row.multipliers.resize(groups.len(), 1);
        return row;
    }
    row.bias = (bias / (scale * ACTIVATION)).round() as i32;
    let mut push = |values: &[f64], scale: f64| {
        let integer = |w: &f64| (w / scale).round().clamp(-limit, limit) as i8;
        row.weights.extend(values.iter().map(integer));
    };
    if groups.is_empty() {
        parts.iter().for_each(|part| push(part, scale));
    }
    for (group, wanted) in groups.into_iter().zip(wanted) {
        let multiplier = (wanted / scale).round().clamp(1.0, MAX_MULTIPLIER);
        row.multipliers.push(multiplier as u8);
        push(group, scale * multiplier);
    }
    row
}

/// A vector in int8 with one scale: the integers and the scale (0 when all values are).
pub fn vector(values: &[f32]) -> (Vec<i8>, f64) {
    let scale = f64::from(values.iter().fold(0.0_f32, |m, v| m.max(v.abs()))) / 127.0;
    let quantize = |&v: &f32| if scale > 0.0 { (f64::from(v) / scale).round() as i8 } else { 0 };
    (values.iter().map(quantize).collect(), scale)
}

/// The scale of some values that share one; 0 when all of them are.
fn clip(parts: &[&[f64]], limit: f64) -> f64 {
    let largest = parts.iter().flat_map(|part| *part).fold(0.0_f64, |m, w| m.max(w.abs()));
    let whole = largest / limit;
    if limit == 127.0 || whole == 0.0 {
        return whole;
    }
    let candidate = |k: u8| whole * (1.0 - f64::from(k) / 16.0);
    let mut best = (f64::INFINITY, whole);
    for scale in (0..CLIPS).map(candidate) {
        let error: f64 = parts.iter().map(|part| squared_error(part, scale, limit)).sum();
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

/// Squared distance of the values to the nearest multiples of `scale` within the limit, in units of 1.
fn squared_error(values: &[f64], scale: f64, limit: f64) -> f64 {
    // Adding this to a small number leaves it rounded to the nearest integer: vectors without a rounding instruction.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let inverse = 1.0 / scale;
    let square = |w: f64| {
        let x = w * inverse;
        let nearest = (x + ROUNDER) - ROUNDER;
        let nearest = if nearest > limit { limit } else { nearest };
        let nearest = if nearest < -limit { -limit } else { nearest };
        let error = (x - nearest) * scale;
        error * error
    };
    let (chunks, rest) = values.as_chunks::<4>();
    let mut lanes = [0.0f64; 4];
    for chunk in chunks {
        for i in 0..4 {
            lanes[i] += square(chunk[i]);
        }
    }
    let rest: f64 = rest.iter().map(|&w| square(w)).sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::values;

    fn kind(name: &str) -> Kind {
        name.parse().unwrap()
    }

    fn reals(count: usize, seed: u64) -> Vec<f64> {
        values(count, seed).into_iter().map(f64::from).collect()
    }

    fn restored(row: &Row, parts: &[&[f64]], group: usize) -> Vec<f64> {
        let mut columns = row.weights.iter();
        let mut multipliers = row.multipliers.iter();
        let mut out = Vec::new();
        for part in parts {
            for chunk in part.chunks(if group > 0 { group } else { part.len().max(1) }) {
                let m = if group > 0 { f64::from(*multipliers.next().unwrap()) } else { 1.0 };
                out.extend(columns.by_ref().take(chunk.len()).map(|&q| f64::from(q) * m * row.scale));
            }
        }
        out
    }

    fn error(row: &Row, parts: &[&[f64]], group: usize) -> f64 {
        let values = parts.concat();
        values.iter().zip(restored(row, parts, group)).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn eight_bits_reach_the_largest_weight() {
        let w = reals(50, 1);
        let row = row(&[&w[..20], &w[20..]], 0.5, Kind::INT8);
        let largest = w.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert_eq!(row.scale, largest / 127.0);
        assert!(row.multipliers.is_empty() && row.weights.iter().any(|q| q.abs() == 127));
        for (w, back) in w.iter().zip(restored(&row, &[&w], 0)) {
            assert!((w - back).abs() <= row.scale * 0.500_001);
        }
        assert!((f64::from(row.bias) * row.scale * ACTIVATION - 0.5).abs() <= row.scale * ACTIVATION);
    }

    #[test]
    fn fewer_bits_err_no_more_than_without_clipping_and_groups_less_than_rows() {
        for seed in 0..20 {
            let w = reals(168, seed);
            let parts = [&w[..72], &w[72..]];
            let largest = w.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let plain = squared_error(&w, largest / 7.0, 7.0);
            let (whole, grouped) = (row(&parts, 0.0, kind("int4")), row(&parts, 0.0, kind("int4:32")));
            let (by_row, by_group) = (error(&whole, &parts, 0), error(&grouped, &parts, 32));
            assert!(by_row <= plain * 1.000_001 && by_group < by_row, "{plain} {by_row} {by_group}");
            assert!(whole.weights.iter().chain(&grouped.weights).all(|q| q.abs() <= 7));
            // 72 and 96 columns: three groups each.
            assert_eq!(grouped.multipliers.len(), 6);
            assert!(grouped.multipliers.contains(&255));
        }
    }

    #[test]
    fn each_bit_halves_the_error_or_better() {
        let w = reals(300, 3);
        let errors: Vec<f64> = (2..=8u8)
            .map(|bits| error(&row(&[&w], 0.0, Kind::new(bits, 0).unwrap()), &[&w], 0).sqrt())
            .collect();
        assert!(errors.windows(2).all(|e| e[1] < 0.7 * e[0]), "{errors:?}");
    }

    #[test]
    fn rows_without_weights_keep_their_bias() {
        for kind in [Kind::INT8, kind("int4"), kind("int4:32")] {
            let alone = row(&[&[0.0; 40], &[]], -1.5, kind);
            let real = f64::from(alone.bias) * alone.scale * ACTIVATION;
            assert!((real + 1.5).abs() < 1e-5 && alone.weights == [0; 40], "{alone:?}");
            let nothing = row(&[&[0.0; 40]], 0.0, kind);
            assert_eq!((nothing.scale, nothing.bias), (0.0, 0));
            assert_eq!(nothing.multipliers.len(), if kind.group() > 0 { 2 } else { 0 });
        }
        let far = row(&[&[1e-9; 4]], 2.0, Kind::INT8);
        assert!(far.bias <= 1 << 29 && (f64::from(far.bias) * far.scale * ACTIVATION - 2.0).abs() < 1e-6);
    }

    #[test]
    fn vectors_have_one_scale() {
        assert_eq!(vector(&[0.5, -1.0, 0.25]), (vec![64, -127, 32], 1.0 / 127.0));
        assert_eq!(vector(&[0.0, 0.0]), (vec![0, 0], 0.0));
    }
}
