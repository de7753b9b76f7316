//! Rows in a normal form: layer normalization (Ba, Kiros & Hinton 2016), and length 1.
//!
//! Deviations from the mean are taken as `d = n x - sum`, without a division and without an error, and then shifted so that the
//! largest fills 15 bits. Their mean square has a 32-bit mantissa; its root is found bit by bit and inverted once a row. What an
//! element costs after that is a product and a shift.

use core::num::NonZeroU32;

use crate::blob::schema::{Form, Norm};
use crate::fixed::{saturate_i16, shift_round};
use crate::frame::{Frame, Row};

/// Brings the row of every lane to its form.
#[inline(never)]
pub(super) fn norm(frame: &Frame<'_, '_>, op: &Norm) -> Option<()> {
    let width = op.to.width as usize;
    for lane in 0..frame.lanes.count() {
        let (from, to) = (frame.either(op.from, lane)?, frame.either(op.to, lane)?);
        match op.form {
            Form::Layer { gains, shift, epsilon } => {
                let scale = Scale::layer(&from, width, epsilon)?;
                let (gains, biases) =
                    frame.tensor(gains, 4 * width)?.as_chunks::<2>().0.split_at_checked(width)?;
                for (at, (gain, bias)) in gains.iter().zip(biases).enumerate() {
                    let x = scale.normal(from.get(at)) as i32 * i16::from_le_bytes(*gain) as i32;
                    to.set(at, shift_round(x, shift as u32) + i16::from_le_bytes(*bias) as i32);
                }
            }
            Form::Length => {
                let scale = Scale::length(&from, width)?;
                let down = if matches!(to, Row::Bytes(_)) { 8 } else { 0 };
                (0..width).for_each(|at| to.set(at, shift_round(scale.normal(from.get(at)) as i32, down)));
            }
        }
    }
    Some(())
}

/// What brings an element of a row to its normal form.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// An element's deviation is so many times it, less
    factor: i32,
    /// this.
    offset: i32,
    /// Left shift of a deviation so that the largest has 15 bits; negative: to the right.
    up: i32,
    /// 2^30 by the root of the mean square, and the right shift of a product with it.
    inverse: i32,
    down: u32,
}

impl Scale {
    /// For `(x - mean) / sqrt(variance + epsilon)`, with as many fraction bits as let no row of this width saturate:
    /// 15 less half the bits of `width - 1`, rounded up.
    fn layer(row: &Row<'_>, width: usize, epsilon: u32) -> Option<Self> {
        let n = NonZeroU32::new(width as u32)?;
        let sum = (0..width).fold(0i32, |sum, at| sum.wrapping_add(row.get(at)));
        let bits = 15 - (u32::BITS - (n.get() - 1).leading_zeros()).div_ceil(2);
        // Of n squared deviations that are n times as large: epsilon counts n^3 times.
        let cube = n.get() as u64 * n.get() as u64 * n.get() as u64;
        Some(Self::new(row, width, n.get() as i32, sum, n, epsilon as u64 * cube, bits))
    }

    /// For `x / |x|` in 2^-15.
    fn length(row: &Row<'_>, width: usize) -> Option<Self> {
        Some(Self::new(row, width, 1, 0, NonZeroU32::MIN, 0, 15))
    }

    /// Scales by the root of (the deviations' squares + `more`) / `n`, to 2^-`bits`.
    fn new(
        row: &Row<'_>,
        width: usize,
        factor: i32,
        offset: i32,
        n: NonZeroU32,
        more: u64,
        bits: u32,
    ) -> Self {
        let mut scale = Self { factor, offset, up: 0, inverse: 0, down: 0 };
        let largest = (0..width).fold(0, |most, at| scale.deviation(row.get(at)).unsigned_abs().max(most));
        if largest == 0 {
            return scale;
        }
        scale.up = largest.leading_zeros() as i32 - 17;
        let mut total = (0..width).fold(0u64, |sum, at| {
            let d = scale.deviation(row.get(at));
            sum + (d * d) as u32 as u64
        });
        total = total.saturating_add(shifted(more, 2 * scale.up));
        // The mean: 32 bits of it, times 2^exponent.
        let mut exponent = 32 - total.leading_zeros().min(32) as i32;
        let mut mean = (total >> exponent) as u32 / n;
        let zeros = mean.leading_zeros();
        (mean, exponent) = (mean << (zeros & 31), exponent - zeros as i32);
        if exponent & 1 != 0 {
            (mean, exponent) = (mean >> 1, exponent + 1);
        }
        let Some(root) = NonZeroU32::new(root(mean)) else { return scale };
        let down = 30 + exponent / 2 - bits as i32;
        if (0..=30).contains(&down) {
            scale.inverse = (((1 << 30) + root.get() / 2) / root) as i32;
            scale.down = down as u32;
        }
        scale
    }

    /// An element's deviation, shifted.
    #[inline(always)]
    fn deviation(&self, x: i32) -> i32 {
        let d = self.factor.wrapping_mul(x).wrapping_sub(self.offset);
        if self.up >= 0 { d << (self.up & 31) } else { shift_round(d, -self.up as u32) }
    }

    /// An element in its normal form.
    #[inline(always)]
    fn normal(&self, x: i32) -> i16 {
        saturate_i16(shift_round(self.deviation(x).wrapping_mul(self.inverse), self.down))
    }
}

/// `x * 2^up`, at most the largest number.
fn shifted(x: u64, up: i32) -> u64 {
    if up < 0 {
        return x.unbounded_shr(-up as u32);
    }
    if x.leading_zeros() < up as u32 { u64::MAX } else { x << (up & 63) }
}

/// The root of x, rounded to the nearest number.
fn root(x: u32) -> u32 {
    let (mut root, mut rest, mut bit) = (0, x, 1 << 30);
    while bit > 0 {
        if rest >= root + bit {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    root + (rest > root) as u32
}
