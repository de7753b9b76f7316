//! What is inside a blob: its programs, operation by operation, with shapes and bytes.

use kinglet::blob::schema::{Extent, Inputs, Kind, Op, Over, Pass, Slot, Slots, View};
use kinglet::kernels::padded;
use kinglet::{Limits, Model};
use serde::Serialize;

/// One operation of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// `encode` or `step`.
    pub program: &'static str,
    /// Where it runs: `once`, `forward` or `backward` over the source.
    pub over: &'static str,
    /// Its kind.
    pub operation: &'static str,
    /// Units or rows that it computes.
    pub rows: usize,
    /// Columns of its product.
    pub columns: usize,
    /// Bytes of weights and row records.
    pub weight_bytes: usize,
    /// Bytes of its token table or embedding.
    pub table_bytes: usize,
    /// Slots that it reads and writes, such as `1[0..64] -> 3`.
    pub slots: String,
}

/// A piece of RAM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotInfo {
    /// Its number.
    pub slot: usize,
    /// How many rows: `once`, `source` or `hypothesis`.
    pub rows: &'static str,
    /// Element type.
    pub kind: &'static str,
    /// Elements a row.
    pub width: u16,
}

/// Bytes of RAM for some limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ram {
    /// Source tokens, end mark included.
    pub source: u16,
    /// Target tokens, end mark excluded.
    pub target: u16,
    /// Beam.
    pub beam: u8,
    /// Bytes.
    pub bytes: usize,
}

/// RAM by source length (a quarter, a half, all, twice what was planned) and beam (1, 2, 4, 8).
pub fn ram(model: &Model<'_>) -> Vec<Ram> {
    let planned = model.limits(1);
    let mut sources: Vec<u16> = [1u32, 2, 4, 8]
        .map(|quarters| (u32::from(planned.source) * quarters).div_ceil(4).min(4096) as u16)
        .into();
    sources.dedup();
    let mut rows = Vec::new();
    for source in sources {
        for beam in [1, 2, 4, 8] {
            let limits = Limits { source, target: planned.target, beam };
            rows.push(Ram { source, target: planned.target, beam, bytes: model.ram(&limits) });
        }
    }
    rows
}

/// The slots of a model.
pub fn slots(model: &Model<'_>) -> Vec<SlotInfo> {
    let info = |(slot, s): (usize, Slot)| SlotInfo {
        slot,
        rows: match s.extent {
            Extent::Once => "once",
            Extent::Source => "source",
            Extent::Hypothesis => "hypothesis",
        },
        kind: match s.kind {
            Kind::I8 => "int8",
            Kind::I16 => "int16",
        },
        width: s.width,
    };
    model.description().slots.iter().enumerate().map(info).collect()
}

/// The operations of both programs, in order.
pub fn layers(model: &Model<'_>) -> Vec<Layer> {
    let d = model.description();
    let mut layers = Vec::new();
    for (program, bytes, vocabulary) in [("encode", d.encode, d.source.size), ("step", d.step, d.target.size)]
    {
        let mut rest = bytes;
        while let Ok((pass, after)) = postcard::take_from_bytes::<Pass>(rest) {
            rest = after;
            let over = match pass.over {
                Over::Once => "once",
                Over::Forward => "forward",
                Over::Backward => "backward",
            };
            for _ in 0..pass.ops {
                let Ok((op, after)) = postcard::take_from_bytes::<Op>(rest) else { return layers };
                rest = after;
                layers.push(layer(program, over, &op, usize::from(vocabulary), d.slots));
            }
        }
    }
    layers
}

fn layer(program: &'static str, over: &'static str, op: &Op, vocabulary: usize, slots: Slots<'_>) -> Layer {
    let width = |slot: u8| slots.get(slot).map_or(0, |s| usize::from(s.width));
    let view = |v: &View| {
        if usize::from(v.width) == width(v.slot) {
            v.slot.to_string()
        } else {
            format!("{}[{}..{}]", v.slot, v.start, v.start + v.width)
        }
    };
    let gathered = |inputs: &Inputs| inputs.iter().map(|v| usize::from(v.width)).sum::<usize>();
    let list = |inputs: &Inputs| inputs.iter().map(view).collect::<Vec<_>>().join(" ");
    let table = |present: bool, rows: usize| if present { 2 * vocabulary * rows } else { 0 };
    let out = |out: &Option<View>| out.as_ref().map_or(String::new(), |v| format!(" {}", view(v)));
    let (operation, rows, columns, weight_bytes, table_bytes, slots) = match op {
        Op::Embed(o) => {
            let width = usize::from(o.to.width);
            ("embed", width, 0, 0, vocabulary * width, format!("-> {}", view(&o.to)))
        }
        Op::Linear(o) => {
            let (rows, columns) = (usize::from(o.to.width), gathered(&o.inputs));
            let bytes = padded(rows) * (padded(columns) + 8);
            let slots = format!("{} -> {}", list(&o.inputs), view(&o.to));
            ("linear", rows, columns, bytes, table(o.table.is_some(), rows), slots)
        }
        Op::Gru(o) => {
            let (units, x) = (width(o.hidden), gathered(&o.inputs));
            let all = padded(x) + padded(units);
            let records = if x == 0 { 3 } else { 4 };
            let bytes = padded(units) * (3 * all + 8 * records);
            let slots = format!("{} {h} -> {h}{}", list(&o.inputs), out(&o.out), h = o.hidden);
            ("gru", units, x + units, bytes, table(o.table.is_some(), 3 * units), slots)
        }
        Op::Lstm(o) => {
            let (units, x) = (width(o.hidden), gathered(&o.inputs));
            let bytes = 4 * units * (padded(x) + padded(units) + 8);
            let slots =
                format!("{} {h} {c} -> {h} {c}{}", list(&o.inputs), out(&o.out), h = o.hidden, c = o.cell);
            ("lstm", units, x + units, bytes, table(o.table.is_some(), 4 * units), slots)
        }
        Op::Attend(o) => {
            let slots = format!("{} {} {} -> {}", o.query, o.keys, o.values, view(&o.to));
            ("attend", usize::from(o.to.width), width(o.query), width(o.query), 0, slots)
        }
    };
    Layer {
        program,
        over,
        operation,
        rows,
        columns,
        weight_bytes,
        table_bytes,
        slots: slots.trim_start().to_owned(),
    }
}
