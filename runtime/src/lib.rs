//! Sequences in, sequences out, on a chip that costs a dollar: the runtime of Kinglet.
//!
//! A model trained with `kinglet-train` and compiled with `kinglet compile` is one blob of bytes. This crate checks
//! it, reads it in place from flash, and runs encoder, attention, decoder and search in a buffer of the caller's:
//! no heap, no float in any step, no panic, no loop without a bound. Integers alone decide every token and every
//! score, so that a Cortex-M0 and a desktop give the same bits.
//!
//! ```
//! # fn transcribe(blob: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use kinglet::{Arena, Model, Options, Session};
//!
//! let model = Model::from_bytes(blob)?;
//! let limits = model.limits(4); // planned lengths, beams up to 4 wide
//! let mut ram = Arena::<16_384>::new(); // model.ram(&limits) bytes are enough
//! let mut session = Session::new(&model, &mut ram, limits)?;
//!
//! session.read_text(b"kinglet")?;
//! let found = session.beam(&Options { beam_size: 4, ..Options::default() })?;
//! let mut text = String::new();
//! model.target().write(found.best().tokens, &mut text)?;
//! println!("{text} ({})", found.best().score);
//! # Ok(())
//! # }
//! ```
//!
//! Rooms: [`blob`] (what the bytes mean), `fixed` and `tables` (rounding, functions), [`kernels`] (products),
//! `ops` (layers), `frame` (RAM while running), [`decode`] (search), `vocab`, `model`, `session`.

#![no_std]
#[cfg(feature = "std")]
extern crate std;

pub mod blob;
pub mod decode;
pub mod fixed;
pub mod hangul;
pub mod kernels;
pub mod tables;

mod arena;
mod error;
mod frame;
mod model;
mod ops;
mod session;
mod vocab;

pub use arena::{Aligned, Arena};
pub use blob::schema::Task;
pub use decode::{Options, Sampling};
pub use error::{Fault, Feature, LoadError, RunError};
pub use model::{Limits, Model};
pub use session::{Hypotheses, Hypothesis, Label, Labels, Read, Session};
pub use vocab::Vocab;
