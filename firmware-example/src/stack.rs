//! Stack high-water: the start-up code paints the stack, what was used is no longer that colour.
#![expect(unsafe_code, reason = "reads the stack's memory between its bounds")]

use core::ptr::read_volatile;

use crate::cpu;

/// Bytes that the stack has.
pub fn size() -> usize {
    let (lowest, end) = cpu::stack_bounds();
    end as usize - lowest as usize
}

/// Most bytes that the stack has held since the start, by the lowest word that lost its paint.
pub fn high_water() -> usize {
    let (mut word, end) = cpu::stack_bounds();
    // SAFETY: the linker script leaves the words between the bounds to the stack; they are RAM.
    while word < end && unsafe { read_volatile(word) } == cpu::STACK_PAINT {
        word = word.wrapping_add(1);
    }
    end as usize - word as usize
}
