//! Sources of numbers: their normal form folded with the scale of int8 into a record a feature.

use kinglet::blob::schema::{self, Extent, Kind, View};
use kinglet_train::config::ModelConfig;
use kinglet_train::data::frames::Frames;
use kinglet_train::model::Tensor;
use kinglet_train::quant::{self, FRAMES, Records};

use super::Builder;
use super::product::{Columns, Input, width};
use super::signal::Signal;
use crate::error::Result;
use crate::quantize::{ACTIVATION, Width, power_of_two};

/// What the runtime's accumulators count a number in.
const PER_COUNT: f64 = 256.0;

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
fn records(mean: &[f32], std: &[f32], scale: f64) -> (Vec<u8>, u8) {
    let row = |(&mean, &std): (&f32, &f32)| quant::Row {
        weights: Vec::new(),
        multipliers: Vec::new(),
        scale: 1.0 / (PER_COUNT * f64::from(std)),
        bias: (-f64::from(mean) * PER_COUNT).round() as i32,
    };
    let rows: Vec<quant::Row> = mean.iter().zip(std).map(row).collect();
    // Rows count inputs of the scale of activations.
    let records = Records::new(rows.iter().map(|row| (row, scale * ACTIVATION)), Width::I8);
    let bytes = records.bias.iter().zip(&records.mantissa).zip(&records.pre);
    let bytes = bytes.flat_map(|((bias, mantissa), &pre)| {
        bias.to_le_bytes().into_iter().chain(mantissa.to_le_bytes()).chain([pre, 0])
    });
    (bytes.collect(), records.post.first().copied().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::fixed::{saturate_i8, scale};

    #[test]
    fn records_normalise_every_count_to_the_nearest_unit() {
        // Of a small sensor and of a large one, of a switch, and of what is far from its mean.
        let (mean, std) = ([0.5_f32, -1200.0, 0.04, 30_000.0], [11.0_f32, 9000.0, 0.2, 3.0]);
        let unit = 6.0 / 127.0;
        let (bytes, post) = records(&mean, &std, unit);
        for (feature, record) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let [b0, b1, b2, b3, m0, m1, pre, _] = *record;
            let bias = i32::from_le_bytes([b0, b1, b2, b3]);
            for count in i16::MIN..=i16::MAX {
                let sum = (i32::from(count) << 8).wrapping_add(bias);
                let found = saturate_i8(scale(sum, u16::from_le_bytes([m0, m1]), pre, post));
                let wanted = (f64::from(count) - f64::from(mean[feature])) / f64::from(std[feature]) / unit;
                let error = f64::from(found) - wanted.clamp(-128.0, 127.0);
                // Half a unit, and what 16 bits of the multiplier lose at the ends.
                assert!(error.abs() < 0.53, "feature {feature}, count {count}: {found}, expected {wanted}");
            }
        }
    }
}
