//! MPS2 FPGA board (QEMU's `mps2-an385` and `mps2-an386`): CMSDK UART 0 and CMSDK timer 0, both clocked at 25 MHz.
//! Register names are those of ARM DDI 0479, "Cortex-M System Design Kit".
#![expect(unsafe_code, reason = "registers at fixed addresses")]

use core::ptr::{read_volatile, write_volatile};

const UART_DATA: *mut u32 = 0x4000_4000 as *mut u32;
const UART_STATE: *mut u32 = 0x4000_4004 as *mut u32;
const UART_CTRL: *mut u32 = 0x4000_4008 as *mut u32;
const UART_BAUDDIV: *mut u32 = 0x4000_4010 as *mut u32;
const TIMER_CTRL: *mut u32 = 0x4000_0000 as *mut u32;
const TIMER_VALUE: *mut u32 = 0x4000_0004 as *mut u32;
const TIMER_RELOAD: *mut u32 = 0x4000_0008 as *mut u32;

const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
const CLOCK_MHZ: u32 = 25;

/// Bytes of RAM that the model may use.
pub const ARENA: usize = 1 << 20;

/// Clock of the core in kilohertz.
pub const CORE_KHZ: u32 = CLOCK_MHZ * 1000;

/// Ticks a microsecond.
pub const TICKS_PER_MICROSECOND: u32 = CLOCK_MHZ;

/// The board's serial line and clock.
pub struct Board(());

impl Board {
    /// The board, set up: 115200 baud, 8N1.
    pub fn take() -> Option<Self> {
        // SAFETY: registers of peripherals that this board has; nothing else in the program touches them.
        unsafe {
            write_volatile(UART_BAUDDIV, CLOCK_MHZ * 1_000_000 / 115_200);
            write_volatile(UART_CTRL, 3); // transmit, receive
            write_volatile(TIMER_RELOAD, u32::MAX);
            write_volatile(TIMER_VALUE, u32::MAX);
            write_volatile(TIMER_CTRL, 1);
        }
        Some(Self(()))
    }

    /// The next byte from the serial line; waits for it.
    pub fn read(&mut self) -> u8 {
        // SAFETY: as in `take`.
        unsafe {
            while read_volatile(UART_STATE) & RX_FULL == 0 {}
            read_volatile(UART_DATA) as u8
        }
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: as in `take`.
            unsafe {
                while read_volatile(UART_STATE) & TX_FULL != 0 {}
                write_volatile(UART_DATA, u32::from(byte));
            }
        }
    }

    /// Ticks since the board was taken; differences hold for up to 171 seconds.
    pub fn ticks(&mut self) -> u32 {
        // SAFETY: as in `take`.
        u32::MAX - unsafe { read_volatile(TIMER_VALUE) }
    }
}
