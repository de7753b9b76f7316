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
use core::ops::Range;

use super::layout::weight;
use super::{Bits, Columns, Layout, MAX_RUN, ROWS, Rows};

#[cfg(not(armv8m))]
global_asm!(include_str!("arm_dsp.s"), include_str!("arm_dsp_two.s"), options(raw));
#[cfg(armv8m)]
global_asm!(".cpu cortex-m33", include_str!("arm_dsp.s"), include_str!("arm_dsp_two.s"), options(raw));

/// A stream, or the first of several, over a run of columns of one or two vectors; see `arm_dsp.s`.
#[repr(C)]
struct Run {
    weights: *const u8,
    columns: *const i16,
    bulk_end: *const i16,
    end: *const i16,
    /// Where four sums of each vector go; or row records, read alone.
    sums: *mut i32,
}

/// What is wanted of whole rows.
#[repr(C)]
struct Job {
    run: Run,
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
// there are results; it writes the results (or the sums) alone and keeps all registers that it must.
unsafe extern "C" {
    fn kinglet_pairs_int8(job: &Job);
    fn kinglet_pairs_int4(job: &Job);
    fn kinglet_pairs_sums_int8(run: &Run);
    fn kinglet_pairs_sums_int4(run: &Run);
    fn kinglet_pairs_two_int8(job: &Job);
    fn kinglet_pairs_two_int4(job: &Job);
    fn kinglet_pairs_two_sums_int8(run: &Run);
    fn kinglet_pairs_two_sums_int4(run: &Run);
}

// SAFETY: both read numbers of the (first) query up to its end, a multiple of four and not none, and as many of the others, at
// any alignment; they keep all registers that they must.
unsafe extern "C" {
    fn kinglet_dot(key: *const Cell<i8>, query: *const i16, end: *const i16) -> i32;
    fn kinglet_dot_two(key: *const Cell<i8>, first: *const i16, second: *const i16, end: *const i16) -> u64;
}

/// Elements, of one or of two vectors, of a block of whole rows.
const BLOCK: usize = 64;
/// Columns of a block of sums.
const SHORT_BLOCK: usize = 16;

/// Whether these are whole tiles of the columns of `N` vectors, not too many, with a stream or more of weights. LDM and LDRD fault
/// on unaligned words: a blob that its owner did not align is read by the portable kernel.
fn fits<const N: usize>(bits: Bits, weights: &[u8], columns: &[i16]) -> bool {
    let unaligned = (weights.as_ptr() as usize | columns.as_ptr() as usize) & 3 != 0;
    columns.len() <= N * MAX_RUN
        && columns.len() & (4 * N - 1) == 0
        && weights.len() >= bits.stream_bytes(columns.len() / N)
        && !unaligned
}

impl Run {
    /// In blocks of so many elements, a power of two.
    fn new(weights: &[u8], columns: &[i16], block: usize, sums: *mut i32) -> Self {
        let Range { start, end } = columns.as_ptr_range();
        let bulk_end = start.wrapping_add(columns.len() & !(block - 1));
        Self { weights: weights.as_ptr(), columns: start, bulk_end, end, sums }
    }
}

impl Job {
    /// As many streams as there are in full, of weights, records and results; `None` without any, or where runs are needed.
    #[inline(always)]
    fn new<const N: usize>(
        rows: &Rows<'_>,
        columns: &[i16],
        to: [&[Cell<i16>]; N],
        extra: u32,
        corrections: [i32; 2],
    ) -> Option<Self> {
        if rows.layout != Layout::Pairs || rows.group != 0 || !fits::<N>(rows.bits, rows.weights, columns) {
            return None;
        }
        // The quotient of lengths without a division that could fail: `chunks_exact` counts.
        let streams = rows.weights.chunks_exact(rows.bits.stream_bytes(columns.len() / N).max(1)).len();
        let results = to.iter().fold(rows.records.len(), |least, to| least.min(to.len()));
        let streams = streams.min(results / ROWS);
        let out = to.first()?.as_ptr().cast::<i16>().cast_mut();
        (streams > 0).then(|| Self {
            run: Run::new(rows.weights, columns, BLOCK, rows.records.as_ptr().cast_mut().cast()),
            out,
            out_end: out.wrapping_add(streams * ROWS),
            rounding: (1 << (rows.post & 31)) >> 1,
            shift: (rows.post & 31) as u32,
            extra,
            corrections,
        })
    }
}

/// Whole rows of results; false when this kernel does not do them.
// Beside Helium's kernel this one reads another core's blobs: what it needs is not to be computed before that one is asked.
#[cfg_attr(mve, inline(never))]
pub fn project(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) -> bool {
    let Some(job) = Job::new(rows, columns.values, [to], (columns.total << 3) as u32, [0; 2]) else {
        return false;
    };
    // SAFETY: whole streams lie in the weights, four times as many records and results beside them; columns are a multiple
    // of 4, aligned to 4 bytes as the weights are.
    unsafe {
        match rows.bits {
            Bits::Int8 => kinglet_pairs_int8(&job),
            Bits::Int4 => kinglet_pairs_int4(&job),
        }
    }
    true
}

/// Whole rows of results of two interleaved vectors; false when this kernel does not do them.
#[cfg_attr(mve, inline(never))]
pub fn project_two(rows: &Rows<'_>, pair: &[i16], totals: [i32; 2], to: [&[Cell<i16>]; 2]) -> bool {
    let [_, second] = to;
    let Some(job) = Job::new(rows, pair, to, second.as_ptr() as u32, totals.map(|total| total << 3)) else {
        return false;
    };
    // SAFETY: as in `project`; both slices of results have room for all streams.
    unsafe {
        match rows.bits {
            Bits::Int8 => kinglet_pairs_two_int8(&job),
            Bits::Int4 => kinglet_pairs_two_int4(&job),
        }
    }
    true
}

/// Sums of four rows over at most [`MAX_RUN`] columns; `None` when this kernel does not do them.
pub fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> Option<[i32; ROWS]> {
    if layout != Layout::Pairs || !fits::<1>(bits, stream, columns.values) {
        return None;
    }
    let mut sums = [0i32; ROWS];
    let run = Run::new(stream, columns.values, SHORT_BLOCK, sums.as_mut_ptr());
    // SAFETY: the stream is there in full, columns are a multiple of 4, both aligned; four sums have room.
    unsafe {
        match bits {
            Bits::Int8 => kinglet_pairs_sums_int8(&run),
            Bits::Int4 => kinglet_pairs_sums_int4(&run),
        }
    }
    correct(bits, &mut sums, columns.total);
    Some(sums)
}

/// [`dot4`] of two interleaved vectors, whatever the alignment.
pub fn dot4_two(bits: Bits, stream: &[u8], pair: &[i16], totals: [i32; 2]) -> [[i32; ROWS]; 2] {
    if !fits::<2>(bits, stream, pair) {
        return portable_two(bits, stream, pair);
    }
    let mut sums = [[0i32; ROWS]; 2];
    let run = Run::new(stream, pair, 2 * SHORT_BLOCK, sums.as_mut_ptr().cast());
    // SAFETY: as in `dot4`; four sums of each vector have room.
    unsafe {
        match bits {
            Bits::Int8 => kinglet_pairs_two_sums_int8(&run),
            Bits::Int4 => kinglet_pairs_two_sums_int4(&run),
        }
    }
    for (sums, total) in sums.iter_mut().zip(totals) {
        correct(bits, sums, total);
    }
    sums
}

/// Takes the offset of the nibbles, which was multiplied with every column, from the sums of rows 1 to 3.
#[inline(always)]
fn correct(bits: Bits, [_, offset @ ..]: &mut [i32; ROWS], total: i32) {
    if bits == Bits::Int4 {
        offset.iter_mut().for_each(|sum| *sum = sum.wrapping_sub(total << 3));
    }
}

/// The definition of [`dot4_two`].
#[cold]
#[inline(never)]
fn portable_two(bits: Bits, stream: &[u8], pair: &[i16]) -> [[i32; ROWS]; 2] {
    let mut sums = [[0i32; ROWS]; 2];
    for (tile, &[a, b, c, d]) in pair.as_chunks::<4>().0.iter().enumerate() {
        for (sums, columns) in sums.iter_mut().zip([[a, b], [c, d]]) {
            for (row, sum) in sums.iter_mut().enumerate() {
                for (i, x) in columns.into_iter().enumerate() {
                    let w = weight(Layout::Pairs, bits, stream, row, 2 * tile + i);
                    *sum = sum.wrapping_add(w * x as i32);
                }
            }
        }
    }
    sums
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
