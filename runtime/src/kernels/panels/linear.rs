//! Linear maps, sixteen rows at a time.

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Entries, Isa, Panels, Plain, Vector, WIDTH, saturate, shift_round, tanh, write};
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
    linear(Linear<'_>), linear_with
);

#[inline(always)]
fn linear_with<V: Vector>(job: &Linear<'_>) -> Option<()> {
    let mut panels = job.panels;
    let rows = job.words.len().max(job.bytes.len());
    let mut start = 0;
    while start < rows {
        let panels = &mut panels;
        start += match (rows - start).div_ceil(WIDTH) {
            1 => some::<V, 1>(job, panels, start)?,
            2 => some::<V, 2>(job, panels, start)?,
            3 => some::<V, 3>(job, panels, start)?,
            _ => some::<V, 4>(job, panels, start)?,
        };
    }
    Some(())
}

/// The rows of some panels; how many.
#[inline(always)]
fn some<'a, V: Vector, const P: usize>(
    job: &Linear<'a>,
    panels: &mut Panels<'a>,
    start: usize,
) -> Option<usize> {
    let first = panels.take(job.columns.len(), 0)?;
    let mut all = [first; P];
    for panel in all.iter_mut().skip(1) {
        *panel = panels.take(job.columns.len(), 0)?;
    }
    let sums: [V; P] = panels.dot(all, 0, job.columns);
    for at in 0..P {
        finish(job, start + at * WIDTH, panels.result(sums[at], all[at].records));
    }
    Some(P * WIDTH)
}

/// Token part, activation, and off it goes.
#[inline(always)]
fn finish<V: Vector>(job: &Linear<'_>, start: usize, sum: V) {
    let sum = sum.add(job.table.read::<V, false>(start, usize::MAX));
    if job.bytes.is_empty() {
        let x = saturate(sum);
        let x = match job.activation {
            Activation::None => x,
            Activation::Tanh { shift } => shift_round(tanh(x), shift as u32),
            Activation::Relu => x.max(V::splat(0)),
        };
        write::<_, false>(job.words, start, x.to_i16());
    } else {
        write::<_, false>(job.bytes, start, sum.min(V::splat(127)).max(V::splat(-127)).to_i8());
    }
}
