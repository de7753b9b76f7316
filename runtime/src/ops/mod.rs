//! What each operation of a program computes; `docs/quantization.md` has the formulas.

#[cfg(feature = "add")]
mod add;
mod attention;
#[cfg(feature = "characters")]
mod characters;
mod gru;
mod linear;
mod lstm;
#[cfg(feature = "norm")]
mod norm;
#[cfg(feature = "std")]
mod panels;
pub(crate) mod softmax;

#[cfg(feature = "characters")]
pub(crate) use characters::characters;

use core::cell::Cell;

use crate::blob::schema::{Embed, Extent, MatrixRecord, Op, View};
use crate::fixed::{q15_to_i8, saturate_i16};
use crate::frame::{Frame, Gathered, Part};
use crate::kernels::{LANES, ROWS, Rows};

/// Runs one operation for every lane of the frame. Operations are not inlined: their locals would add up in one stack
/// frame.
pub(crate) fn run(frame: &mut Frame<'_, '_>, op: &Op) -> Option<()> {
    #[cfg(feature = "std")]
    if frame.layout == crate::kernels::Layout::Panels {
        return panels::run(frame, op);
    }
    match op {
        Op::Embed(op) => embed(frame, op),
        Op::Linear(op) => linear::linear(frame, op),
        Op::Gru(op) => gru::gru(frame, op),
        Op::Lstm(op) => lstm::lstm(frame, op),
        Op::Attend(op) => attention::attend(frame, op),
        #[cfg(feature = "add")]
        Op::Add(op) => add::add(frame, op),
        #[cfg(feature = "norm")]
        Op::Norm(op) => norm::norm(frame, op),
    }
}

/// Whether an operation at one source position touches nothing of another's, and there is room for two lanes' columns.
pub(crate) fn independent(frame: &Frame<'_, '_>, op: &Op) -> bool {
    let Op::Linear(op) = op else { return false };
    let apart = |slot: u8| frame.slots.get(slot).is_some_and(|slot| slot.extent == Extent::Source);
    let columns: usize = op.inputs.iter().map(|view| view.width as usize).sum();
    let own = op.inputs.iter().all(|view| view.slot != op.to.slot && apart(view.slot));
    own && apart(op.to.slot) && 2 * frame.layout.padded(columns) <= frame.columns.len()
}

fn embed(frame: &Frame<'_, '_>, op: &Embed) -> Option<()> {
    let width = op.to.width as usize;
    for (lane, &token) in frame.lanes.tokens.iter().enumerate().take(frame.lanes.count()) {
        let row = frame.data.get(op.table as usize..)?.get(token as usize * width..)?.get(..width)?;
        for (to, &from) in frame.bytes(op.to, lane)?.iter().zip(row) {
            to.set(from as i8);
        }
    }
    Some(())
}

/// Weights and row records of a product, consumed stream by stream.
struct Streams<'m> {
    rows: Rows<'m>,
}

impl<'m> Streams<'m> {
    #[cfg_attr(armv6m, inline(never))]
    fn new(frame: &Frame<'m, '_>, matrix: &MatrixRecord) -> Option<Self> {
        let from = |offset: u32| frame.data.get(offset as usize..);
        Some(Self {
            rows: Rows {
                layout: frame.layout,
                bits: matrix.bits,
                weights: from(matrix.weights)?,
                records: from(matrix.rows)?.as_chunks().0,
                post: matrix.post,
                group: matrix.group,
                split: 0,
                multipliers: from(matrix.multipliers)?,
            },
        })
    }

    /// Computes the next so many streams over some part of the columns, for every lane.
    #[inline(never)]
    fn project(
        &mut self,
        frame: &Frame<'_, '_>,
        streams: usize,
        gathered: &Gathered,
        part: Part,
        to: [&[Cell<i16>]; LANES],
    ) -> Option<()> {
        let rows = self.take(streams, gathered, part)?;
        frame.project(&rows, gathered, part, to)
    }

    /// The next so many streams.
    fn take(&mut self, streams: usize, gathered: &Gathered, part: Part) -> Option<Rows<'m>> {
        let (inputs, state) = (gathered.inputs, gathered.all - gathered.inputs);
        let [inputs, state] = match part {
            Part::All => [inputs, state],
            Part::Inputs => [inputs, 0],
            Part::State => [0, state],
        };
        let rows = &mut self.rows;
        let (weights, rest) =
            rows.weights.split_at_checked(streams * rows.bits.stream_bytes(inputs + state))?;
        rows.weights = rest;
        let (records, rest) = rows.records.split_at_checked(streams * ROWS)?;
        rows.records = rest;
        let mut multipliers: &[u8] = &[];
        if let Some(group) = core::num::NonZeroUsize::new(rows.group as usize) {
            let groups = |columns: usize| (columns + group.get() - 1) / group;
            let here = streams * ROWS * (groups(inputs) + groups(state));
            (multipliers, rows.multipliers) = rows.multipliers.split_at_checked(here)?;
        }
        let split = if state > 0 { inputs } else { 0 };
        Some(Rows { weights, records, multipliers, split, ..*rows })
    }
}

/// Adds a token's table entries of some units, of `all` that there are, to their sums, which stand `steps` apart from gate
/// to gate and from unit to unit.
#[inline(never)]
fn add_table(
    sums: &[Cell<i16>],
    (table, shift): (&[[u8; 2]], u8),
    gates: usize,
    units: core::ops::Range<usize>,
    all: usize,
    steps: (usize, usize),
) -> Option<()> {
    if table.is_empty() {
        return Some(());
    }
    for gate in 0..gates {
        for (i, bytes) in table.get(gate * all + units.start..gate * all + units.end)?.iter().enumerate() {
            let sum = sums.get(gate * steps.0 + i * steps.1)?;
            sum.set(saturate_i16(sum.get() as i32 + entry(bytes, shift)));
        }
    }
    Some(())
}

/// Puts new hidden states of some units where a cell's outputs go, rounded to int8.
#[inline(never)]
fn put_out(
    frame: &Frame<'_, '_>,
    out: Option<View>,
    lane: usize,
    units: core::ops::Range<usize>,
    states: &[Cell<i16>],
) -> Option<()> {
    let Some(out) = out else { return Some(()) };
    for (byte, state) in frame.bytes(out, lane)?.get(units)?.iter().zip(states) {
        byte.set(q15_to_i8(state.get()));
    }
    Some(())
}

/// A table entry as it is added to a sum.
#[inline(always)]
fn entry(bytes: &[u8; 2], shift: u8) -> i32 {
    (i16::from_le_bytes(*bytes) as i32) << (shift & 15)
}
