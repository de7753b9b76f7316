//! Values on their way from layer to layer: what a view's integers stand for, and how they are added, copied and normalised.

use kinglet::blob::schema::{Add, Extent, Form, Kind, Norm, Op, View};

use super::Builder;
use crate::error::{Error, Result};
use crate::quantize::power_of_two;

/// What PyTorch's layer normalization adds to variances.
const EPSILON: f64 = 1e-5;
/// Most left bits that the runtime's sums shift.
const MOST_UP: i32 = 13;
/// Fraction bits of a state in Q0.15.
pub const STATE_BITS: i32 = 15;

/// Integers of a view with their fraction bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    pub view: View,
    /// The view's element type.
    pub kind: Kind,
    /// An integer is its value times 2^bits.
    pub bits: i32,
}

impl Signal {
    /// What a unit is worth where a product gathers it: 16-bit integers are rounded to 8 bits, as Q0.15 is to 2^-7.
    pub fn scale(&self) -> f64 {
        match self.kind {
            Kind::I8 => power_of_two(-self.bits),
            Kind::I16 => power_of_two(8 - self.bits),
        }
    }
}

/// `to = a + b`, or a copy of a.
///
/// # Errors
/// [`Error::Model`] when the magnitudes are so far apart that the format has no shift for them.
pub fn sum(a: Signal, b: Option<Signal>, to: Signal) -> Result<Op> {
    let finest = a.bits.max(b.map_or(a.bits, |b| b.bits)).max(to.bits);
    let up = [finest - a.bits, b.map_or(0, |b| finest - b.bits)];
    let down = finest - to.bits;
    if up.iter().any(|&up| up > MOST_UP) || down > 30 {
        return Err(Error::Model(format!(
            "values with {} and {} bits behind the point are added, at most {MOST_UP} bits apart: train with norm = true",
            a.bits,
            b.map_or(to.bits, |b| b.bits)
        )));
    }
    Ok(Op::Add(Add {
        a: a.view,
        b: b.map(|b| b.view),
        up: up.map(|up| up as u8),
        down: down as u8,
        to: to.view,
    }))
}

/// Most fraction bits, at most `most`, with which a magnitude fits 16 bits.
pub fn integer_bits(magnitude: f64, most: i32) -> i32 {
    if magnitude > 0.0 { ((32_767.0 / magnitude).log2().floor() as i32).min(most) } else { most }
}

impl Builder<'_> {
    /// A new 16-bit slot with so many fraction bits.
    pub fn words(&mut self, extent: Extent, width: usize, bits: i32) -> Result<Signal> {
        let slot = self.slot(extent, Kind::I16, width)?;
        Ok(Signal { view: self.whole(slot), kind: Kind::I16, bits })
    }

    /// What becomes of a layer's states `h` before they are read (`side` is `encoder` or `decoder`, `k` the layer): the sum with
    /// what the layer has read, if that is given, and with `norm` the normal form. It goes to a view; with neither, states stay
    /// where they are.
    pub fn connect(
        &mut self,
        (side, k): (&str, usize),
        h: Signal,
        x: Option<Signal>,
        norm: bool,
        (to, kind): (View, Kind),
    ) -> Result<(Vec<Op>, Signal)> {
        let put = |bits: i32| Signal { view: to, kind, bits: if kind == Kind::I8 { bits - 8 } else { bits } };
        let mut ops = Vec::new();
        let mut from = h;
        if let Some(x) = x {
            let bits = i32::from(self.grid(&format!("{side}.residual_l{k}"))?.0);
            let width = usize::from(to.width);
            let total = if norm { self.words(Extent::Once, width, bits)? } else { put(bits) };
            ops.push(sum(h, Some(x), total)?);
            from = total;
        }
        if norm {
            let name = format!("{side}.norm_l{k}");
            let total = put(i32::from(self.grid(&name)?.0));
            ops.push(self.layer_norm(&name, from, total)?);
            from = total;
        }
        Ok((ops, from))
    }

    /// Layer normalization with the gains and biases of `name`.
    fn layer_norm(&mut self, name: &str, from: Signal, to: Signal) -> Result<Op> {
        let (weight, bias) = (self.tensor(&format!("{name}.weight"))?, self.tensor(&format!("{name}.bias"))?);
        // The normal form has so many fraction bits.
        let half = (u16::BITS - (to.view.width - 1).leading_zeros()).div_ceil(2) as i32;
        let unit = power_of_two(to.bits - (STATE_BITS - half));
        let gains: Vec<f64> = weight.data.iter().map(|&gain| f64::from(gain) * unit).collect();
        let largest = gains.iter().fold(0.0_f64, |most, gain| most.max(gain.abs()));
        let shift = integer_bits(largest, 30).max(0);
        let integer = |value: f64| value.round().clamp(-32_767.0, 32_767.0) as i16;
        let mut values: Vec<i16> = gains.iter().map(|gain| integer(gain * power_of_two(shift))).collect();
        let floats: Vec<f64> = weight.data.iter().map(|&gain| f64::from(gain)).collect();
        let restored = values.iter().map(|&q| f64::from(q) * power_of_two(-shift) / unit);
        self.errors.add(&weight.name, &floats, restored);
        values.extend(bias.data.iter().map(|&bias| integer(f64::from(bias) * power_of_two(to.bits))));
        let gains = self.section.push_i16(name, &values);
        let epsilon = (EPSILON * power_of_two(2 * from.bits)).round().min(f64::from((1 << 30) - 1)) as u32;
        let form = Form::Layer { gains, shift: shift as u8, epsilon };
        Ok(Op::Norm(Norm { from: from.view, form, to: to.view }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(kind: Kind, bits: i32) -> Signal {
        Signal { view: View { slot: 0, start: 0, width: 4 }, kind, bits }
    }

    #[test]
    fn shifts_bring_both_to_the_finest_and_the_sum_to_its_own_unit() {
        let (a, b, to) = (signal(Kind::I16, 15), signal(Kind::I8, 7), signal(Kind::I16, 13));
        let Op::Add(add) = sum(a, Some(b), to).unwrap() else { panic!("a sum") };
        assert_eq!((add.up, add.down), ([0, 8], 2));
        let Op::Add(copy) = sum(signal(Kind::I16, 9), None, signal(Kind::I8, 1)).unwrap() else {
            panic!("a copy")
        };
        assert_eq!((copy.b, copy.up, copy.down), (None, [0, 0], 8));
        let far = sum(a, Some(signal(Kind::I8, 1)), to).unwrap_err().to_string();
        assert!(far.contains("15 and 1 bits"), "{far}");
    }

    #[test]
    fn bits_are_as_many_as_fit() {
        assert_eq!((integer_bits(1.0, 20), integer_bits(0.5, 20), integer_bits(0.5, 3)), (14, 15, 3));
        assert_eq!(integer_bits(0.0, 15), 15);
    }
}
