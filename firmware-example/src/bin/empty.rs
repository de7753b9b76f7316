//! The smallest program: what a firmware's flash holds without Kinglet.
#![no_std]
#![no_main]

use kinglet_firmware as _; // the panic handler

#[cortex_m_rt::entry]
fn main() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}
