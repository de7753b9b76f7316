//! Counts instructions of single operations. `bench.sh` drives it.
//!
//! Prints one line a shape, the members of a JSON object; the script adds machine and core, which it chose.
#![no_std]
#![no_main]

use core::fmt::Write;

use kinglet::{Aligned, Arena, Model, Options, Session};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::cpu::Counter;
use kinglet_firmware::entry;
use semihosting::process;

/// Source positions whose mean is reported. Two, so that the largest shape does not wrap a 24-bit timer.
const STEPS: usize = 2;

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

entry!(start, RAM: Arena<{ board::ARENA }> = Arena::new());

fn start(ram: &mut Arena<{ board::ARENA }>) -> ! {
    if let Some(mut out) = Board::take() {
        let mut counter = Counter::start();
        for Shape { kernel, input, unit, size, with, without } in SHAPES {
            let with = instructions(&with.0, ram, &mut counter);
            let without = instructions(&without.0, ram, &mut counter);
            write!(out, "\"kernel\":\"{kernel}\",\"in\":{input},\"{unit}\":{size},").ok();
            write!(out, "\"steps\":{STEPS},\"instructions\":").ok();
            match (with, without) {
                (Some(with), Some(without)) => writeln!(out, "{}", with.saturating_sub(without)),
                _ => writeln!(out, "null"),
            }
            .ok();
        }
    }
    process::exit(0)
}

/// Instructions of one source position. `None` when the blob is refused or does not fit the RAM.
///
/// `bench.sh` takes the same differences of the cycles between the markers: for a shape four regions, in this order.
fn instructions(blob: &[u8], ram: &mut [u8], counter: &mut Counter) -> Option<u64> {
    let model = Model::from_bytes(blob).ok()?;
    let long = ticks(&model, ram, counter, STEPS + 1)?;
    let all = long.wrapping_sub(ticks(&model, ram, counter, 1)?) & Counter::MASK;
    let per = STEPS as u64 * 16;
    Some((Counter::sixteenths(all) + per / 2) / per)
}

/// Ticks that encoding `positions` source tokens takes, and a step program that does nothing.
fn ticks(model: &Model<'_>, ram: &mut [u8], counter: &mut Counter, positions: usize) -> Option<u32> {
    let mut session = Session::new(model, ram, model.limits(1)).ok()?;
    session.read_ids([0; STEPS + 1].get(..positions)?).ok()?;
    let (ticks, found) = counter.count(|| session.greedy(&Options::default()).is_ok());
    found.then_some(ticks)
}
