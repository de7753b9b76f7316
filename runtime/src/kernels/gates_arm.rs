//! Gates in assembly for Cortex-M: what `gates` defines, in 90 (M4) and 150 (M0) instructions an LSTM unit.

#![allow(unsafe_code)]

use core::arch::global_asm;
use core::cell::Cell;

use crate::blob::schema::GRU_GROUP;
use crate::tables::tanh_table;

#[cfg(armv6m)]
global_asm!(include_str!("gates_armv6m.s"), options(raw));
#[cfg(not(armv6m))]
global_asm!(include_str!("gates_armv7m.s"), options(raw));

/// What the kernels read; see the assembly.
#[repr(C)]
struct Job {
    sums: *const Cell<i16>,
    cells: *const Cell<i16>,
    states: *const Cell<i16>,
    states_end: *const Cell<i16>,
    table: *const i16,
    /// From the product of two Q0.15 gates to the cell's units times 2^15.
    product_shift: u32,
    up: u32,
    rounding: u32,
    down: u32,
}

// SAFETY: both read the job, four sums a unit and the table, in which no index leaves [-256, 256]; they read and write
// cells and states up to the stated end, and keep all registers that they must.
unsafe extern "C" {
    fn kinglet_lstm(job: &Job);
    fn kinglet_gru(job: &Job);
}

/// As [`super::gates::lstm`].
pub fn lstm(sums: &[Cell<i16>], cells: &[Cell<i16>], states: &[Cell<i16>], bits: u32) {
    let units = (sums.len() / 4).min(cells.len()).min(states.len());
    if units == 0 {
        return;
    }
    let bits = bits & 15;
    let down = bits.saturating_sub(12);
    let job = Job {
        sums: sums.as_ptr(),
        cells: cells.as_ptr(),
        states: states.as_ptr(),
        states_end: states.as_ptr().wrapping_add(units),
        table: tanh_table(),
        product_shift: 15 - bits,
        up: 12u32.saturating_sub(bits),
        rounding: (1 << down) >> 1,
        down,
    };
    // SAFETY: there are as many sums, cells and states as the job says.
    unsafe { kinglet_lstm(&job) }
}

/// As [`super::gates::gru`].
pub fn gru(sums: &[[Cell<i16>; GRU_GROUP]; 4], states: &[Cell<i16>], bits: u32) {
    let units = states.len().min(GRU_GROUP);
    if units == 0 {
        return;
    }
    let down = 3 + (bits & 15);
    let job = Job {
        sums: sums.as_ptr().cast(),
        cells: core::ptr::null(),
        states: states.as_ptr(),
        states_end: states.as_ptr().wrapping_add(units),
        table: tanh_table(),
        product_shift: 0,
        up: 0,
        rounding: (1 << down) >> 1,
        down,
    };
    // SAFETY: sums of a group of units are there, and as many states as the job says.
    unsafe { kinglet_gru(&job) }
}

#[cfg(not(armv6m))]
pub use attention::{context, energy, largest, sum_exp2};
#[cfg(arm_dsp)]
pub use attention::{context_two, energy_two};

#[cfg(not(armv6m))]
#[path = "attention_arm.rs"]
mod attention;
