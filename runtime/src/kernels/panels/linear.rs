//! Linear maps, sixteen rows at a time.

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Entries, Isa, Panels, Place, Plain, Vector, WIDTH, saturate, shift_round, tanh, write};
use crate::blob::schema::Activation;

/// A linear map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub panels: Panels<'a>,
    pub columns: &'a [u8],
    pub table: Entries<'a>,
    /// What becomes of a sum that goes to words.
    pub activation: Activation,
    /// Where results go as 16-bit numbers, or
    pub words: &'a [Cell<i16>],
    /// as bytes, saturated to [-127, 127]. The other is empty.
    pub bytes: &'a [Cell<i8>],
}

kernel!(
    /// All rows.
    linear(Linear<'_>) -> Option<()>, linear_any
);

#[inline(always)]
fn linear_any<V: Vector>(job: &Linear<'_>) -> Option<()> {
    by_kind!(linear_with::<V>(job))
}

#[inline(always)]
fn linear_with<V: Vector, const NIBBLES: bool, const GROUPED: bool>(job: &Linear<'_>) -> Option<()> {
    let rows = job.words.len().max(job.bytes.len());
    let panels = rows.div_ceil(WIDTH);
    for block in 0..panels / 4 {
        some::<V, NIBBLES, GROUPED, 4>(job, block, [[0, 0], [1, 0], [2, 0], [3, 0]])?;
    }
    for panel in panels / 4 * 4..panels {
        some::<V, NIBBLES, GROUPED, 1>(job, panel, [[0, 0]])?;
    }
    Some(())
}

/// The rows of a block of panels.
#[inline(always)]
fn some<V: Vector, const NIBBLES: bool, const GROUPED: bool, const P: usize>(
    job: &Linear<'_>,
    number: usize,
    panels: [Place; P],
) -> Option<()> {
    let block = job.panels.block::<NIBBLES, GROUPED>(number, (P, P), [job.columns.len(), 0])?;
    let sums: [V; P] = block.dot(panels, job.columns)?;
    for (at, (sum, records)) in sums.into_iter().zip(block.records).enumerate() {
        finish(job, (number * P + at) * WIDTH, block.result(sum, records));
    }
    Some(())
}

/// Token part, activation, and off it goes.
#[inline(always)]
fn finish<V: Vector>(job: &Linear<'_>, start: usize, sum: V) {
    let sum = sum.add(job.table.row(start));
    if job.bytes.is_empty() {
        let x = saturate(sum);
        let x = match job.activation {
            Activation::None => x,
            Activation::Tanh { shift } => shift_round(tanh(sum), shift as u32),
            Activation::Relu => x.max(V::splat(0)),
        };
        write(job.words, start, x.to_i16());
    } else {
        write(job.bytes, start, sum.min(V::splat(127)).max(V::splat(-127)).to_i8());
    }
}
