//! Decodes the words that arrive on the serial line, one a line, and answers each with its record; after an end of
//! transmission (0x04) prints the most stack used and leaves the emulator. `parity.sh` drives it.
#![no_std]
#![no_main]

use core::fmt::Write;

use cortex_m_semihosting::debug;
use kinglet::{Arena, Model};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::line::{Event, Line};
use kinglet_firmware::{model, record, stack};

const END_OF_TRANSMISSION: u8 = 4;

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut RAM: Arena<{ board::ARENA }> = Arena::new();

    if let Some(mut board) = Board::take() {
        match Model::from_bytes(model::blob()) {
            Ok(model) => answer(&mut board, &model, RAM),
            Err(error) => {
                write!(board, "! {error}\n").ok();
            }
        }
        write!(board, "# stack {}\n", stack::high_water()).ok();
    }
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

fn answer(board: &mut Board, model: &Model<'_>, ram: &mut [u8]) {
    record::header(model, board).ok();
    board.write(b"\n");
    let mut line = Line::<256>::new();
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
            Event::TooLong => board.write(b"\t! a line holds 256 bytes\n"),
            Event::None | Event::Append(_) | Event::Erase => continue,
        }
        line.clear();
    }
}
