//! The smallest program: what a firmware's flash holds without Kinglet.
#![no_std]
#![no_main]

use kinglet_firmware::{cpu, entry};

entry!(start);

fn start() -> ! {
    loop {
        cpu::wait();
    }
}
