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

/// Repetitions whose mean is reported. Two, so that the largest shape does not wrap a 24-bit timer.
const STEPS: usize = 2;

struct Shape {
    kernel: &'static str,
    input: u16,
    unit: &'static str,
    size: u16,
    measure: Measure,
    with: &'static Aligned<[u8]>,
    /// The same without what is measured.
    without: &'static Aligned<[u8]>,
}

/// What is repeated.
#[derive(Clone, Copy)]
enum Measure {
    /// Source positions, with an embedding and the operation at each.
    Encode,
    /// Target steps of a search, from the second on: at the first a beam has one hypothesis alone.
    #[cfg_attr(board = "microbit", expect(dead_code, reason = "its flash has no room for these blobs"))]
    Search { beam: u8, source: usize },
}

/// Most source positions.
const SOURCE: usize = 16;

static SHAPES: &[Shape] = include!(concat!(env!("OUT_DIR"), "/bench.rs"));

entry!(start, RAM: Arena<{ board::ARENA }> = Arena::new());

fn start(ram: &mut Arena<{ board::ARENA }>) -> ! {
    if let Some(mut out) = Board::take() {
        let mut counter = Counter::start();
        for Shape { kernel, input, unit, size, measure, with, without } in SHAPES {
            let with = instructions(&with.0, *measure, ram, &mut counter);
            let without = instructions(&without.0, *measure, ram, &mut counter);
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

/// Instructions of one repetition. `None` when the blob is refused or does not fit the RAM.
///
/// `bench.sh` takes the same differences of the cycles between the markers: for a shape four regions, in this order.
fn instructions(blob: &[u8], measure: Measure, ram: &mut [u8], counter: &mut Counter) -> Option<u64> {
    let model = Model::from_bytes(blob).ok()?;
    let long = ticks(&model, measure, ram, counter, STEPS)?;
    let all = long.wrapping_sub(ticks(&model, measure, ram, counter, 0)?) & Counter::MASK;
    let per = STEPS as u64 * 16;
    Some((Counter::sixteenths(all) + per / 2) / per)
}

/// Ticks of encoding and searching with so many repetitions beyond the least.
fn ticks(
    model: &Model<'_>,
    measure: Measure,
    ram: &mut [u8],
    counter: &mut Counter,
    repetitions: usize,
) -> Option<u64> {
    let (positions, len, beam) = match measure {
        Measure::Encode => (1 + repetitions, 1, 1),
        // Where the source does not matter it may be longer than any.
        Measure::Search { beam, source } => (source.min(SOURCE), 2 + repetitions as u16, beam),
    };
    let mut session = Session::new(model, ram, model.limits(beam)).ok()?;
    session.read_ids([0; SOURCE].get(..positions)?).ok()?;
    let options = Options { beam_size: beam, min_len: len, max_len: len, ..Options::default() };
    let (ticks, found) = counter.count(|| session.beam(&options).is_ok());
    found.then_some(ticks)
}
