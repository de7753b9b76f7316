//! How long a source a given piece of RAM holds.

use kinglet::{Limits, Model};

/// The model's own limits with a beam, the source cut to what `room` bytes hold. `None` when not even one token fits,
/// or the beam is not in 1..=8.
pub fn fit(model: &Model<'_>, room: usize, beam: u8) -> Option<Limits> {
    let planned = model.limits(beam);
    (1..=planned.source).rev().map(|source| Limits { source, ..planned }).find(|limits| {
        let needed = model.ram(limits);
        0 < needed && needed <= room
    })
}

/// Longest line in bytes: `short` on a board with little RAM, elsewhere enough for frames of numbers.
pub const fn line(short: usize) -> usize {
    if cfg!(board = "microbit") { short } else { 4096 }
}
