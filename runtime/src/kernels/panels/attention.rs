//! Attention: scores sixteen columns at a time, and the weighted sum.

use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Isa, Plain, Vector, WIDTH, read, shift_round, to_byte, write};
use crate::blob::schema::Multiplier;
use crate::fixed::{requantize, saturate_i16};

/// Attention up to the scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Energies<'a> {
    pub query: &'a [Cell<i16>],
    /// A row of as many bytes as the query is wide for each score.
    pub keys: &'a [Cell<i8>],
    pub energy: Energy<'a>,
    pub score: Multiplier,
    pub scores: &'a [Cell<i16>],
}

/// What a score is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Energy<'a> {
    /// `v . tanh(query + key)`.
    Additive { query_bits: u8, key_scale: u16, v: &'a [u8] },
    /// `query . key`.
    #[cfg(feature = "dot")]
    Dot,
}

kernel!(
    /// The energy of each position, requantized.
    energies(Energies<'_>) -> Option<()>, energies_with
);

#[inline(always)]
fn energies_with<V: Vector>(job: &Energies<'_>) -> Option<()> {
    let width = job.query.len();
    for (t, score) in job.scores.iter().enumerate() {
        let keys = job.keys.get(t * width..)?.get(..width)?;
        let mut sum = V::splat(0);
        for start in (0..width).step_by(2 * WIDTH) {
            for terms in terms::<V>(job, keys, start) {
                sum = sum.add(terms);
            }
        }
        let sum = sum.to_i32().iter().fold(0i32, |all, &x| all.wrapping_add(x));
        score.set(saturate_i16(requantize(sum, job.score)));
    }
    Some(())
}

/// Terms of an energy from an element on, twice sixteen; zeros beyond the end.
#[inline(always)]
fn terms<V: Vector>(job: &Energies<'_>, keys: &[Cell<i8>], start: usize) -> [V; 2] {
    let starts = [start, start + WIDTH];
    let (mut queries, mut terms) = ([V::splat(0); 2], [V::splat(0); 2]);
    for ((query, key), start) in queries.iter_mut().zip(&mut terms).zip(starts) {
        (*query, *key) = (V::from_i16(&read(job.query, start)), V::from_i8(&read(keys, start)));
    }
    match job.energy {
        Energy::Additive { query_bits, key_scale, v } => {
            let left = 12 - (query_bits as u32).min(12);
            for (key, query) in terms.iter_mut().zip(queries) {
                *key = shift_round(key.mul(V::splat(key_scale as i32)), 6).add(query.shl(left));
            }
            terms = V::tanh_steps::<7, 7>(terms);
            for (term, start) in terms.iter_mut().zip(starts) {
                // Beyond the end v is zero.
                let mut here = [0; WIDTH];
                let rest = v.get(start..).unwrap_or(&[]);
                match rest.first_chunk::<WIDTH>() {
                    Some(all) => here = all.map(|v| v as i8),
                    None => here.iter_mut().zip(rest).for_each(|(to, &from)| *to = from as i8),
                }
                *term = V::from_i8(&here).mul(*term);
            }
        }
        #[cfg(feature = "dot")]
        Energy::Dot => {
            for (key, query) in terms.iter_mut().zip(queries) {
                *key = key.mul(to_byte(query));
            }
        }
    }
    terms
}

/// Attention's weighted sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// In 2^-15, unsigned.
    pub weights: &'a [Cell<i16>],
    /// A row of as many bytes as `to` for each weight.
    pub values: &'a [Cell<i8>],
    pub to: &'a [Cell<i8>],
}

kernel!(
    /// Sum of weight * value, rounded.
    context(Context<'_>) -> Option<()>, context_with
);

#[inline(always)]
fn context_with<V: Vector>(job: &Context<'_>) -> Option<()> {
    let width = job.to.len();
    for start in (0..width).step_by(WIDTH) {
        let mut sum = V::splat(0);
        for (t, weight) in job.weights.iter().enumerate() {
            let row = job.values.get(t * width..)?.get(..width)?;
            sum = sum.add(V::from_i8(&read(row, start)).mul(V::splat(i32::from(weight.get() as u16))));
        }
        let sum = shift_round(sum, 15).min(V::splat(127)).max(V::splat(-127));
        write(job.to, start, sum.to_i8());
    }
    Some(())
}
