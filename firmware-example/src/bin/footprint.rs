//! Kinglet alone, for its size in flash: load, read a text, search greedily and with a beam, write the tokens. No board,
//! no model: the blob comes from where the optimizer cannot look.
#![no_std]
#![no_main]

use core::convert::Infallible;
use core::fmt;
use core::hint::black_box;

use kinglet::{Arena, Model, Options, Session};
use kinglet_firmware::{cpu, entry};

entry!(start, RAM: Arena<4096> = Arena::new());

fn start(ram: &mut Arena<4096>) -> ! {
    let blob: &'static [u8] = black_box(&[]);
    black_box(decode(blob, ram));
    if cfg!(feature = "panic-path") {
        black_box(blob[black_box(0)]);
    }
    loop {
        cpu::wait();
    }
}

/// `None` for any error: how they are shown is the firmware's affair.
fn decode(blob: &'static [u8], ram: &mut [u8]) -> Option<Infallible> {
    let model = Model::from_bytes(blob).ok()?;
    let limits = model.limits(black_box(4));
    let mut session = Session::new(&model, ram, limits).ok()?;
    let options = black_box(Options::default());
    session.read_text(black_box(b"text")).ok()?;
    model.target().write(session.greedy(&options).ok()?.tokens, &mut Sink).ok()?;
    for found in session.beam(&options).ok()?.iter() {
        black_box(found.score);
        model.target().write(found.tokens, &mut Sink).ok()?;
    }
    None
}

struct Sink;

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        black_box(text);
        Ok(())
    }
}
