//! What differs from board to board, behind the same few functions of [`Board`]: `take`, `read`, `write`, `ticks`.

#[cfg(board = "microbit")]
mod microbit;
#[cfg(board = "mps2")]
mod mps2;

#[cfg(board = "microbit")]
pub use microbit::{ARENA, Board, CORE_KHZ, TICKS_PER_MICROSECOND};
#[cfg(board = "mps2")]
pub use mps2::{ARENA, Board, CORE_KHZ, TICKS_PER_MICROSECOND};

/// The board's name and core.
pub const NAME: &str = env!("BOARD_NAME");

impl core::fmt::Write for Board {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
