//! Sources of numbers: their normal form folded with the scale of int8 into a record a feature.

use kinglet::blob::schema::{self, Extent, Kind, View};
use kinglet::fixed::MAX_MANTISSA;
use kinglet_train::config::ModelConfig;
use kinglet_train::data::frames::Frames;
use kinglet_train::model::Tensor;
use kinglet_train::quant::FRAMES;

use super::Builder;
use super::product::{Columns, Input, width};
use super::signal::Signal;
use crate::error::Result;
use crate::quantize::{ACTIVATION, power_of_two};

/// What the runtime's accumulators count a number in.
const PER_COUNT: f64 = 256.0;
/// The most that a second shift may be.
const MAX_POST: i32 = 23;

/// Frames as the lowest layer reads them.
pub struct Numbers {
    /// For the description.
    pub source: schema::Frames,
    view: View,
    /// What an int8 unit of a normalised number is worth.
    scale: f64,
    /// Fraction bits, where they are added to a layer's states and not only multiplied.
    bits: Option<i32>,
}

impl Numbers {
    /// The columns of a matrix that read them.
    pub fn input<'a>(&self, tensor: &'a Tensor) -> Input<'a> {
        Input { view: self.view, columns: Columns::part(tensor, 0, width(tensor), self.scale) }
    }

    /// The frames as a layer adds them to its states, where that was planned.
    pub fn signal(&self) -> Option<Signal> {
        Some(Signal { view: self.view, kind: Kind::I8, bits: self.bits? })
    }
}

impl Builder<'_> {
    /// The slot and the records of a source of numbers: `int8 = (count - mean) / std / scale`. Where the lowest layer adds them to its
    /// states, the scale is a power of two.
    pub fn frames(&mut self, config: &ModelConfig, frames: &Frames) -> Result<Numbers> {
        let added = config.encoder.residual && config.memory() == frames.width();
        // Numbers that never differ from their mean have no scale, and any will do.
        let calibrated = if self.scheme.input_scale > 0.0 { self.scheme.input_scale } else { ACTIVATION };
        let bits = added.then(|| -calibrated.log2().ceil() as i32);
        let scale = bits.map_or(calibrated, |bits| power_of_two(-bits));
        self.limits.insert(FRAMES.to_owned(), 127.0 * scale);
        let (mean, std) = (self.tensor("encoder.frames.mean")?, self.tensor("encoder.frames.std")?);
        let (records, post) = records(&mean.data, &std.data, scale);
        let resolution = frames.resolution().iter().flat_map(|one| one.to_le_bytes());
        let bytes: Vec<u8> = records.into_iter().chain(resolution).collect();
        let slot = self.slot(Extent::Source, Kind::I8, frames.width())?;
        let source = schema::Frames {
            slot,
            post,
            resolution: true,
            records: self.section.push("source.frames", &bytes),
        };
        Ok(Numbers { source, view: self.whole(slot), scale, bits })
    }
}

/// The records of features, and the second shift that they share.
///
/// A switch and a sensor of thousands of counts have one second shift, so that a feature's mantissa may be short. Its first shift is
/// the one with the least error: what it rounds itself, and what the mantissa is off at the end of int8.
fn records(mean: &[f32], std: &[f32], scale: f64) -> (Vec<u8>, u8) {
    let factors: Vec<f64> = std.iter().map(|&std| 1.0 / (PER_COUNT * f64::from(std) * scale)).collect();
    let largest = factors.iter().copied().fold(0.0, f64::max);
    let fits = |post: &i32| largest * power_of_two(*post) <= f64::from(MAX_MANTISSA);
    let post = (1..=MAX_POST).rev().find(fits).unwrap_or(1);
    let record = |(&mean, factor): (&f32, f64)| {
        let mantissa = |pre: i32| (factor * power_of_two(pre + post)).round().min(f64::from(MAX_MANTISSA));
        let error = |pre: i32| {
            let step = mantissa(pre) * power_of_two(-post);
            if step * 65_535.0 < 127.5 {
                // The shifted count would saturate before the result.
                return f64::INFINITY;
            }
            let rounds = if pre > 0 { step / 2.0 } else { 0.0 };
            rounds + 127.0 * (step / (factor * power_of_two(pre)) - 1.0).abs()
        };
        let pre = (0..=31).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0);
        // The first shift rounds down; half a step makes it round to the nearest.
        let rounding = if pre > 0 { 1 << (pre - 1) } else { 0 };
        let bias = ((-f64::from(mean) * PER_COUNT).round() as i32).saturating_add(rounding);
        let [m0, m1] = (mantissa(pre) as u16).to_le_bytes();
        bias.to_le_bytes().into_iter().chain([m0, m1, pre as u8, 0])
    };
    (mean.iter().zip(factors).flat_map(record).collect(), post as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::fixed::{saturate_i8, scale};

    #[test]
    fn records_normalise_every_count_to_the_nearest_unit() {
        // Of a small sensor and of a large one, of a switch, and of what is far from its mean.
        normalises(&[0.5, -1200.0, 0.04, 30_000.0], &[11.0, 9000.0, 0.2, 3.0], 6.0 / 127.0);
        // Multipliers that any first shift leaves exact.
        normalises(&[0.0, 5.0], &[8192.0, 4096.0], 1.0 / 32.0);
    }

    fn normalises(mean: &[f32], std: &[f32], unit: f64) {
        let (bytes, post) = records(mean, std, unit);
        for (feature, record) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let [b0, b1, b2, b3, m0, m1, pre, _] = *record;
            let bias = i32::from_le_bytes([b0, b1, b2, b3]);
            for count in i16::MIN..=i16::MAX {
                let sum = (i32::from(count) << 8).wrapping_add(bias);
                let found = saturate_i8(scale(sum, u16::from_le_bytes([m0, m1]), pre, post));
                let wanted = (f64::from(count) - f64::from(mean[feature])) / f64::from(std[feature]) / unit;
                let error = f64::from(found) - wanted.clamp(-127.0, 127.0);
                // Half a unit, and what shift and multiplier lose at the ends.
                assert!(error.abs() < 0.53, "feature {feature}, count {count}: {found}, expected {wanted}");
            }
        }
    }
}
