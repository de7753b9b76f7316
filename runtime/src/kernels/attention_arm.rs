//! Attention, softmax and the largest logit in assembly for Cortex-M3 and larger: what `gates` defines.

use core::cell::Cell;

use crate::tables::{exp2_table, tanh_table};

/// What the sum of exponentials reads.
#[repr(C)]
struct Exponentials {
    values: *const Cell<i16>,
    end: *const Cell<i16>,
    largest: i32,
    bits: u32,
    table: *const u16,
}

/// What the energies read.
#[repr(C)]
struct Energy {
    key: *const Cell<i8>,
    v: *const u8,
    v_end: *const u8,
    scale: i32,
    up: u32,
    queries: [*const Cell<i16>; 2],
    table: *const i16,
}

/// What the contexts read and write.
#[repr(C)]
struct Context {
    values: *const Cell<i8>,
    stride: usize,
    weights: *const Cell<i16>,
    /// Bytes from the first vector's weights to the second's.
    second_weights: usize,
    to: [*const Cell<i8>; 2],
    to_end: *const Cell<i8>,
    weights_end: *const Cell<i16>,
}

// SAFETY: each reads what its job delimits and the tables, in which no index leaves them; contexts write bytes from `to` to
// `to_end`, as many of the second vector; all keep the registers that they must.
unsafe extern "C" {
    fn kinglet_sum_exp2(job: &Exponentials) -> u32;
    fn kinglet_energy(job: &Energy) -> i32;
    #[cfg(arm_dsp)]
    fn kinglet_energy_two(job: &Energy) -> u64;
    fn kinglet_context(job: &Context);
    #[cfg(arm_dsp)]
    fn kinglet_context_two(job: &Context);
    fn kinglet_largest(values: *const Cell<i16>, end: *const Cell<i16>) -> usize;
}

/// As [`super::super::gates::sum_exp2`].
pub fn sum_exp2(values: &[Cell<i16>], largest: i16, bits: u32) -> u32 {
    let range = values.as_ptr_range();
    if values.is_empty() {
        return 0;
    }
    let (largest, bits) = (largest as i32, bits & 15);
    let job = Exponentials { values: range.start, end: range.end, largest, bits, table: exp2_table() };
    // SAFETY: the values are there, at least one.
    unsafe { kinglet_sum_exp2(&job) }
}

/// As [`super::super::gates::largest`].
pub fn largest(values: &[Cell<i16>]) -> (usize, i16) {
    let range = values.as_ptr_range();
    if values.is_empty() {
        return (0, i16::MIN);
    }
    // SAFETY: the values are there, at least one. What is returned points behind the largest.
    let behind = unsafe { kinglet_largest(range.start, range.end) };
    let index = (behind - range.start as usize) / 2 - 1;
    (index, values.get(index).map_or(i16::MIN, Cell::get))
}

fn energy_job(key: &[Cell<i8>], queries: [&[Cell<i16>]; 2], v: &[u8], scale: i32, up: u32) -> Option<Energy> {
    let [first, second] = queries;
    let terms = key.len().min(v.len()).min(first.len()).min(second.len());
    let v = v.get(..terms).filter(|v| !v.is_empty())?.as_ptr_range();
    let queries = [first.as_ptr(), second.as_ptr()];
    Some(Energy {
        key: key.as_ptr(),
        v: v.start,
        v_end: v.end,
        scale,
        up: up & 15,
        queries,
        table: tanh_table(),
    })
}

/// As [`super::super::gates::energy`].
pub fn energy(key: &[Cell<i8>], query: &[Cell<i16>], v: &[u8], scale: i32, up: u32) -> i32 {
    // SAFETY: there are as many keys and terms of the query as of v, at least one.
    energy_job(key, [query, query], v, scale, up).map_or(0, |job| unsafe { kinglet_energy(&job) })
}

/// [`energy`] of two queries, which share the key.
#[cfg(arm_dsp)]
pub fn energy_two(key: &[Cell<i8>], queries: [&[Cell<i16>]; 2], v: &[u8], scale: i32, up: u32) -> [i32; 2] {
    // SAFETY: as above, for both queries.
    let sums = energy_job(key, queries, v, scale, up).map_or(0, |job| unsafe { kinglet_energy_two(&job) });
    [sums as i32, (sums >> 32) as i32]
}

fn context_job(values: &[Cell<i8>], weights: [&[Cell<i16>]; 2], to: [&[Cell<i8>]; 2]) -> Option<Context> {
    let (width, rows) = (to[0].len(), weights[0].len());
    let there = values.len() >= rows.checked_mul(width)? && rows > 0 && width > 0;
    let same = weights[1].len() == rows && to[1].len() == width;
    let range = weights[0].as_ptr_range();
    (there && same).then(|| Context {
        values: values.as_ptr(),
        stride: width,
        weights: range.start,
        second_weights: (weights[1].as_ptr() as usize).wrapping_sub(range.start as usize),
        to: to.map(<[Cell<i8>]>::as_ptr),
        to_end: to[0].as_ptr_range().end,
        weights_end: range.end,
    })
}

/// As [`super::super::gates::context`].
pub fn context(values: &[Cell<i8>], weights: &[Cell<i16>], to: &[Cell<i8>]) {
    if let Some(job) = context_job(values, [weights; 2], [to; 2]) {
        // SAFETY: there is a row of values for every weight, as wide as the results; at least one of each.
        unsafe { kinglet_context(&job) }
    }
}

/// [`context`] of two vectors of weights, which share the values.
#[cfg(arm_dsp)]
pub fn context_two(values: &[Cell<i8>], weights: [&[Cell<i16>]; 2], to: [&[Cell<i8>]; 2]) {
    if let Some(job) = context_job(values, weights, to) {
        // SAFETY: as above, for both vectors.
        unsafe { kinglet_context_two(&job) }
    }
}
