//! Cortex-M0 and M3: products of [`Layout::Tiles`] in assembly, four rows at a time.
//!
//! | per product | int8 | int4 |
//! |---|---|---|
//! | Cortex-M0 | a byte load, a multiplication, an addition; a column's load for four rows: 3.34 instructions | two rows share a multiplication in 16-bit lanes: 2.75 |
//! | Cortex-M3 | two rows share a UMLAL, 24 bits apart in its 64-bit sum: 1.34 | as on the M0, with MLA: 1.41 |

#![allow(unsafe_code)]

use core::arch::global_asm;
use core::cell::Cell;

use super::{Bits, Columns, Layout, MAX_RUN, ROWS, Rows};

#[cfg(armv6m)]
global_asm!(include_str!("armv6m.s"), options(raw));
#[cfg(armv7m)]
global_asm!(include_str!("armv7m.s"), options(raw));

/// What the kernels read; see the assembly.
#[repr(C)]
struct Job {
    weights: *const u8,
    columns: *const i16,
    bulk_end: *const i16,
    end: *const i16,
    /// Row records; null: four sums are wanted, no more.
    records: *const u8,
    /// Results, or the four sums.
    out: *mut i16,
    out_end: *const i16,
    rounding: u32,
    shift: u32,
    /// The sum of the columns times the offset of the stored weights, 128 or 8, which was multiplied with every column.
    correction: i32,
}

// SAFETY: each reads the job, the weights and columns that it delimits and as many records as there are results, writes
// the results (or four sums) and the job alone and keeps all registers that it must.
unsafe extern "C" {
    fn kinglet_tiles_int8(job: &mut Job);
    fn kinglet_tiles_int4(job: &mut Job);
}

/// Columns of a block of the long loop.
const BLOCK: usize = 16;

/// Runs the kernel. LDM faults on unaligned words: a blob that its owner did not align is left to the portable kernel.
fn run(layout: Layout, bits: Bits, weights: &[u8], columns: &Columns<'_>, results: Results<'_>) -> bool {
    let len = columns.values.len();
    let unaligned = (weights.as_ptr() as usize | columns.values.as_ptr() as usize) & 3 != 0;
    if layout != Layout::Tiles || len > MAX_RUN || len & 3 != 0 || unaligned {
        return false;
    }
    let stream = bits.stream_bytes(len);
    let (records, out, streams, post) = match results {
        Results::Sums(sums) => (core::ptr::null(), sums.as_ptr().cast::<i16>().cast_mut(), 1, 0),
        Results::Rows(records, to, post) => {
            let streams = (records.len() / ROWS).min(to.len() / ROWS);
            (records.as_ptr().cast(), to.as_ptr().cast::<i16>().cast_mut(), streams, post as u32 & 31)
        }
    };
    if streams == 0 || weights.len() < streams.saturating_mul(stream) {
        return false;
    }
    let range = columns.values.as_ptr_range();
    let mut job = Job {
        weights: weights.as_ptr(),
        columns: range.start,
        bulk_end: range.start.wrapping_add(len & !(BLOCK - 1)),
        end: range.end,
        records,
        out,
        out_end: out.wrapping_add(streams * ROWS),
        rounding: (1 << post) >> 1,
        shift: post,
        correction: match bits {
            Bits::Int8 => columns.total << 7,
            Bits::Int4 => columns.total << 3,
        },
    };
    // SAFETY: the streams lie in the weights in full, columns are a multiple of 4, both aligned to 4 bytes; there are four
    // records and results a stream, or room for four sums.
    unsafe {
        match bits {
            Bits::Int8 => kinglet_tiles_int8(&mut job),
            Bits::Int4 => kinglet_tiles_int4(&mut job),
        }
    }
    if let Results::Sums(sums) = results {
        sums.iter().for_each(|sum| sum.set(sum.get().wrapping_sub(job.correction)));
    }
    true
}

/// What is wanted of four rows.
#[derive(Clone, Copy)]
enum Results<'a> {
    Sums(&'a [Cell<i32>; ROWS]),
    /// Records, where results go, second shift.
    Rows(&'a [[u8; 8]], &'a [Cell<i16>], u8),
}

/// Whole rows of results; false when this kernel does not do them.
pub fn project(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) -> bool {
    let results = Results::Rows(rows.records, to, rows.post);
    rows.group == 0 && run(rows.layout, rows.bits, rows.weights, columns, results)
}

/// Sums of four rows over at most [`MAX_RUN`] columns; `None` when this kernel does not do them.
pub fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> Option<[i32; 4]> {
    let sums = [const { Cell::new(0) }; ROWS];
    run(layout, bits, stream, columns, Results::Sums(&sums)).then(|| sums.map(Cell::into_inner))
}
