//! MPS2 FPGA board with the AN385, AN386, AN500 or AN505 image (QEMU's `mps2-an385` and so on).

use super::cmsdk::{Timer, Uart};

const SECURE: bool = cfg!(board = "an505");
const UART: usize = if SECURE { 0x5020_0000 } else { 0x4000_4000 };
const TIMER: usize = if SECURE { 0x5000_0000 } else { 0x4000_0000 };
/// Of core, UART and timer.
const CLOCK_MHZ: u32 = if SECURE { 20 } else { 25 };

/// Bytes of RAM that the model may use.
pub const ARENA: usize = 1 << 20;

/// Clock of the core in kilohertz.
pub const CORE_KHZ: u32 = CLOCK_MHZ * 1000;

/// Ticks a microsecond.
pub const TICKS_PER_MICROSECOND: u32 = CLOCK_MHZ;

/// The board's serial line and clock.
pub struct Board {
    serial: Uart<UART>,
    timer: Timer<TIMER>,
}

impl Board {
    /// The board, set up: 115200 baud, 8N1.
    pub fn take() -> Option<Self> {
        Some(Self { serial: Uart::new(CLOCK_MHZ), timer: Timer::new() })
    }

    /// The next byte from the serial line; waits for it.
    pub fn read(&mut self) -> u8 {
        self.serial.read()
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.serial.write(bytes);
    }

    /// Ticks since the board was taken; differences hold for up to 171 seconds.
    pub fn ticks(&mut self) -> u32 {
        self.timer.ticks()
    }
}
