//! Decodes the words that arrive on the serial line, one a line, and answers each with its record; after an end of
//! transmission (0x04) prints the most stack used and leaves the emulator. `parity.sh` drives it.
#![no_std]
#![no_main]

use core::fmt::Write;

use cortex_m_semihosting::debug;
use kinglet::{Arena, LoadError, Model};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::line::{Event, Line};
use kinglet_firmware::{model, record, stack};

/// Longest word in bytes.
const LINE: usize = 256;
const END_OF_TRANSMISSION: u8 = 4;

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut RAM: Arena<{ board::ARENA }> = Arena::new();

    static mut INPUT: Line<LINE> = Line::new();
    static mut MODEL: Option<Model<'static>> = None;

    if let Some(mut board) = Board::take() {
        match load(MODEL) {
            Ok(()) => answer(&mut board, MODEL.as_ref(), RAM, INPUT),
            Err(error) => {
                writeln!(board, "! {error}").ok();
            }
        }
        writeln!(board, "# stack {}", stack::high_water()).ok();
    }
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Puts the model where it takes no stack; a function of its own, so that what loading takes is given back.
#[inline(never)]
fn load(model: &mut Option<Model<'static>>) -> Result<(), LoadError> {
    *model = Some(Model::from_bytes(model::blob())?);
    Ok(())
}

fn answer(board: &mut Board, model: Option<&Model<'_>>, ram: &mut [u8], line: &mut Line<LINE>) {
    let Some(model) = model else { return };
    record::header(model, board).ok();
    board.write(b"\n");
    loop {
        let byte = board.read();
        if byte == END_OF_TRANSMISSION {
            return;
        }
        match line.push(byte) {
            Event::Line => {
                board.write(line.bytes());
                if let Err(failure) = record::write(model, ram, line.bytes(), board) {
                    write!(board, "\t! {failure}").ok();
                }
                board.write(b"\n");
            }
            Event::TooLong => {
                writeln!(board, "\t! a line holds {LINE} bytes").ok();
            }
            Event::None | Event::Append(_) | Event::Erase => continue,
        }
        line.clear();
    }
}
