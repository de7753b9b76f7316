//! What softmax and the search read of all logits, sixteen at a time.

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Isa, Plain, Vector, WIDTH, read};

/// Powers to be added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Powers<'a> {
    pub values: &'a [Cell<i16>],
    pub largest: i16,
    pub bits: u32,
}

kernel!(
    /// As `gates::sum_exp2`.
    powers(Powers<'_>) -> u32, powers_with
);

#[inline(always)]
fn powers_with<V: Vector>(job: &Powers<'_>) -> u32 {
    let bits = job.bits & 15;
    let largest = V::splat(job.largest as i32);
    let mut sum = V::splat(0);
    for start in (0..job.values.len()).step_by(WIDTH) {
        let x = largest.sub(V::from_i16(&read(job.values, start)));
        let power = x.shl(15 - bits).and(V::splat(0x7FFF)).exp2_neg();
        // 31 halvings leave nothing, and so it is beyond the end.
        let mut halvings = [0; WIDTH];
        halvings.iter_mut().skip(job.values.len() - start).for_each(|x| *x = 31);
        let halvings = x.shr(bits).min(V::splat(31)).max(V::from_i32(&halvings));
        sum = sum.add(power.shr_each(halvings));
    }
    sum.to_i32().into_iter().fold(0, |sum, x| sum.wrapping_add(x as u32))
}

/// As `gates::sum_exp2`.
pub fn sum_exp2(values: &[Cell<i16>], largest: i16, bits: u32) -> u32 {
    powers(Isa::detected(), &Powers { values, largest, bits })
}

kernel!(
    /// The largest value; of none, the least that there can be.
    most(&[Cell<i16>]) -> i16, most_with
);

#[inline(always)]
fn most_with<V: Vector>(values: &&[Cell<i16>]) -> i16 {
    let (blocks, rest) = values.as_chunks::<WIDTH>();
    let mut most = V::splat(i16::MIN as i32);
    for block in blocks {
        most = most.max(V::from_i16(&super::whole(block).get()));
    }
    let rest = rest.iter().map(|x| x.get() as i32);
    most.to_i32().into_iter().chain(rest).fold(i16::MIN as i32, Ord::max) as i16
}

/// As `gates::largest`.
pub fn largest(values: &[Cell<i16>]) -> (usize, i16) {
    let most = most(Isa::detected(), &values);
    (values.iter().position(|x| x.get() == most).unwrap_or(0), most)
}
