//! Cortex-M, through `cortex-m` and `cortex-m-rt`.
#![expect(unsafe_code, reason = "the linker script's symbols, SysTick, markers that are instructions")]

use core::arch::naked_asm;
use core::ptr::addr_of;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

use crate::board;

#[doc(hidden)]
pub mod runtime {
    pub use cortex_m_rt::entry;

    /// Nothing to do: `cortex-m-rt` painted the stack.
    pub fn before_main() {}
}

/// What unused stack holds.
pub const STACK_PAINT: u32 = cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_start: u32;
}

/// The lowest word of the stack, and the address just past the highest.
pub fn stack_bounds() -> (*const u32, *const u32) {
    (addr_of!(_stack_end), addr_of!(_stack_start))
}

/// Sleeps until something happens.
pub fn wait() {
    cortex_m::asm::wfi();
}

/// Stops in the debugger.
pub fn breakpoint() {
    cortex_m::asm::bkpt();
}

/// Counts executed instructions in QEMU with `-icount shift=6`: every instruction then advances the emulated clock by
/// 64 ns, and SysTick ticks faster than that.
pub struct Counter(());

impl Counter {
    /// What a difference of two readings is taken modulo: this plus one. 24 bits are 8 million instructions or more.
    pub const MASK: u64 = 0xFF_FFFF;

    /// The counter, started. Once in a program.
    pub fn start() -> Self {
        // SAFETY: nothing else in these programs uses SysTick.
        let mut timer = unsafe { cortex_m::Peripherals::steal() }.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(Self::MASK as u32);
        timer.clear_current();
        timer.enable_counter();
        Self(())
    }

    /// The ticks that `work` takes, between the markers by which `scripts/cycles.c` knows it.
    #[inline(never)]
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> (u64, T) {
        let start = SYST::get_current();
        begin();
        let result = work();
        end();
        (u64::from(start.wrapping_sub(SYST::get_current())) & Self::MASK, result) // it counts down
    }

    /// The instructions that `ticks` are, in 1/16.
    pub fn sixteenths(ticks: u64) -> u64 {
        // Ticks of 10^6 / CORE_KHZ ns, instructions of 64 ns.
        ticks * 250_000 / u64::from(board::CORE_KHZ)
    }
}

/// `mov r10, r10`, which no compiler emits. The markers are functions of their own because QEMU translates the code
/// around a timer's register anew, without what a plugin added to it.
#[unsafe(naked)]
extern "C" fn begin() {
    naked_asm!("mov r10, r10", "bx lr")
}

/// `mov r11, r11`.
#[unsafe(naked)]
extern "C" fn end() {
    naked_asm!("mov r11, r11", "bx lr")
}
