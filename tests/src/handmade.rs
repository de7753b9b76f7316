//! Blobs put together by hand, operation by operation, with random weights: for what the compiler does not lower (yet), and
//! for single operations.

use anyhow::Result;
use kinglet::blob::schema::*;
use kinglet::kernels::{Layout, ROWS};
use kinglet_compiler::kinds::Kind;
use kinglet_compiler::pack::{Program, Section, pack};
use kinglet_compiler::plan::{Size, share};
use kinglet_compiler::quantize::{Record, Row};
use kinglet_compiler::tiles;

/// A blob as it grows.
pub struct Builder {
    layout: Layout,
    kind: Kind,
    random: u64,
    /// Tensors.
    pub section: Section,
    /// Pieces of RAM.
    pub slots: Vec<Slot>,
    /// Encode program.
    pub encode: Program,
    /// Step program.
    pub step: Program,
}

/// What a source is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Letters from `a` on, so many, and three marks; behind a start mark or not.
    Letters(u16, bool),
    /// Words of a letter each, so many and three marks, with features of the letters of any word.
    Words(u16, Spelled),
    /// Numbers.
    Frames(Frames),
    /// Nothing.
    None,
}

/// Features of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelled {
    /// Where they are.
    pub slot: u8,
    /// Table of a window of three letters.
    pub table: Offset,
}

/// What is asked of a whole model.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// What it is for.
    pub task: Task,
    /// What it reads.
    pub source: Source,
    /// Letters that it writes, beside three marks: the logits are so many and three.
    pub letters: u16,
    /// Slot of the logits.
    pub logits: u8,
    /// Their fraction bits.
    pub logit_bits: u8,
}

/// Longest source that handmade models are planned for.
pub const MAX_SOURCE: u16 = 12;
/// Longest target.
pub const MAX_TARGET: u16 = 8;
/// Marks of a vocabulary: start, end, unknown.
pub const MARKS: u16 = 3;

impl Builder {
    /// An empty blob whose matrices are of a kind in a layout.
    pub fn new(layout: Layout, kind: Kind, seed: u64) -> Self {
        Self {
            layout,
            kind,
            random: seed,
            section: Section::default(),
            slots: Vec::new(),
            encode: Program::default(),
            step: Program::default(),
        }
    }

    /// A number below another: a generator of Knuth's MMIX, upper half.
    pub fn below(&mut self, n: u32) -> u32 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as u32 % n
    }

    /// A new slot.
    pub fn slot(&mut self, extent: Extent, kind: Element, width: u16) -> u8 {
        self.slots.push(Slot { extent, kind, region: 0, width });
        (self.slots.len() - 1) as u8
    }

    /// All of a slot.
    pub fn whole(&self, slot: u8) -> View {
        View { slot, start: 0, width: self.slots[usize::from(slot)].width }
    }

    /// A tensor of random bytes in [-127, 127].
    pub fn bytes(&mut self, len: usize) -> Offset {
        let bytes: Vec<u8> = (0..len).map(|_| (self.below(255) as i32 - 127) as u8).collect();
        self.section.push("", &bytes)
    }

    /// A tensor of random 16-bit numbers in [-limit, limit].
    pub fn words(&mut self, len: usize, limit: u32) -> Offset {
        let words = self.some_words(len, limit);
        self.section.push_i16("", &words)
    }

    fn some_words(&mut self, len: usize, limit: u32) -> Vec<i16> {
        (0..len).map(|_| (self.below(2 * limit + 1) as i32 - limit as i32) as i16).collect()
    }

    /// A matrix of streams, each over so many columns of the inputs and of the state and with so many rows, whose results have
    /// about this standard deviation; `behind` stands behind its record.
    fn matrix(&mut self, streams: &[([usize; 2], usize)], spread: f64, behind: &[i16]) -> Matrix {
        let (limit, multipliers) = match self.kind {
            Kind::Int8 => (127, false),
            Kind::Int4 => (7, false),
            Kind::Int4Groups(_) => (7, true),
        };
        let group = usize::from(self.kind.group());
        let mut matrix = tiles::Matrix::new(self.layout, self.kind.bits());
        for &(columns, rows) in streams {
            let deviation = 0.58
                * f64::from(limit)
                * if multipliers { 2.7 } else { 1.0 }
                * 40.0
                * (columns[0] as f64 + columns[1] as f64).sqrt();
            let factor = (spread / deviation).min(0.99);
            let pre = (32_640.0 / (factor * 32_768.0)).log2().floor().clamp(0.0, 20.0) as u8;
            let mantissa = (factor * 2f64.powi(i32::from(pre) + 15)).min(32_640.0) as u16;
            let rows: Vec<Row> = (0..rows)
                .map(|_| {
                    let mut weights = Vec::new();
                    let mut split = 0;
                    for (part, columns) in columns.into_iter().enumerate() {
                        if part == 1 && columns > 0 {
                            split = weights.len();
                        }
                        let end = weights.len() + self.layout.padded(columns);
                        weights.extend(
                            (0..columns).map(|_| (self.below(2 * limit + 1) as i32 - limit as i32) as i8),
                        );
                        weights.resize(end, 0);
                    }
                    let groups = |columns: usize| {
                        if multipliers { self.layout.padded(columns).div_ceil(group) } else { 0 }
                    };
                    let groups = groups(columns[0]) + groups(columns[1]);
                    let multipliers = (0..groups).map(|_| 1 + self.below(4) as u8).collect();
                    let bias = (self.below(2001) as i32 - 1000) << pre;
                    Row {
                        weights,
                        scale: 1.0,
                        multipliers,
                        group,
                        split,
                        record: Record { bias, mantissa, pre },
                    }
                })
                .collect();
            matrix.push(&rows);
        }
        let record = MatrixRecord {
            weights: self.section.push("", &matrix.weights),
            rows: self.section.push("", &matrix.records),
            multipliers: if multipliers { self.section.push("", &matrix.multipliers) } else { 0 },
            group: self.kind.group(),
            post: 15,
            bits: self.kind.bits(),
        };
        let behind = behind.iter().flat_map(|x| x.to_le_bytes());
        let bytes: Vec<u8> = record.to_bytes().into_iter().chain(behind).collect();
        self.section.push("", &bytes)
    }

    fn columns(&self, inputs: &[View]) -> usize {
        inputs.iter().map(|view| usize::from(view.width)).sum()
    }

    /// A linear map whose sums have about this standard deviation.
    pub fn linear(&mut self, inputs: &[View], to: View, activation: Activation, spread: f64) -> Op {
        let (columns, rows) = (self.columns(inputs), usize::from(to.width));
        let streams: Vec<_> =
            (0..rows).step_by(ROWS).map(|start| ([columns, 0], ROWS.min(rows - start))).collect();
        let matrix = self.matrix(&streams, spread, &[]);
        Op::Linear(Linear { inputs: inputs.iter().copied().collect(), matrix, table: None, activation, to })
    }

    /// A step of a GRU.
    pub fn gru(&mut self, inputs: &[View], hidden: u8, out: Option<View>) -> Op {
        let (x, units) = (self.columns(inputs), usize::from(self.slots[usize::from(hidden)].width));
        let mut streams = Vec::new();
        for start in (0..units).step_by(GRU_GROUP) {
            let end = units.min(start + GRU_GROUP);
            for parts in [[x, units], [x, units], [x, 0], [0, units]] {
                streams.extend((start..end).step_by(ROWS).map(|at| (parts, ROWS.min(end - at))));
            }
        }
        let matrix = self.matrix(&streams, 5000.0, &[]);
        let inputs = inputs.iter().copied().collect();
        Op::Gru(Gru { inputs, matrix, table: None, candidate_bits: 12, hidden, out })
    }

    /// A step of an LSTM, with peepholes or without.
    pub fn lstm(&mut self, inputs: &[View], hidden: u8, cell: u8, peepholes: bool, out: Option<View>) -> Op {
        let (x, units) = (self.columns(inputs), usize::from(self.slots[usize::from(hidden)].width));
        let behind = if peepholes { self.some_words(3 * units, 20_000) } else { Vec::new() };
        let matrix = self.matrix(&vec![([x, units], ROWS); units], 5000.0, &behind);
        let inputs = inputs.iter().copied().collect();
        let peepholes = peepholes.then_some(14);
        Op::Lstm(Lstm { inputs, matrix, table: None, cell_bits: 11, hidden, cell, peepholes, out })
    }

    /// An embedding of a vocabulary with so many letters.
    pub fn embed(&mut self, letters: u16, to: View) -> Op {
        let table = self.bytes(usize::from(letters + MARKS) * usize::from(to.width));
        Op::Embed(Embed { table, to })
    }

    /// Layer normalization with gains of about 1 and small biases, to a 16-bit row in 2^-12 or an int8 row in 2^-4.
    pub fn layer_norm(&mut self, from: View, to: View) -> Op {
        let width = usize::from(to.width);
        let (unit, biases) = match self.slots[usize::from(to.slot)].kind {
            Element::I8 => (16.0, 20),
            Element::I16 => (4096.0, 3000),
        };
        let fraction = 15 - (u16::BITS - (to.width - 1).leading_zeros()).div_ceil(2);
        // Gains of 14 bits: result = y gain >> shift.
        let shift = (14.0 + f64::from(fraction) - f64::log2(unit)) as u8;
        let gains = (0..width).map(|_| 14_000 + self.below(4000) as i16).collect::<Vec<_>>();
        let biases = self.some_words(width, biases);
        let gains = self.section.push_i16("", &[gains, biases].concat());
        Op::Norm(Norm { from, form: Form::Layer { gains, shift, epsilon: 10_737 }, to })
    }

    /// The record of a source of numbers that scales each to about half of itself.
    pub fn frames(&mut self, slot: u8) -> Frames {
        let features = self.slots[usize::from(slot)].width;
        let records: Vec<u8> = (0..features)
            .flat_map(|_| {
                let bias = (self.below(8192) as i32 - 4096).to_le_bytes();
                let mantissa = (14_000 + self.below(5000) as u16).to_le_bytes();
                [bias.as_slice(), &mantissa, &[0, 0]].concat()
            })
            .collect();
        Frames { slot, post: 23, resolution: false, records: self.section.push("", &records) }
    }

    /// Features of the letters of a vocabulary.
    pub fn spelled(&mut self, letters: u16, slot: u8) -> Spelled {
        let features = usize::from(self.slots[usize::from(slot)].width);
        Spelled { slot, table: self.words(3 * usize::from(letters + MARKS) * features, 3000) }
    }

    /// Letters from `a` on behind the marks `<`, `>`, `?`; more than 26 begin anew and cannot be read.
    fn vocabulary(&mut self, letters: u16, start: bool) -> Vocabulary {
        let size = letters + MARKS;
        let text: Vec<u8> =
            b"<>?".iter().copied().chain((b'a'..=b'z').cycle().take(letters.into())).collect();
        let starts: Vec<u8> = (0..=u32::from(size)).flat_map(u32::to_le_bytes).collect();
        let sorted: Vec<i16> = (MARKS..size).chain([size - 1; MARKS as usize]).map(|id| id as i16).collect();
        Vocabulary {
            size,
            sos: 0,
            eos: 1,
            unk: 2,
            starts: self.section.push("", &starts),
            text: self.section.push("", &text),
            sorted: self.section.push_i16("", &sorted),
            tokens: Tokens::Chars,
            start,
        }
    }

    /// The blob, its slots sharing RAM.
    ///
    /// # Errors
    /// What the packer returns: that the runtime refuses it.
    pub fn blob(mut self, model: &Model) -> Result<Vec<u8>> {
        let target = self.vocabulary(model.letters, false).to_bytes();
        let (source, kept) = match model.source {
            Source::Letters(letters, start) => (self.vocabulary(letters, start).to_bytes().to_vec(), None),
            Source::Words(letters, Spelled { slot, table }) => {
                let characters = self.vocabulary(letters, false);
                let words = Vocabulary { tokens: Tokens::Words, start: true, ..characters }.to_bytes();
                let vocabulary = &characters.to_bytes();
                let record = Characters { vocabulary, slot, width: 3, shift: 1, max_len: 4, table };
                ([words.as_slice(), &record.to_bytes()].concat(), Some(slot))
            }
            Source::Frames(frames) => (frames.to_bytes().to_vec(), Some(frames.slot)),
            Source::None => (Vec::new(), None),
        };
        let size = Size { source: MAX_SOURCE.into(), beam: 1, lanes: 1 };
        share(&mut self.slots, self.encode.bytes(), self.step.bytes(), model.logits, kept, size);
        let slots: Vec<u8> = self.slots.iter().flat_map(Slot::to_bytes).collect();
        let description = Description {
            name: b"handmade",
            source: &source,
            target: &target,
            max_source: MAX_SOURCE,
            max_target: MAX_TARGET,
            slots: Slots(&slots),
            logits: model.logits,
            logit_bits: model.logit_bits,
            encode: self.encode.bytes(),
            step: self.step.bytes(),
            task: model.task,
        };
        Ok(pack(&description, self.layout, &self.section)?)
    }
}

/// A slot's element type, beside what weights are.
pub use kinglet::blob::schema::Kind as Element;
