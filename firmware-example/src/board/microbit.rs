//! BBC micro:bit v1, through its board support crate: the serial line of the USB interface and timer 0.
#![expect(unsafe_code, reason = "one register write that the board support crate does not offer")]

use embedded_io::{Read, Write};
use microbit::hal::timer::{Periodic, Timer};
use microbit::hal::uart::{Baudrate, Parity, Uart};
use microbit::pac::{TIMER0, UART0};

/// Bytes of RAM that the model may use: 16 KB less the stack and the statics.
pub const ARENA: usize = 13 * 1024;

/// Clock of the core in kilohertz.
pub const CORE_KHZ: u32 = 16_000;

/// Ticks a microsecond.
pub const TICKS_PER_MICROSECOND: u32 = 1;

/// The board's serial line and clock.
pub struct Board {
    serial: Uart<UART0>,
    timer: Timer<TIMER0, Periodic>,
}

impl Board {
    /// The board, set up: 115200 baud, 8N1. `None` when it was taken before.
    pub fn take() -> Option<Self> {
        let board = microbit::Board::take()?;
        let serial = Uart::new(board.UART0, board.uart.into(), Parity::EXCLUDED, Baudrate::BAUD115200);
        // SAFETY: TXD takes any byte. The HAL relies on a byte sent before the transmitter was started to signal
        // that it is ready, which an emulated UART drops; a line feed once started serves both.
        unsafe { (*UART0::ptr()).txd.write(|w| w.bits(u32::from(b'\n'))) };
        let mut timer = Timer::periodic(board.TIMER0);
        timer.start(u32::MAX);
        Some(Self { serial, timer })
    }

    /// The next byte from the serial line; waits for it.
    pub fn read(&mut self) -> u8 {
        let mut byte = [0];
        while !matches!(self.serial.read(&mut byte), Ok(1)) {}
        byte[0]
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            while !matches!(self.serial.write(&[byte]), Ok(1)) {}
        }
    }

    /// Ticks since the board was taken; differences hold for more than an hour.
    pub fn ticks(&mut self) -> u32 {
        self.timer.read()
    }
}
