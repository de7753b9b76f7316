//! RISC-V, through `riscv` and `riscv-rt`.
#![expect(unsafe_code, reason = "the stack between the linker script's symbols; instructions")]

use core::arch::asm;
use core::ptr::{addr_of, write_volatile};

#[doc(hidden)]
pub mod runtime {
    pub use super::paint as before_main;
    pub use riscv_rt::entry;
}

/// What unused stack holds.
pub const STACK_PAINT: u32 = 0xCCCC_CCCC;

unsafe extern "C" {
    static __estack: u32;
    static _stack_start: u32;
}

/// The lowest word of the stack, and the address just past the highest.
pub fn stack_bounds() -> (*const u32, *const u32) {
    (addr_of!(__estack), addr_of!(_stack_start))
}

/// Paints the stack that is not in use.
pub fn paint() {
    let top: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
    let mut word = addr_of!(__estack).cast_mut();
    while (word as usize) < top {
        // SAFETY: RAM between the lowest word of the stack and the stack pointer, which nothing uses.
        unsafe { write_volatile(word, STACK_PAINT) };
        word = word.wrapping_add(1);
    }
}

/// Sleeps until something happens.
pub fn wait() {
    riscv::asm::wfi();
}

/// Stops in the debugger.
pub fn breakpoint() {
    // SAFETY: an instruction without operands; what it does to a program is stop it.
    unsafe { riscv::asm::ebreak() };
}

/// Counts executed instructions in QEMU with `-icount shift=6`: `minstret` then is the emulated clock, which an instruction
/// advances by 64.
pub struct Counter(());

impl Counter {
    /// What a difference of two readings is taken modulo: this plus one.
    pub const MASK: u64 = u64::MAX;

    /// The counter, which always runs.
    pub fn start() -> Self {
        Self(())
    }

    /// The ticks that `work` takes.
    #[inline(never)]
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> (u64, T) {
        let start = riscv::register::minstret::read64();
        let result = work();
        (riscv::register::minstret::read64().wrapping_sub(start), result)
    }

    /// The instructions that `ticks` are, in 1/16.
    pub fn sixteenths(ticks: u64) -> u64 {
        ticks / 4
    }
}
