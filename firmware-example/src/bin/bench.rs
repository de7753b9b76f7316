//! Counts instructions of single operations, with QEMU's `-icount shift=6`: every instruction then advances the
//! emulated clock by 64 ns, and the core's own timer ticks faster than that. `bench.sh` drives it.
//!
//! Prints one line a shape, the members of a JSON object; the script adds machine and core, which it chose.
#![no_std]
#![no_main]

use core::fmt::Write;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_semihosting::{debug, hio};
use kinglet::{Aligned, Arena, Model, Options, Session};
use kinglet_firmware::board;

/// Nanoseconds of the emulated clock that an instruction takes.
const INSTRUCTION_NS: u64 = 1 << 6;
/// Source positions whose mean is reported. Two, so that the largest shape does not wrap the 24-bit timer.
const STEPS: usize = 2;
/// Bits of the timer.
const MASK: u32 = 0xFF_FFFF;

struct Shape {
    kernel: &'static str,
    input: u16,
    unit: &'static str,
    size: u16,
    /// The embedding and the operation at every source position.
    with: &'static Aligned<[u8]>,
    /// The embedding alone.
    without: &'static Aligned<[u8]>,
}

static SHAPES: &[Shape] = include!(concat!(env!("OUT_DIR"), "/bench.rs"));

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut RAM: Arena<{ board::ARENA }> = Arena::new();

    if let (Ok(mut out), Some(core)) = (hio::hstdout(), cortex_m::Peripherals::take()) {
        let mut timer = core.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(MASK);
        timer.clear_current();
        timer.enable_counter();
        for Shape { kernel, input, unit, size, with, without } in SHAPES {
            write!(out, "\"kernel\":\"{kernel}\",\"in\":{input},\"{unit}\":{size},\"instructions\":").ok();
            match (instructions(&with.0, RAM), instructions(&without.0, RAM)) {
                (Some(with), Some(without)) => writeln!(out, "{}", with.saturating_sub(without)),
                _ => writeln!(out, "null"),
            }
            .ok();
        }
    }
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Instructions of one source position. `None` when the blob is refused or does not fit the RAM.
fn instructions(blob: &[u8], ram: &mut [u8]) -> Option<u64> {
    let model = Model::from_bytes(blob).ok()?;
    let all = ticks(&model, ram, STEPS + 1)?.wrapping_sub(ticks(&model, ram, 1)?) & MASK;
    let ns = u64::from(all) * 1_000_000 / u64::from(board::CORE_KHZ);
    let per = STEPS as u64 * INSTRUCTION_NS;
    Some((ns + per / 2) / per)
}

/// Ticks of the core's timer that encoding `positions` source tokens takes, and a step program that does nothing.
fn ticks(model: &Model<'_>, ram: &mut [u8], positions: usize) -> Option<u32> {
    let mut session = Session::new(model, ram, model.limits(1)).ok()?;
    session.read_ids([0; STEPS + 1].get(..positions)?).ok()?;
    let start = SYST::get_current();
    session.greedy(&Options::default()).ok()?;
    Some(start.wrapping_sub(SYST::get_current())) // it counts down
}
