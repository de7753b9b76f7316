//! Decodes the words that arrive on the serial line, one a line, and answers each with its record; after an end of
//! transmission (0x04) the next model answers, if several stand behind each other; after the last, prints the most stack used and
//! leaves the emulator. `parity.sh` drives it.
#![no_std]
#![no_main]

use core::fmt::Write;

use kinglet::{Arena, LoadError, Model};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::line::{Event, Line};
use kinglet_firmware::{entry, limits, model, record, stack};
use semihosting::process;

/// Longest word in bytes.
const LINE: usize = limits::line(256);
const END_OF_TRANSMISSION: u8 = 4;

entry!(
    start,
    RAM: Arena<{ board::ARENA }> = Arena::new(),
    INPUT: Line<LINE> = Line::new(),
    MODEL: Option<Model<'static>> = None,
);

fn start(ram: &mut Arena<{ board::ARENA }>, input: &mut Line<LINE>, model: &mut Option<Model<'static>>) -> ! {
    if let Some(mut board) = Board::take() {
        let mut blobs = model::blob();
        while let Some((blob, others)) = first(blobs) {
            blobs = others;
            match load(model, blob) {
                Ok(()) => answer(&mut board, model.as_ref(), ram, input),
                Err(error) => {
                    writeln!(board, "! {error}").ok();
                }
            }
        }
        writeln!(board, "# stack {}", stack::high_water()).ok();
    }
    process::exit(0)
}

/// Puts the model where it takes no stack; a function of its own, so that what loading takes is given back.
#[inline(never)]
fn load(model: &mut Option<Model<'static>>, blob: &'static [u8]) -> Result<(), LoadError> {
    *model = Some(Model::from_bytes(blob)?);
    Ok(())
}

/// The first of some blobs, each from a multiple of 16 bytes on, and the others.
fn first(blobs: &'static [u8]) -> Option<(&'static [u8], &'static [u8])> {
    let length = u32::from_le_bytes(*blobs.get(8..)?.first_chunk()?) as usize;
    let (blob, padding) = blobs.split_at_checked(length).unwrap_or((blobs, &[]));
    let others = padding.get(blob.len().wrapping_neg() & 15..).unwrap_or(&[]);
    Some((blob, others))
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
