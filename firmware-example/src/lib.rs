//! The parts of the serial shell and of the programs that measure it: the board, its core, the line editor, the model in flash,
//! one way of decoding that the desktop shares.
//!
//! On a host only what needs no board is there.
#![no_std]

#[cfg(target_os = "none")]
pub mod board;
#[cfg(target_os = "none")]
pub mod cpu;
pub mod decimal;
pub mod limits;
pub mod line;
#[cfg(target_os = "none")]
pub mod model;
#[cfg(target_os = "none")]
mod panic;
pub mod record;
pub mod selftest;
pub mod source;
#[cfg(target_os = "none")]
pub mod stack;
