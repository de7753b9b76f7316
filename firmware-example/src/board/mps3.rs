//! MPS3 FPGA board with the AN547 image (QEMU's `mps3-an547`): CMSDK UART 0 and the system counter of the SSE-300, both
//! by their secure addresses, as the core starts in secure state. Register names are those of Arm 101773.
#![expect(unsafe_code, reason = "registers at fixed addresses")]

use core::ptr::{read_volatile, write_volatile};

use super::cmsdk::Uart;

/// Counter control: bit 0 enables.
const CNTCR: *mut u32 = 0x5810_0000 as *mut u32;
/// The low word of the counter.
const CNTCVL: *const u32 = 0x5810_1000 as *const u32;
const CLOCK_MHZ: u32 = 32;
const UART_MHZ: u32 = 25;

/// Bytes of RAM that the model may use, of 512 KB.
pub const ARENA: usize = 256 * 1024;

/// Clock of the core in kilohertz.
pub const CORE_KHZ: u32 = CLOCK_MHZ * 1000;

/// Ticks a microsecond.
pub const TICKS_PER_MICROSECOND: u32 = CLOCK_MHZ;

/// The board's serial line and clock.
pub struct Board {
    serial: Uart<0x5930_3000>,
}

impl Board {
    /// The board, set up: 115200 baud, 8N1.
    pub fn take() -> Option<Self> {
        // SAFETY: a register of a peripheral that this board has; nothing else in the program touches it.
        unsafe { write_volatile(CNTCR, 1) };
        Some(Self { serial: Uart::new(UART_MHZ) })
    }

    /// The next byte from the serial line; waits for it.
    pub fn read(&mut self) -> u8 {
        self.serial.read()
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.serial.write(bytes);
    }

    /// Ticks since the board was taken, modulo 2^32; differences hold for up to 134 seconds.
    pub fn ticks(&mut self) -> u32 {
        // SAFETY: as in `take`.
        unsafe { read_volatile(CNTCVL) }
    }
}
