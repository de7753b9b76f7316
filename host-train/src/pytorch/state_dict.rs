//! The tensors of a safetensors file from elsewhere.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::Fault;
use crate::error::{self, Error};
use crate::nn::params::Tensor;

/// The tensors of a safetensors file in the order of their names; F64, F16 and BF16 become f32.
///
/// # Errors
/// [`Error::Io`]; [`Error::StateDict`] when the file is not whole, or with every tensor that holds other than finite real
/// numbers.
pub fn read(path: &Path) -> error::Result<Vec<Tensor>> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    parse(&bytes).map_err(|faults| Error::StateDict { path: path.into(), faults })
}

fn parse(bytes: &[u8]) -> Result<Vec<Tensor>, Vec<Fault>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| vec![Fault::Damaged { bytes: bytes.len(), reason: e.to_string() }])?;
    let (mut tensors, mut faults) = (Vec::new(), Vec::new());
    for (name, view) in file.tensors() {
        let Some(data) = real(view.dtype(), view.data()) else {
            faults.push(Fault::Type { name, found: format!("{:?}", view.dtype()) });
            continue;
        };
        if let Some(value) = data.iter().find(|value| !value.is_finite()) {
            faults.push(Fault::NotFinite { name, found: value.to_string() });
            continue;
        }
        tensors.push(Tensor { name, shape: view.shape().to_vec(), data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    faults.sort_by_key(ToString::to_string);
    if faults.is_empty() { Ok(tensors) } else { Err(faults) }
}

/// The values of a type of real numbers, little-endian.
fn real(kind: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&b| half(u16::from_le_bytes(b))).collect(),
        // The upper half of an f32.
        Dtype::BF16 => {
            let wide = |&b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16);
            data.as_chunks().0.iter().map(wide).collect()
        }
        _ => return None,
    })
}

/// The value of an IEEE 754 binary16: 1 sign bit, 5 of the exponent, 10 of the fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 / 16_777_216.0,
        31 => f32::from_bits(0x7F80_0000 | fraction << 13),
        // Exponents are biased by 15 and by 127.
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{TensorView, serialize};

    fn file(tensors: &[(&str, Dtype, &[u8])]) -> Vec<u8> {
        let views = tensors.iter().map(|&(name, kind, data)| {
            let width = kind.bitsize() / 8;
            (name, TensorView::new(kind, vec![data.len() / width], data).unwrap())
        });
        serialize(views, None).unwrap()
    }

    #[test]
    fn every_real_type_becomes_f32() {
        let values = [1.5f32, -0.25, 65504.0, 0.0];
        let f64s: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        let halves: Vec<u8> = [0x3E00u16, 0xB400, 0x7BFF, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let bfloats: Vec<u8> = [0x3FC0u16, 0xBE80, 0x4780, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let bytes =
            file(&[("b", Dtype::BF16, &bfloats), ("d", Dtype::F64, &f64s), ("h", Dtype::F16, &halves)]);
        let tensors = parse(&bytes).unwrap();
        // A bfloat has 8 bits of fraction: 65504 is rounded to 65536.
        assert_eq!(tensors[0].data, [1.5, -0.25, 65536.0, 0.0]);
        assert_eq!(tensors[1].data, values);
        assert_eq!(tensors[2].data, values);
        // The smallest numbers of a half, and its infinity.
        assert_eq!(
            [half(1), half(0x03FF), half(0x0400)],
            [2f32.powi(-24), 1023.0 / 16_777_216.0, 2f32.powi(-14)]
        );
        assert!(half(0xFC00) == f32::NEG_INFINITY && half(0x7E00).is_nan());
    }

    #[test]
    fn other_types_and_what_is_not_finite_are_named() {
        let nan = f32::NAN.to_le_bytes();
        let bytes = file(&[("a", Dtype::I64, &[0; 8]), ("b", Dtype::F32, &nan), ("c", Dtype::F32, &[0; 4])]);
        let faults = parse(&bytes).unwrap_err();
        let expected = [
            Fault::Type { name: "a".into(), found: "I64".into() },
            Fault::NotFinite { name: "b".into(), found: "NaN".into() },
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn no_truncation_passes() {
        let bytes = file(&[("a", Dtype::F32, &[0; 8])]);
        for length in 0..bytes.len() {
            assert!(
                matches!(parse(&bytes[..length]).unwrap_err()[..], [Fault::Damaged { bytes, .. }] if bytes == length)
            );
        }
    }
}
