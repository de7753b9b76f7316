//! UART and timer of Arm's Cortex-M System Design Kit, which the MPS2 and MPS3 images share. Register names are those of
//! ARM DDI 0479.
#![expect(unsafe_code, reason = "registers at fixed addresses")]

use core::ptr::{read_volatile, write_volatile};

const UART_DATA: usize = 0x0;
const UART_STATE: usize = 0x4;
const UART_CTRL: usize = 0x8;
const UART_BAUDDIV: usize = 0x10;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;

/// The UART at `BASE`, an address where this board has one.
pub struct Uart<const BASE: usize>(());

impl<const BASE: usize> Uart<BASE> {
    /// The UART, set up: 115200 baud, 8N1, from a clock of `mhz`.
    pub fn new(mhz: u32) -> Self {
        // SAFETY: registers of a peripheral that this board has; nothing else in the program touches them.
        unsafe {
            write_volatile((BASE + UART_BAUDDIV) as *mut u32, mhz * 1_000_000 / 115_200);
            write_volatile((BASE + UART_CTRL) as *mut u32, 3); // transmit, receive
        }
        Self(())
    }

    /// The next byte; waits for it.
    pub fn read(&mut self) -> u8 {
        // SAFETY: as in `new`.
        unsafe {
            while read_volatile((BASE + UART_STATE) as *const u32) & RX_FULL == 0 {}
            read_volatile((BASE + UART_DATA) as *const u32) as u8
        }
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: as in `new`.
            unsafe {
                while read_volatile((BASE + UART_STATE) as *const u32) & TX_FULL != 0 {}
                write_volatile((BASE + UART_DATA) as *mut u32, u32::from(byte));
            }
        }
    }
}

/// The timer at `BASE`, an address where this board has one.
#[cfg(not(board = "an547"))]
pub struct Timer<const BASE: usize>(());

#[cfg(not(board = "an547"))]
impl<const BASE: usize> Timer<BASE> {
    const VALUE: usize = 0x4;
    const RELOAD: usize = 0x8;

    /// The timer, started.
    pub fn new() -> Self {
        // SAFETY: as in `Uart::new`.
        unsafe {
            write_volatile((BASE + Self::RELOAD) as *mut u32, u32::MAX);
            write_volatile((BASE + Self::VALUE) as *mut u32, u32::MAX);
            write_volatile(BASE as *mut u32, 1); // CTRL: enable
        }
        Self(())
    }

    /// Ticks since it was started.
    pub fn ticks(&mut self) -> u32 {
        // SAFETY: as in `Uart::new`.
        u32::MAX - unsafe { read_volatile((BASE + Self::VALUE) as *const u32) } // it counts down
    }
}
