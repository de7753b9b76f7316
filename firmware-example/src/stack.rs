//! Stack high-water: the start-up code paints the stack, what was used is no longer that colour.
#![expect(unsafe_code, reason = "reads the stack's memory between the linker script's symbols")]

use core::ptr::{addr_of, read_volatile};

unsafe extern "C" {
    static _stack_end: u32; // lowest word
    static _stack_start: u32; // just past the highest word
}

/// Bytes that the stack has.
pub fn size() -> usize {
    addr_of!(_stack_start) as usize - addr_of!(_stack_end) as usize
}

/// Most bytes that the stack has held since the start, by the lowest word that lost its paint.
pub fn high_water() -> usize {
    let mut word = addr_of!(_stack_end);
    let end = addr_of!(_stack_start);
    // SAFETY: the linker script leaves the words between its two symbols to the stack; they are RAM.
    while word < end && unsafe { read_volatile(word) } == cortex_m_rt::STACK_PAINT_VALUE {
        word = word.wrapping_add(1);
    }
    end as usize - word as usize
}
