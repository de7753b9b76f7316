//! Turns a trained network into one blob for the `kinglet` runtime.
//!
//! ```text
//! checkpoint ─▶ calibrate ─▶ lower (quantize, tiles) ─▶ pack ─▶ blob, reloaded by the runtime
//!                  ▲                                      │
//!              dev pairs ───────────────────▶ report ◀────┘  float against integers
//! ```
//! [`compile()`] does all of it. [`calibrate`] runs the trainer's float model and keeps ranges; [`lower`] knows both the
//! network and the blob's operations; [`quantize`] and [`tiles`] know numbers alone, [`kinds`] how many bits each product gets and
//! [`mixed`] how many it should; [`plan`] lets what is never in use at the same time share RAM; [`pack`] is the one writer of the
//! format; [`compare`] decodes the same sources before and after, and [`report`] says what it cost. [`desktop`] runs blobs on the desktop, [`describe`] shows what is inside,
//! [`boards`] what fits where, [`time`] how long a word takes there.

pub mod boards;
pub mod calibrate;
pub mod cli;
pub mod compare;
mod compile;
pub mod describe;
pub mod desktop;
pub mod error;
pub mod kinds;
pub mod lower;
pub mod mixed;
pub mod pack;
pub mod plan;
pub mod quantize;
pub mod report;
pub mod retile;
pub mod tiles;
pub mod time;

pub use compile::{Compiled, Options, compile};
pub use error::Error;
