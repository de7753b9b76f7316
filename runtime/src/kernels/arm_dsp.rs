//! Cortex-M4, M7, M33: products of [`Layout::Pairs`] with SMLAD, two products an instruction.
//!
//! A 16-bit lane holds two rows (int8) or four (int4) of one column, so that one SMLAD on the raw word multiplies all of
//! them at once; the sums of the lower rows, taken apart by one more instruction each, are subtracted at the end. That is
//! exact modulo 2^32 while sums stay below 2^23 (int8) and 2^19 (int4), as they do over [`MAX_RUN`] columns.
//!
//! Per 32 products, loads included: int8 27 instructions, int4 31; with two vectors at a time 24 and 26.

#![allow(unsafe_code)]

use core::arch::global_asm;
use core::cell::Cell;

use super::{Bits, Columns, Layout, MAX_RUN, ROWS, Rows};

#[cfg(not(armv8m))]
global_asm!(include_str!("arm_dsp.s"), options(raw));
#[cfg(armv8m)]
global_asm!(".cpu cortex-m33", include_str!("arm_dsp.s"), options(raw));

/// What the kernels read; see `arm_dsp.s`.
#[repr(C)]
struct Job {
    weights: *const u8,
    columns: *const i16,
    bulk_end: *const i16,
    end: *const i16,
    /// Row records, or where four sums go.
    records: *const u8,
    out: *mut i16,
    out_end: *const i16,
    rounding: u32,
    shift: u32,
    /// Eight times the sum of the columns, or the second vector's results.
    extra: u32,
    /// Eight times the sums of two vectors' columns.
    corrections: [i32; 2],
}

// SAFETY: each function reads the job, the weights and columns that it delimits and, but for the sums, as many records as
// there are results; it writes the results (or four sums) alone and keeps all registers that it must.
unsafe extern "C" {
    fn kinglet_pairs_int8(job: &Job);
    fn kinglet_pairs_int4(job: &Job);
    fn kinglet_pairs_sums_int8(job: &Job);
    fn kinglet_pairs_sums_int4(job: &Job);
    fn kinglet_pairs_two_int8(job: &Job);
    fn kinglet_pairs_two_int4(job: &Job);
}

// SAFETY: both read numbers of the (first) query up to its end, a multiple of four and not none, and as many of the others, at
// any alignment; they keep all registers that they must.
unsafe extern "C" {
    fn kinglet_dot(key: *const Cell<i8>, query: *const i16, end: *const i16) -> i32;
    fn kinglet_dot_two(key: *const Cell<i8>, first: *const i16, second: *const i16, end: *const i16) -> u64;
}

/// Columns of a block of `project` and of `dot4`.
const BLOCK: usize = 64;
const SHORT_BLOCK: usize = 16;
/// Elements (two vectors) of a block of `project_two`.
const PAIR_BLOCK: usize = 64;

/// LDM and LDRD fault on unaligned words: a blob that its owner did not align is read by the portable kernel.
fn aligned(weights: &[u8], columns: &[i16]) -> bool {
    (weights.as_ptr() as usize | columns.as_ptr() as usize) & 3 == 0
}

/// Columns to work on and streams that are there in full, both for weights and for records.
fn streams(rows: &Rows<'_>, columns: usize, results: usize) -> usize {
    let stream = rows.bits.stream_bytes(columns).max(1);
    // The quotient of lengths without a division that could fail: `chunks_exact` counts.
    (rows.weights.chunks_exact(stream).len()).min(rows.records.len() / ROWS).min(results / ROWS)
}

/// Whole rows of results; false when this kernel does not do them.
// Beside Helium's kernel this one reads another core's blobs: what it needs is not to be computed before that one is asked.
#[cfg_attr(mve, inline(never))]
pub fn project(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) -> bool {
    let len = columns.values.len() & !3;
    if rows.layout != Layout::Pairs
        || rows.group != 0
        || len > MAX_RUN
        || len != columns.values.len()
        || !aligned(rows.weights, columns.values)
    {
        return false;
    }
    let streams = streams(rows, len, to.len());
    if streams == 0 {
        return true;
    }
    let range = columns.values.as_ptr_range();
    let out = to.as_ptr().cast::<i16>().cast_mut();
    let job = Job {
        weights: rows.weights.as_ptr(),
        columns: range.start,
        bulk_end: range.start.wrapping_add(len & !(BLOCK - 1)),
        end: range.end,
        records: rows.records.as_ptr().cast(),
        out,
        out_end: out.wrapping_add(streams * ROWS),
        rounding: (1 << (rows.post & 31)) >> 1,
        shift: (rows.post & 31) as u32,
        extra: (columns.total << 3) as u32,
        corrections: [0; 2],
    };
    // SAFETY: `streams` whole streams lie in the weights, four times as many records and results beside them; columns are
    // a multiple of 4, aligned to 4 bytes as the weights are.
    unsafe {
        match rows.bits {
            Bits::Int8 => kinglet_pairs_int8(&job),
            Bits::Int4 => kinglet_pairs_int4(&job),
        }
    }
    true
}

/// Whole rows of results of two interleaved vectors.
pub fn project_two(rows: &Rows<'_>, pair: &[i16], totals: [i32; 2], to: [&[Cell<i16>]; 2]) {
    let [first, second] = to;
    let len = pair.len() / 2;
    if len > MAX_RUN || len & 3 != 0 || !aligned(rows.weights, pair) {
        return apart(rows, pair, [first, second]);
    }
    let streams = streams(rows, len, first.len().min(second.len()));
    if streams == 0 {
        return;
    }
    let range = pair.as_ptr_range();
    let out = first.as_ptr().cast::<i16>().cast_mut();
    let job = Job {
        weights: rows.weights.as_ptr(),
        columns: range.start,
        bulk_end: range.start.wrapping_add(2 * len & !(PAIR_BLOCK - 1)),
        end: range.start.wrapping_add(2 * len),
        records: rows.records.as_ptr().cast(),
        out,
        out_end: out.wrapping_add(streams * ROWS),
        rounding: (1 << (rows.post & 31)) >> 1,
        shift: (rows.post & 31) as u32,
        extra: second.as_ptr() as u32,
        corrections: totals.map(|total| total << 3),
    };
    // SAFETY: as in `project`; both slices of results have room for `streams` times four.
    unsafe {
        match rows.bits {
            Bits::Int8 => kinglet_pairs_two_int8(&job),
            Bits::Int4 => kinglet_pairs_two_int4(&job),
        }
    }
}

/// Two interleaved vectors that the kernels cannot take (long ones, unaligned weights): column by column.
#[cold]
#[inline(never)]
fn apart(rows: &Rows<'_>, pair: &[i16], to: [&[Cell<i16>]; 2]) {
    let stream = rows.bits.stream_bytes(pair.len() / 2).max(1);
    for (vector, to) in to.into_iter().enumerate() {
        let weights = rows.weights.chunks_exact(stream);
        for ((weights, records), to) in
            weights.zip(rows.records.as_chunks::<ROWS>().0).zip(to.as_chunks::<ROWS>().0)
        {
            for (row, (to, record)) in to.iter().zip(records).enumerate() {
                let mut sum = 0i32;
                for (c, both) in pair.as_chunks::<4>().0.iter().enumerate() {
                    for i in 0..2 {
                        let x = if vector == 0 { both[i] } else { both[2 + i] };
                        let w = super::layout::weight(rows.layout, rows.bits, weights, row, 2 * c + i);
                        sum = sum.wrapping_add(w * x as i32);
                    }
                }
                to.set(super::result(sum, record, rows.post));
            }
        }
    }
}

/// Sums of four rows over at most [`MAX_RUN`] columns; `None` when this kernel does not do them.
pub fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> Option<[i32; 4]> {
    let len = columns.values.len();
    if layout != Layout::Pairs
        || len > MAX_RUN
        || len & 3 != 0
        || stream.len() < bits.stream_bytes(len)
        || !aligned(stream, columns.values)
    {
        return None;
    }
    let mut sums = [0i32; 4];
    let range = columns.values.as_ptr_range();
    let job = Job {
        weights: stream.as_ptr(),
        columns: range.start,
        bulk_end: range.start.wrapping_add(len & !(SHORT_BLOCK - 1)),
        end: range.end,
        records: sums.as_mut_ptr().cast(),
        out: core::ptr::null_mut(),
        out_end: core::ptr::null(),
        rounding: 0,
        shift: 0,
        extra: 0,
        corrections: [0; 2],
    };
    // SAFETY: the stream is there in full, columns are a multiple of 4, both aligned; four sums have room.
    unsafe {
        match bits {
            Bits::Int8 => kinglet_pairs_sums_int8(&job),
            Bits::Int4 => kinglet_pairs_sums_int4(&job),
        }
    }
    if bits == Bits::Int4 {
        sums[1..].iter_mut().for_each(|sum| *sum = sum.wrapping_sub(columns.total << 3));
    }
    Some(sums)
}

/// As [`super::gates::dot`].
pub fn dot(key: &[Cell<i8>], query: &[i16]) -> i32 {
    let terms = key.len().min(query.len());
    let whole = terms & !3;
    let sum = if whole > 0 {
        // SAFETY: so many are in both, at least four.
        unsafe { kinglet_dot(key.as_ptr(), query.as_ptr(), query.as_ptr().wrapping_add(whole)) }
    } else {
        0
    };
    sum.wrapping_add(rest(key, query, whole))
}

/// [`dot`] of two queries, which share the key.
pub fn dot_two(key: &[Cell<i8>], [first, second]: [&[i16]; 2]) -> [i32; 2] {
    let terms = key.len().min(first.len()).min(second.len());
    let whole = terms & !3;
    let sums = if whole > 0 {
        let end = first.as_ptr().wrapping_add(whole);
        // SAFETY: so many are in all three, at least four.
        unsafe { kinglet_dot_two(key.as_ptr(), first.as_ptr(), second.as_ptr(), end) }
    } else {
        0
    };
    let [a, b] = [first, second].map(|query| rest(key, query.get(..terms).unwrap_or(query), whole));
    [(sums as i32).wrapping_add(a), ((sums >> 32) as i32).wrapping_add(b)]
}

/// The terms from `start` on.
fn rest(key: &[Cell<i8>], query: &[i16], start: usize) -> i32 {
    super::gates::dot(key.get(start..).unwrap_or(&[]), query.get(start..).unwrap_or(&[]))
}
