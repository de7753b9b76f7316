//! QEMU's `virt` machine for RISC-V: a 16550 UART and the machine timer of the CLINT.
#![expect(unsafe_code, reason = "registers at fixed addresses")]

use core::ptr::{read_volatile, write_volatile};

/// Receive buffer when read, transmit holding register when written.
const UART_DATA: *mut u8 = 0x1000_0000 as *mut u8;
/// Line status: bit 0 a byte was received, bit 5 the next may be sent.
const UART_LSR: *const u8 = 0x1000_0005 as *const u8;
/// The low word of the timer, at 10 MHz.
const MTIME: *const u32 = 0x0200_BFF8 as *const u32;

/// Bytes of RAM that the model may use.
pub const ARENA: usize = 1 << 20;

/// Ticks a microsecond.
pub const TICKS_PER_MICROSECOND: u32 = 10;

/// The machine's serial line and clock.
pub struct Board(());

impl Board {
    /// The board; the emulated UART needs no setting up.
    pub fn take() -> Option<Self> {
        Some(Self(()))
    }

    /// The next byte from the serial line; waits for it.
    pub fn read(&mut self) -> u8 {
        // SAFETY: registers of a peripheral that this machine has; nothing else in the program touches them.
        unsafe {
            while read_volatile(UART_LSR) & 1 == 0 {}
            read_volatile(UART_DATA)
        }
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: as in `read`.
            unsafe {
                while read_volatile(UART_LSR) & 0x20 == 0 {}
                write_volatile(UART_DATA, byte);
            }
        }
    }

    /// Ticks of the machine's timer, modulo 2^32; differences hold for up to 429 seconds.
    pub fn ticks(&mut self) -> u32 {
        // SAFETY: as in `read`.
        unsafe { read_volatile(MTIME) }
    }
}
