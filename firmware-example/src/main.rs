//! A serial shell around the model in flash: type a text, get its transcription, score and time.
#![no_std]
#![no_main]

#[cfg(not(target_os = "none"))]
compile_error!(
    "this is firmware: build for a board, e.g. `--target thumbv7em-none-eabihf` (the default here)"
);

use core::fmt::Write;

use kinglet::{Arena, LoadError, Model, Options, Session};
use kinglet_firmware::board::{self, Board};
use kinglet_firmware::line::{Event, Line};
use kinglet_firmware::source::{self, Refused};
use kinglet_firmware::{cpu, decimal, entry, limits, model, selftest, stack};

/// Longest line in bytes.
const LINE: usize = limits::line(128);

const HELP: &str = "type a text, or:\r
  :info      the model and its RAM\r
  :beam N    search with N hypotheses, 1 to 8; 1 is greedy\r
  :selftest  check the blob and decode what the desktop decoded\r
  :stack     the most stack used so far\r
  :help      this list";

entry!(
    start,
    RAM: Arena<{ board::ARENA }> = Arena::new(),
    INPUT: Line<LINE> = Line::new(),
    MODEL: Option<Model<'static>> = None,
);

fn start(
    ram: &'static mut Arena<{ board::ARENA }>,
    input: &'static mut Line<LINE>,
    model: &'static mut Option<Model<'static>>,
) -> ! {
    let Some(mut board) = Board::take() else { halt() };
    write!(board, "Kinglet {} on {}\r\n", env!("CARGO_PKG_VERSION"), board::NAME).ok();
    if let Err(error) = load(model) {
        write!(board, "the model is refused: {error}\r\n").ok();
    }
    let Some(model) = model else { halt() };
    write!(board, "model {}; :help lists the commands\r\n", model.name()).ok();
    Shell { board, model, ram, beam: 1 }.run(input)
}

/// Puts the model where it takes no stack; a function of its own, so that what loading takes is given back.
#[inline(never)]
fn load(model: &mut Option<Model<'static>>) -> Result<(), LoadError> {
    *model = Some(Model::from_bytes(model::blob())?);
    Ok(())
}

fn halt() -> ! {
    loop {
        cpu::wait();
    }
}

/// The commands are functions that are not inlined: each takes its stack while it runs.
struct Shell {
    board: Board,
    model: &'static Model<'static>,
    ram: &'static mut [u8],
    beam: u8,
}

impl Shell {
    fn run(&mut self, line: &mut Line<LINE>) -> ! {
        self.prompt();
        loop {
            let byte = self.board.read();
            match line.push(byte) {
                Event::None => continue,
                Event::Append(byte) => {
                    self.board.write(&[byte]);
                    continue;
                }
                Event::Erase => {
                    self.board.write(b"\x08 \x08");
                    continue;
                }
                Event::TooLong => {
                    write!(self.board, "\r\nerror: a line holds {LINE} bytes\r\n").ok();
                }
                Event::Line => {
                    self.board.write(b"\r\n");
                    self.line(line.bytes());
                }
            }
            line.clear();
            self.prompt();
        }
    }

    fn prompt(&mut self) {
        self.board.write(b"> ");
    }

    fn line(&mut self, line: &[u8]) {
        match line.trim_ascii() {
            b"" => {}
            b":info" => self.info(),
            b":selftest" => self.selftest(),
            b":stack" => self.stack(),
            b":help" => {
                write!(self.board, "{HELP}\r\n").ok();
            }
            command @ [b':', ..] => match command.strip_prefix(b":beam") {
                Some(width) => self.set_beam(width.trim_ascii()),
                None => {
                    write!(self.board, "error: unknown command; :help lists them\r\n").ok();
                }
            },
            text => self.transcribe(text),
        }
    }

    #[inline(never)]
    fn transcribe(&mut self, text: &[u8]) {
        let Self { board, model, ram, beam } = self;
        // The beam was checked when it was set.
        let Some(limits) = limits::fit(model, ram.len(), *beam) else { return no_room(board) };
        let start = board.ticks();
        let result = Session::new(model, ram, limits).map_err(Refused::from).and_then(|mut session| {
            let unknown = source::read(&mut session, model, text)?;
            let options = Options { beam_size: *beam, ..Options::default() };
            let found = if *beam == 1 { session.greedy(&options)? } else { session.beam(&options)?.best() };
            let micros = board.ticks().wrapping_sub(start) / board::TICKS_PER_MICROSECOND;
            model.target().write(found.tokens, board).ok();
            write!(board, "\r\n  score {}, {micros} us", decimal::Milli(found.score)).ok();
            if unknown > 0 {
                write!(board, ", {unknown} unknown to the model").ok();
            }
            if !found.complete {
                write!(board, ", cut at the length limit").ok();
            }
            board.write(b"\r\n");
            Ok(())
        });
        if let Err(error) = result {
            write!(board, "error: {error}\r\n").ok();
        }
    }

    #[inline(never)]
    fn info(&mut self) {
        let Self { board, model, ram, beam } = self;
        write!(board, "model {}, {} bytes, crc {:08x}\r\n", model.name(), model::blob().len(), model.crc())
            .ok();
        write!(board, "vocabulary {} source, {} target\r\n", model.source().size(), model.target().size())
            .ok();
        let Some(limits) = limits::fit(model, ram.len(), *beam) else { return no_room(board) };
        let (used, has) = (model.ram(&limits), ram.len());
        write!(board, "beam {beam}: RAM {used} of {has} bytes, ").ok();
        write!(board, "source up to {} tokens, target up to {}\r\n", limits.source, limits.target).ok();
    }

    #[inline(never)]
    fn set_beam(&mut self, width: &[u8]) {
        let Self { board, model, ram, beam } = self;
        let &[digit @ b'1'..=b'8'] = width else {
            write!(board, "error: a beam is 1 to 8 wide\r\n").ok();
            return;
        };
        let width = digit - b'0';
        let Some(limits) = limits::fit(model, ram.len(), width) else { return no_room(board) };
        *beam = width;
        write!(board, "beam {width}: source up to {} tokens\r\n", limits.source).ok();
    }

    #[inline(never)]
    fn selftest(&mut self) {
        let Self { board, ram, .. } = self;
        if let Err(error) = Model::from_bytes(model::blob()) {
            write!(board, "FAILED: {error}\r\n").ok();
            return;
        }
        write!(board, "blob ok\r\n").ok();
        match selftest::run(self.model, ram, model::self_test()) {
            Ok(0) => write!(board, "no expected results are stored with this model\r\n"),
            Ok(words) => write!(board, "{words} words ok: tokens and score bits are the desktop's\r\n"),
            Err(fault) => write!(board, "FAILED: {fault}\r\n"),
        }
        .ok();
    }

    #[inline(never)]
    fn stack(&mut self) {
        write!(self.board, "stack {} of {} bytes\r\n", stack::high_water(), stack::size()).ok();
    }
}

fn no_room(board: &mut Board) {
    write!(board, "error: not enough RAM for this model and beam\r\n").ok();
}
