//! What differs from board to board, behind the same few functions of [`Board`]: `take`, `read`, `write`, `ticks`.

#[cfg_attr(board = "microbit", path = "microbit.rs")]
#[cfg_attr(any(board = "mps2", board = "an505"), path = "mps2.rs")]
#[cfg_attr(board = "an547", path = "mps3.rs")]
#[cfg_attr(board = "virt", path = "virt.rs")]
mod chosen;
#[cfg(any(board = "mps2", board = "an505", board = "an547"))]
mod cmsdk;

#[cfg(target_arch = "arm")]
pub use chosen::CORE_KHZ;
pub use chosen::{ARENA, Board, TICKS_PER_MICROSECOND};

/// The board's name and core.
pub const NAME: &str = env!("BOARD_NAME");

impl core::fmt::Write for Board {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
