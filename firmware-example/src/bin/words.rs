//! Counts what decoding takes: for every word that arrives on the serial line, one a line, greedy search and a beam of 4 from the
//! text on. Ends at an end of transmission (0x04). `words.sh` drives it.
//!
//! Prints one line a word: ticks of the two searches, which only count where they cannot wrap; the script takes the
//! regions that a plugin of the emulator counts.
#![no_std]
#![no_main]

use core::fmt::Write;

use kinglet::{Arena, Model, Options, Session};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::cpu::Counter;
use kinglet_firmware::line::{Event, Line};
use kinglet_firmware::record::BEAM;
use kinglet_firmware::source::{self, Refused};
use kinglet_firmware::{entry, limits, model};
use semihosting::process;

/// Longest word in bytes.
const LINE: usize = limits::line(256);
const END_OF_TRANSMISSION: u8 = 4;

entry!(start, RAM: Arena<{ board::ARENA }> = Arena::new(), INPUT: Line<LINE> = Line::new());

fn start(ram: &mut Arena<{ board::ARENA }>, line: &mut Line<LINE>) -> ! {
    if let Some(mut board) = Board::take() {
        match Model::from_bytes(model::blob()) {
            Ok(model) => answer(&mut board, &model, ram, line),
            Err(error) => {
                writeln!(board, "! {error}").ok();
            }
        }
    }
    process::exit(0)
}

fn answer(board: &mut Board, model: &Model<'_>, ram: &mut [u8], line: &mut Line<LINE>) {
    let mut counter = Counter::start();
    loop {
        let byte = board.read();
        if byte == END_OF_TRANSMISSION {
            return;
        }
        let event = line.push(byte);
        if !matches!(event, Event::Line | Event::TooLong) {
            continue;
        }
        for beam_size in [1, BEAM] {
            match search(model, ram, line.bytes(), beam_size, &mut counter) {
                Some(Ok(ticks)) => write!(board, "{} ", Counter::sixteenths(ticks) / 16),
                Some(Err(error)) => write!(board, "! {error} "),
                None => write!(board, "! not enough RAM for this model "),
            }
            .ok();
        }
        board.write(b"\n");
        line.clear();
    }
}

/// Ticks of one search; `None` when the RAM holds no session.
fn search(
    model: &Model<'_>,
    ram: &mut [u8],
    word: &[u8],
    beam_size: u8,
    counter: &mut Counter,
) -> Option<Result<u64, Refused>> {
    let limits = limits::fit(model, ram.len(), beam_size)?;
    let mut session = match Session::new(model, ram, limits) {
        Ok(session) => session,
        Err(error) => return Some(Err(error.into())),
    };
    let options = Options { beam_size, ..Options::default() };
    let (ticks, found) = counter.count(|| {
        source::read(&mut session, model, word)?;
        session.beam(&options).map(|_| ()).map_err(Refused::from)
    });
    Some(found.map(|()| ticks))
}
