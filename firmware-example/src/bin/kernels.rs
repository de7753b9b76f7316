//! Compares the core's kernels with their definition, in the same cases as the host's tests. `kernels.sh` runs it.
//!
//! Prints how many cases agreed, or the first difference, and leaves the emulator with 0 or 1.
#![no_std]
#![no_main]

use core::fmt::Write;

use kinglet_firmware::board::Board;
use kinglet_firmware::entry;
use semihosting::process;

#[path = "../../../runtime/tests/common/kernels/mod.rs"]
mod cases;

entry!(start, ROOM: cases::Room = cases::Room::new());

fn start(room: &mut cases::Room) -> ! {
    let Some(mut out) = Board::take() else { process::exit(1) };
    let agreed = cases::columns().and_then(|_| Ok((cases::products(room)?, cases::gates()?, cases::dots()?)));
    match agreed {
        Ok((products, gates, dots)) => {
            writeln!(out, "{products} products, {gates} gates and {dots} queries agree").ok();
            process::exit(0)
        }
        Err(difference) => {
            writeln!(out, "{difference}").ok();
            process::exit(1)
        }
    }
}
