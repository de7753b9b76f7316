//! What is inside a blob: its programs, operation by operation, with shapes and bytes.

use kinglet::blob::schema::{
    Characters, Energy, Extent, Form, Frames, Gru, Inputs, Kind, Linear, Lstm, MatrixRecord, Op, Over, Slot,
    View, Vocabulary,
};
use kinglet::kernels::{Bits, ROWS};
use kinglet::{Limits, Model};
use serde::Serialize;

use crate::plan::passes;
use crate::quantize::power_of_two;

/// One operation of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// `encode` or `step`; `read` of what is computed where a source is read.
    pub program: &'static str,
    /// Where it runs: `once`, `forward` or `backward` over the source.
    pub over: &'static str,
    /// Its kind.
    pub operation: &'static str,
    /// Units or rows that it computes.
    pub rows: usize,
    /// Columns of its product.
    pub columns: usize,
    /// What its weights are.
    pub weights: String,
    /// Bytes of weights, row records and multipliers.
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
            let limits = Limits { source, beam, ..planned };
            rows.push(Ram { source, target: planned.target, beam, bytes: model.ram(&limits) });
        }
    }
    rows
}

/// RAM for the planned lengths and a beam.
pub fn planned(model: &Model<'_>, beam: u8) -> Ram {
    let limits = model.limits(beam);
    Ram { source: limits.source, target: limits.target, beam, bytes: model.ram(&limits) }
}

/// How a number of a source's frames becomes int8: `(number - offset) / resolution * scale`, rounded and saturated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Feature {
    /// What an integer count is worth.
    pub resolution: f64,
    /// The number that becomes 0.
    pub offset: f64,
    /// int8 units a count.
    pub scale: f64,
}

/// The features of a source of numbers; none of tokens.
pub fn features(model: &Model<'_>) -> Vec<Feature> {
    let Some(frames) = Frames::from_bytes(model.description().source) else { return Vec::new() };
    let records = model.data()[frames.records as usize..].as_chunks::<8>().0;
    let feature = |(number, &[b0, b1, b2, b3, m0, m1, pre, _]): (usize, &[u8; 8])| {
        let rounding = if pre > 0 { 1 << (pre - 1) } else { 0 };
        let bias = i32::from_le_bytes([b0, b1, b2, b3]).wrapping_sub(rounding);
        let mantissa = f64::from(u16::from_le_bytes([m0, m1]));
        let resolution = model.resolution(number);
        Feature {
            resolution,
            offset: f64::from(bias) / -256.0 * resolution,
            scale: 256.0 * mantissa * power_of_two(-i32::from(pre) - i32::from(frames.post)),
        }
    };
    records.iter().take(model.features()).enumerate().map(feature).collect()
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

/// A stretch of a session's buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// What it is for: a region of slots or another part.
    pub part: String,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// Slots that lie there, at different times.
    pub holds: Vec<Held>,
}

/// A slot in a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its number.
    pub slot: usize,
    /// What is in it.
    pub role: String,
    /// Bytes that it takes.
    pub bytes: usize,
}

/// The RAM of a session as a map, in the order of the buffer; parts without bytes are left out.
pub fn map(model: &Model<'_>, limits: &Limits) -> Vec<Stretch> {
    let beam = usize::from(limits.beam);
    let lanes = model.layout().lanes().min(beam);
    let roles = roles(model);
    let slots: Vec<Slot> = model.description().slots.iter().collect();
    let mut map = Vec::new();
    let mut offset = 0;
    let mut put = |part: String, bytes: usize, holds: Vec<Held>| {
        if bytes > 0 {
            map.push(Stretch { part, offset, bytes, holds });
            offset += bytes;
        }
    };
    for (part, bytes) in model.ram_parts(limits) {
        if part != "slots" {
            put(part.to_owned(), bytes, Vec::new());
            continue;
        }
        for region in 0..=slots.iter().map(|s| s.region).max().unwrap_or(0) {
            let mut holds: Vec<Held> = slots
                .iter()
                .zip(&roles)
                .enumerate()
                .filter(|(_, (slot, _))| slot.region == region)
                .map(|(number, (slot, role))| {
                    let bytes = 2 * slot.words(limits.source.into(), beam, lanes);
                    Held { slot: number, role: role.clone(), bytes }
                })
                .collect();
            holds.sort_by_key(|held| (std::cmp::Reverse(held.bytes), held.slot));
            put(format!("region {region}"), holds.first().map_or(0, |held| held.bytes), holds);
        }
    }
    map
}

/// What is in each slot, from what the operations do with it.
fn roles(model: &Model<'_>) -> Vec<String> {
    let d = model.description();
    let mut roles = vec![String::new(); d.slots.iter().count()];
    let mut name = |slot: u8, role: String| {
        if let Some(place) = roles.get_mut(usize::from(slot)).filter(|place| place.is_empty()) {
            *place = role;
        }
    };
    name(d.logits, "logits".into());
    if let Some(frames) = Frames::from_bytes(d.source) {
        name(frames.slot, "frames of the source".into());
    }
    if let Some(characters) = d.characters() {
        name(characters.slot, "features of letters".into());
    }
    // What the step program calls a slot goes before what the encode program does with it.
    for (program, side) in [(d.step, "decoder"), (d.encode, "encoder")] {
        let mut layer = 0;
        for (_, ops) in passes(program) {
            for op in &ops {
                if let Op::Gru(Gru { hidden, .. }) | Op::Lstm(Lstm { hidden, .. }) = op {
                    layer += 1;
                    name(*hidden, format!("{side} hidden state {layer}"));
                }
                match op {
                    Op::Attend(o) => {
                        // A product may ask with a state, and for the values themselves.
                        if matches!(o.energy, Energy::Additive { .. }) {
                            name(o.query, "attention query".into());
                        }
                        name(o.values, "encoder outputs (attention values)".into());
                        name(o.keys, "attention keys".into());
                        name(o.to.slot, "attention context".into());
                    }
                    Op::Embed(o) => name(o.to.slot, format!("{side} embedding")),
                    Op::Lstm(o) => name(o.cell, format!("{side} cell state {layer}")),
                    Op::Add(o) => name(o.to.slot, format!("{side} sum")),
                    Op::Norm(o) => name(o.to.slot, format!("{side} normal form")),
                    // Elman's cell.
                    Op::Linear(o) if o.inputs.contains(&o.to) => {
                        layer += 1;
                        name(o.to.slot, format!("{side} hidden state {layer}"));
                    }
                    Op::Linear(_) | Op::Gru(_) => {}
                }
                if let Op::Gru(Gru { out: Some(out), .. }) | Op::Lstm(Lstm { out: Some(out), .. }) = op {
                    name(out.slot, format!("{side} outputs {layer}"));
                }
            }
        }
    }
    for (number, role) in roles.iter_mut().enumerate().filter(|(_, role)| role.is_empty()) {
        *role = format!("slot {number}");
    }
    roles
}

/// The operations of both programs, in order.
pub fn layers(model: &Model<'_>) -> Vec<Layer> {
    let d = model.description();
    let mut layers: Vec<Layer> = d.characters().map(|op| characters(&op, model)).into_iter().collect();
    for (program, bytes, vocabulary) in
        [("encode", d.encode, model.source().size()), ("step", d.step, model.target().size())]
    {
        for (over, ops) in passes(bytes) {
            let over = match over {
                Over::Once => "once",
                Over::Forward => "forward",
                Over::Backward => "backward",
            };
            layers.extend(ops.iter().map(|op| layer(program, over, op, usize::from(vocabulary), model)));
        }
    }
    layers
}

/// What is computed where a source is read.
fn characters(op: &Characters<'_>, model: &Model<'_>) -> Layer {
    let rows = model.description().slots.get(op.slot).map_or(0, |slot| usize::from(slot.width));
    let letters = Vocabulary::from_bytes(op.vocabulary).map_or(0, |vocabulary| usize::from(vocabulary.size));
    Layer {
        program: "read",
        over: "forward",
        operation: "characters",
        rows,
        columns: op.width.into(),
        weights: "int16".into(),
        weight_bytes: 0,
        table_bytes: 2 * usize::from(op.width) * letters * rows,
        slots: format!("-> {}", op.slot),
    }
}

/// Bytes of a matrix whose streams see so many columns of the inputs and of the state.
fn bytes(matrix: &MatrixRecord, streams: &[(usize, [usize; 2])]) -> usize {
    let groups = |columns: usize| match matrix.group {
        0 => 0,
        group => columns.div_ceil(usize::from(group)),
    };
    let one = |&(count, columns): &(usize, [usize; 2])| {
        let multipliers: usize = columns.map(groups).iter().sum();
        count * (matrix.bits.stream_bytes(columns.iter().sum()) + ROWS * (8 + multipliers))
    };
    streams.iter().map(one).sum::<usize>() + 16
}

/// Name of what weights are.
fn kind_of(matrix: &MatrixRecord) -> String {
    match (matrix.bits, matrix.group) {
        (Bits::Int8, _) => "int8".into(),
        (Bits::Int4, 0) => "int4".into(),
        (Bits::Int4, group) => format!("int4:{group}"),
    }
}

fn layer(program: &'static str, over: &'static str, op: &Op, vocabulary: usize, model: &Model<'_>) -> Layer {
    let (slots, layout) = (model.description().slots, model.layout());
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
    let matrix = match op {
        Op::Linear(Linear { matrix, .. }) | Op::Gru(Gru { matrix, .. }) | Op::Lstm(Lstm { matrix, .. }) => {
            let at = *matrix as usize;
            model.data().get(at..at + 16).and_then(|b| MatrixRecord::from_bytes(b.first_chunk()?))
        }
        Op::Embed(_) | Op::Attend(_) | Op::Add(_) | Op::Norm(_) => None,
    };
    let weights = matrix.as_ref().map_or("int8".into(), kind_of);
    let bytes = |streams: &[(usize, [usize; 2])]| matrix.as_ref().map_or(0, |m| bytes(m, streams));
    let (operation, rows, columns, weight_bytes, table_bytes, slots) = match op {
        Op::Embed(o) => {
            let width = usize::from(o.to.width);
            ("embed", width, 0, 0, vocabulary * width, format!("-> {}", view(&o.to)))
        }
        Op::Linear(o) => {
            let (rows, columns) = (usize::from(o.to.width), gathered(&o.inputs));
            let bytes = bytes(&[(rows.div_ceil(ROWS), [layout.padded(columns), 0])]);
            let slots = format!("{} -> {}", list(&o.inputs), view(&o.to));
            ("linear", rows, columns, bytes, table(o.table.is_some(), rows), slots)
        }
        Op::Gru(o) => {
            let (units, x) = (width(o.hidden), gathered(&o.inputs));
            let (groups, inputs, state) = (units.div_ceil(ROWS), layout.padded(x), layout.padded(units));
            let mut streams = vec![(2 * groups, [inputs, state]), (groups, [0, state])];
            if x > 0 {
                streams.push((groups, [inputs, 0]));
            }
            let bytes = bytes(&streams);
            let slots = format!("{} {h} -> {h}{}", list(&o.inputs), out(&o.out), h = o.hidden);
            ("gru", units, x + units, bytes, table(o.table.is_some(), 3 * units), slots)
        }
        Op::Lstm(o) => {
            let (units, x) = (width(o.hidden), gathered(&o.inputs));
            let peepholes = if o.peepholes.is_some() { 6 * units } else { 0 };
            let bytes = bytes(&[(units, [layout.padded(x), layout.padded(units)])]) + peepholes;
            let slots =
                format!("{} {h} {c} -> {h} {c}{}", list(&o.inputs), out(&o.out), h = o.hidden, c = o.cell);
            ("lstm", units, x + units, bytes, table(o.table.is_some(), 4 * units), slots)
        }
        Op::Attend(o) => {
            let slots = format!("{} {} {} -> {}", o.query, o.keys, o.values, view(&o.to));
            let (rows, columns) = (usize::from(o.to.width), width(o.query));
            match o.energy {
                Energy::Additive { .. } => ("attend", rows, columns, columns, 0, slots),
                Energy::Dot => ("attend (dot)", rows, columns, 0, 0, slots),
            }
        }
        Op::Add(o) => {
            let b = o.b.as_ref().map_or(String::new(), |b| format!("{} ", view(b)));
            ("add", o.to.width.into(), 0, 0, 0, format!("{} {b}-> {}", view(&o.a), view(&o.to)))
        }
        Op::Norm(o) => {
            let (name, bytes) = match o.form {
                Form::Layer { .. } => ("layer norm", 4 * usize::from(o.to.width)),
                Form::Length => ("length", 0),
            };
            (name, o.to.width.into(), 0, bytes, 0, format!("{} -> {}", view(&o.from), view(&o.to)))
        }
    };
    Layer {
        program,
        over,
        operation,
        rows,
        columns,
        weights,
        weight_bytes,
        table_bytes,
        slots: slots.trim_start().to_owned(),
    }
}
