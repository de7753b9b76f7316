//! The operations over [`Layout::Panels`](crate::kernels::Layout::Panels): the same numbers, computed side by side.

use core::cell::Cell;

use super::softmax::softmax;
use crate::blob::matrix;
use crate::blob::schema::{Attend, Energy, Gru, Inputs, Kind, Linear, Lstm, MatrixRecord, Op, View};
use crate::frame::Frame;
use crate::kernels::Isa;
use crate::kernels::panels::{self, Columns, Entries, Panels};

/// Runs one operation. There is one lane.
pub(super) fn run(frame: &mut Frame<'_, '_>, op: &Op) -> Option<()> {
    match op {
        Op::Embed(op) => super::embed(frame, op),
        Op::Linear(op) => linear(frame, op),
        Op::Gru(op) => gru(frame, op),
        Op::Lstm(op) => lstm(frame, op),
        Op::Attend(op) => attend(frame, op),
        #[cfg(feature = "add")]
        Op::Add(op) => super::add::add(frame, op),
        #[cfg(feature = "norm")]
        Op::Norm(op) => super::norm::norm(frame, op),
    }
}

/// Writes the columns of a product; how many of them are the inputs', and all.
fn gather(frame: &mut Frame<'_, '_>, inputs: &Inputs, state: Option<View>) -> Option<(usize, usize)> {
    let mut at = 0;
    for view in inputs {
        column(frame, *view, &mut at)?;
    }
    pad(frame, &mut at)?;
    let split = at;
    if let Some(view) = state {
        column(frame, view, &mut at)?;
        pad(frame, &mut at)?;
    }
    Some((split, at))
}

fn column(frame: &mut Frame<'_, '_>, view: View, at: &mut usize) -> Option<()> {
    let width = view.width as usize;
    match frame.slots.get(view.slot)?.kind {
        Kind::I8 => {
            let row = frame.bytes(view, 0)?;
            panels::columns_of_bytes(row, panels::bytes_of(frame.columns).get_mut(*at..)?.get_mut(..width)?);
        }
        Kind::I16 => {
            let row = frame.words(view, 0)?;
            panels::columns_of_words(row, panels::bytes_of(frame.columns).get_mut(*at..)?.get_mut(..width)?);
        }
    }
    *at += width;
    Some(())
}

/// Pads to a whole lane. The weights there are zero.
fn pad(frame: &mut Frame<'_, '_>, at: &mut usize) -> Option<()> {
    let end = frame.layout.padded(*at);
    panels::bytes_of(frame.columns).get_mut(*at..end)?.fill(128);
    *at = end;
    Some(())
}

fn columns<'f>(frame: &'f mut Frame<'_, '_>, (split, all): (usize, usize)) -> Option<Columns<'f>> {
    let (inputs, state) = panels::bytes_of(frame.columns).get(..all)?.split_at_checked(split)?;
    Some(Columns { inputs, state })
}

fn panels_of<'m>(frame: &Frame<'m, '_>, matrix: &MatrixRecord) -> Option<Panels<'m>> {
    let from = |offset: u32| frame.data.get(offset as usize..);
    Some(Panels {
        weights: from(matrix.weights)?,
        records: from(matrix.rows)?.as_chunks().0,
        multipliers: from(matrix.multipliers)?,
        post: matrix.post,
        group: matrix.group,
        bits: matrix.bits,
    })
}

/// Where a cell's outputs go; nowhere when it has none.
fn out<'b>(frame: &Frame<'_, 'b>, view: Option<View>) -> Option<&'b [Cell<i8>]> {
    match view {
        Some(view) => frame.bytes(view, 0),
        None => Some(&[]),
    }
}

fn gru(frame: &mut Frame<'_, '_>, op: &Gru) -> Option<()> {
    let hidden = frame.whole(op.hidden)?;
    let gathered = gather(frame, &op.inputs, Some(hidden))?;
    let panels = panels_of(frame, &matrix(frame.data, op.matrix)?)?;
    let (states, out, down) = (frame.words(hidden, 0)?, out(frame, op.out)?, frame.down);
    let (entries, shift) = frame.table_row(&op.table, 3 * states.len(), 0)?;
    panels::gru(
        Isa::detected(),
        &panels::Gru {
            panels,
            columns: columns(frame, gathered)?,
            table: Entries { entries, shift },
            candidate_bits: op.candidate_bits,
            states,
            out,
            down,
        },
    )
}

fn lstm(frame: &mut Frame<'_, '_>, op: &Lstm) -> Option<()> {
    let hidden = frame.whole(op.hidden)?;
    let gathered = gather(frame, &op.inputs, Some(hidden))?;
    let panels = panels_of(frame, &matrix(frame.data, op.matrix)?)?;
    let (states, out, down) = (frame.words(hidden, 0)?, out(frame, op.out)?, frame.down);
    let cells = frame.words(frame.whole(op.cell)?, 0)?;
    let (entries, shift) = frame.table_row(&op.table, 4 * states.len(), 0)?;
    let peepholes = match peepholes(op) {
        Some(down) => {
            let entries = frame.tensor(op.matrix + 16, 6 * states.len())?.as_chunks().0;
            Some((Entries { entries, shift: 0 }, down))
        }
        None => None,
    };
    panels::lstm(
        Isa::detected(),
        &panels::Lstm {
            panels,
            columns: columns(frame, gathered)?,
            table: Entries { entries, shift },
            cell_bits: op.cell_bits,
            peepholes,
            states,
            cells,
            out,
            down,
        },
    )
}

/// The shift of a cell's peepholes.
fn peepholes(op: &Lstm) -> Option<u8> {
    #[cfg(feature = "peephole")]
    return op.peepholes;
    #[cfg(not(feature = "peephole"))]
    None
}

fn linear(frame: &mut Frame<'_, '_>, op: &Linear) -> Option<()> {
    let gathered = gather(frame, &op.inputs, None)?;
    let panels = panels_of(frame, &matrix(frame.data, op.matrix)?)?;
    let (entries, shift) = frame.table_row(&op.table, op.to.width as usize, 0)?;
    let (mut words, mut bytes): (&[_], &[_]) = (&[], &[]);
    match frame.slots.get(op.to.slot)?.kind {
        Kind::I16 => words = frame.words(op.to, 0)?,
        Kind::I8 => bytes = frame.bytes(op.to, 0)?,
    }
    panels::linear(
        Isa::detected(),
        &panels::Linear {
            panels,
            columns: columns(frame, gathered)?.inputs,
            table: Entries { entries, shift },
            activation: op.activation,
            words,
            bytes,
        },
    )
}

fn attend(frame: &mut Frame<'_, '_>, op: &Attend) -> Option<()> {
    let scores = frame.attention.get(..frame.source_len)?;
    let query = frame.words(frame.whole(op.query)?, 0)?;
    let keys = frame.sequence(op.keys)?;
    let energy = match op.energy {
        Energy::Additive { query_bits, key_scale, v } => {
            panels::Energy::Additive { query_bits, key_scale, v: frame.tensor(v, query.len())? }
        }
        #[cfg(feature = "dot")]
        Energy::Dot => panels::Energy::Dot,
    };
    panels::energies(Isa::detected(), &panels::Energies { query, keys, energy, score: op.score, scores })?;
    softmax(scores, op.score_bits as u32);
    let to = frame.bytes(op.to, 0)?;
    panels::context(
        Isa::detected(),
        &panels::Context { weights: scores, values: frame.sequence(op.values)?, to },
    )
}
