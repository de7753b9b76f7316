//! Cortex-M55: products of [`Layout::Blocks`] and gates with Helium, 16 products or 8 gates an instruction.
//!
//! Columns lie as bytes in the first half of each tile's words, where [`prepare`] put them, so that a part of the columns
//! that begins at a tile is still a slice. A load of columns serves four rows: 9 instructions for 64 products of int8, 11 of
//! int4. Four sums are requantized as one vector.

#![allow(unsafe_code)]

use core::arch::global_asm;
use core::cell::Cell;

use super::{Bits, Columns, Layout, ROWS, Rows, gates_arm};
use crate::blob::schema::GRU_GROUP;
use crate::tables::tanh_table;

global_asm!(".cpu cortex-m55", include_str!("mve.s"), options(raw));

/// Columns of a tile.
const TILE: usize = Layout::Blocks.columns();
/// Units whose gates are computed at once.
const UNITS: usize = 8;

/// What the products read.
#[repr(C)]
struct Job {
    weights: *const u8,
    columns: *const i16,
    /// Row records; null: four sums are wanted, no more.
    records: *const [u8; 8],
    /// Results, or the four sums.
    out: *const Cell<i16>,
    /// The second shift, negative: to the right.
    shift: i32,
    rounding: u32,
    tiles: usize,
    streams: usize,
}

/// What the gates of an LSTM read.
#[repr(C)]
struct LstmJob {
    sums: *const Cell<i16>,
    cells: *const Cell<i16>,
    states: *const Cell<i16>,
    tanh: Tanh,
    /// Shift of i * g to the cell's scale.
    product: i32,
    /// Shift of a cell to Q3.12.
    cell: i32,
    blocks: usize,
}

/// What the gates of a GRU read.
#[repr(C)]
struct GruJob {
    sums: *const [Cell<i16>; GRU_GROUP],
    units: usize,
    states: *const Cell<i16>,
    tanh: Tanh,
    /// Shift of r * u to Q3.12.
    recurrent: i32,
    blocks: usize,
}

/// What tanh and sigmoid need in registers.
#[repr(C)]
struct Tanh {
    low: *const i16,
    high: *const i16,
    middle: u32,
    half: u32,
}

impl Tanh {
    fn new() -> Self {
        let low = tanh_table().wrapping_sub(256);
        Self { low, high: low.wrapping_add(1), middle: 256, half: 16_384 }
    }
}

// SAFETY: each function reads and writes what its job names, in the amounts stated where it is called, and keeps all
// registers that it must.
unsafe extern "C" {
    fn kinglet_blocks_int8(job: &Job);
    fn kinglet_blocks_int4(job: &Job);
    fn kinglet_blocks_prepare(columns: *mut i16, tiles: usize);
    fn kinglet_columns_of_bytes(from: *const Cell<i8>, to: *mut i16, len: usize, offset: i32);
    fn kinglet_columns_of_words(from: *const Cell<i16>, to: *mut i16, len: usize, offset: i32);
    fn kinglet_lstm_gates(job: &LstmJob);
    fn kinglet_gru_gates(job: &GruJob);
}

/// Packs whole tiles of columns where they lie.
pub fn prepare(columns: &mut [i16]) {
    // SAFETY: so many tiles lie in the slice.
    unsafe { kinglet_blocks_prepare(columns.as_mut_ptr(), columns.len() / TILE) }
}

/// As [`super::portable::columns_of_bytes`].
pub fn columns_of_bytes(from: &[Cell<i8>], offset: i16, to: &mut [i16]) {
    // SAFETY: so many are in both slices.
    unsafe {
        kinglet_columns_of_bytes(from.as_ptr(), to.as_mut_ptr(), from.len().min(to.len()), offset.into());
    }
}

/// As [`super::portable::columns_of_words`].
pub fn columns_of_words(from: &[Cell<i16>], offset: i16, to: &mut [i16]) {
    // SAFETY: as above.
    unsafe {
        kinglet_columns_of_words(from.as_ptr(), to.as_mut_ptr(), from.len().min(to.len()), offset.into());
    }
}

fn run(bits: Bits, job: &Job) {
    // SAFETY: both callers have made sure that the weights hold all streams of so many tiles, that columns, records and
    // results are there in the same numbers, and that nothing is zero or unaligned.
    unsafe {
        match bits {
            Bits::Int8 => kinglet_blocks_int8(job),
            Bits::Int4 => kinglet_blocks_int4(job),
        }
    }
}

/// Whole rows of results; false when this kernel does not do them.
#[inline(never)]
pub fn project(rows: &Rows<'_>, columns: &Columns<'_>, to: &[Cell<i16>]) -> bool {
    let tiles = columns.values.len() / TILE;
    // De-interleaving loads fault on unaligned words: the records of a blob that its owner did not align are read one by
    // one.
    if rows.layout != Layout::Blocks
        || rows.group != 0
        || tiles == 0
        || !rows.records.as_ptr().cast::<u32>().is_aligned()
    {
        return false;
    }
    // The quotient of lengths without a division that could fail: `chunks_exact` counts.
    let streams = rows.weights.chunks_exact(rows.bits.stream_bytes(tiles * TILE).max(1)).len();
    let streams = streams.min(rows.records.len() / ROWS).min(to.len() / ROWS);
    if streams > 0 {
        let job = Job {
            weights: rows.weights.as_ptr(),
            columns: columns.values.as_ptr(),
            records: rows.records.as_ptr(),
            out: to.as_ptr(),
            shift: -((rows.post & 31) as i32),
            rounding: (1 << (rows.post & 31)) >> 1,
            tiles,
            streams,
        };
        run(rows.bits, &job);
    }
    true
}

/// Sums of four rows; `None` when this kernel does not do them.
pub fn dot4(layout: Layout, bits: Bits, stream: &[u8], columns: &Columns<'_>) -> Option<[i32; 4]> {
    let tiles = columns.values.len() / TILE;
    if layout != Layout::Blocks {
        return None;
    }
    let sums = [const { Cell::new(0i32) }; ROWS];
    if tiles > 0 && stream.len() >= bits.stream_bytes(tiles * TILE) {
        let job = Job {
            weights: stream.as_ptr(),
            columns: columns.values.as_ptr(),
            records: core::ptr::null(),
            out: sums.as_ptr().cast(),
            shift: 0,
            rounding: 0,
            tiles,
            streams: 1,
        };
        run(bits, &job);
    }
    Some(sums.map(Cell::into_inner))
}

/// As [`super::gates::lstm`].
pub fn lstm(sums: &[Cell<i16>], cells: &[Cell<i16>], states: &[Cell<i16>], bits: u32) {
    let units = (sums.len() / 4).min(cells.len()).min(states.len());
    let blocks = units / UNITS;
    if blocks > 0 {
        let bits = (bits & 15) as i32;
        let job = LstmJob {
            sums: sums.as_ptr(),
            cells: cells.as_ptr(),
            states: states.as_ptr(),
            tanh: Tanh::new(),
            product: bits - 15,
            cell: 12 - bits,
            blocks,
        };
        // SAFETY: so many blocks of eight units lie in each slice; the table has an entry for whatever 16 bits hold.
        unsafe { kinglet_lstm_gates(&job) }
    }
    let done = blocks * UNITS;
    if done < units
        && let (Some(sums), Some(cells), Some(states)) =
            (sums.get(4 * done..), cells.get(done..), states.get(done..))
    {
        gates_arm::lstm(sums, cells, states, bits);
    }
}

/// As [`super::gates::gru`].
pub fn gru(sums: &[[Cell<i16>; GRU_GROUP]; 4], states: &[Cell<i16>], bits: u32) {
    let units = states.len().min(GRU_GROUP);
    if units == 0 {
        return;
    }
    let job = GruJob {
        sums: sums.as_ptr(),
        units,
        states: states.as_ptr(),
        tanh: Tanh::new(),
        recurrent: -(3 + (bits & 15) as i32),
        blocks: units.div_ceil(UNITS),
    };
    // SAFETY: there are sums for a group of units, two blocks, and as many states as the job says; the table has an entry for
    // whatever 16 bits hold.
    unsafe { kinglet_gru_gates(&job) }
}
