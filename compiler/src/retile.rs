//! A blob as the desktop multiplies fastest: the same model with its weights in panels of sixteen rows, in memory alone.
//!
//! Every weight is read by the definition of the blob's layout, so that blobs of all layouts and sizes of weights come out
//! the same. Tensors that no product reads stay where they were.

use kinglet::blob::schema::{Description, GRU_GROUP, Gru, Inputs, Linear, Lstm, MatrixRecord, Offset, Op};
use kinglet::blob::{MAGIC, PREAMBLE, VERSION, checksum};
use kinglet::kernels::{Bits, Layout, layout};
use kinglet::{LoadError, Model};

use crate::pack::Program;
use crate::plan::passes;

/// Tensors start at multiples of this: a line of the cache and a register of the widest instruction set.
pub const ALIGN: usize = 64;

/// Bytes of a matrix' record.
const RECORD: usize = 16;
/// Rows of a panel.
const PANEL: usize = Layout::Panels.rows();

/// The blob with its weights in [`Layout::Panels`]: same tokens, same scores. Fastest where its first byte lies at a multiple
/// of [`ALIGN`].
///
/// # Errors
/// What the runtime has against the blob.
pub fn retile(blob: &[u8]) -> Result<Vec<u8>, LoadError> {
    let model = Model::from_bytes(blob)?;
    if model.layout() == Layout::Panels {
        return Ok(blob.to_vec());
    }
    let d = model.description();
    let mut data = model.data().to_vec();
    let [encode, step] = [d.encode, d.step].map(|program| rewritten(&model, program, &mut data));
    let description = Description { encode: encode.bytes(), step: step.bytes(), ..d.clone() };
    Ok(blob_of(&description, &data))
}

/// A blob of its parts.
fn blob_of(description: &Description<'_>, data: &[u8]) -> Vec<u8> {
    let encoded = postcard::to_stdvec(description).expect("plain data always encodes");
    let start = (PREAMBLE + encoded.len()).next_multiple_of(ALIGN);
    let mut blob = Vec::with_capacity(start + data.len());
    blob.extend(MAGIC);
    blob.extend(VERSION.to_le_bytes());
    blob.extend((Layout::Panels as u16).to_le_bytes());
    blob.extend(((start + data.len()) as u32).to_le_bytes());
    blob.extend((start as u32).to_le_bytes());
    let head = blob.clone();
    blob.extend([0; PREAMBLE - 16]);
    blob.extend(encoded);
    blob.resize(start, 0);
    blob.extend(data);
    let crc = checksum(&head, &blob[PREAMBLE..]);
    blob[PREAMBLE - 4..PREAMBLE].copy_from_slice(&crc.to_le_bytes());
    blob
}

/// A program whose matrices are new ones, which are appended to the data.
fn rewritten(model: &Model<'_>, program: &[u8], data: &mut Vec<u8>) -> Program {
    let mut to = Program::default();
    for (pass, ops) in passes(program) {
        let mut new = Vec::new();
        for mut op in ops {
            match &mut op {
                Op::Linear(Linear { inputs, matrix, to, .. }) => {
                    let old = Matrix::new(model, *matrix, width(inputs), 0);
                    *matrix = old.append(data, &linear(&old, usize::from(to.width)), &[]);
                }
                Op::Gru(Gru { inputs, matrix, hidden, .. }) => {
                    let units = slot_width(model, *hidden);
                    let old = Matrix::new(model, *matrix, width(inputs), units);
                    *matrix = old.append(data, &gru(&old, units), &[]);
                }
                Op::Lstm(Lstm { inputs, matrix, hidden, peepholes, .. }) => {
                    let units = slot_width(model, *hidden);
                    let old = Matrix::new(model, *matrix, width(inputs), units);
                    // Peepholes stand behind the record.
                    let behind = if peepholes.is_some() { 6 * units } else { 0 };
                    let behind = &model.data()[*matrix as usize + RECORD..][..behind];
                    *matrix = old.append(data, &lstm(&old, units), behind);
                }
                Op::Embed(_) | Op::Attend(_) | Op::Add(_) | Op::Norm(_) => {}
            }
            new.push(op);
        }
        to.pass(pass, &new);
    }
    to
}

fn width(inputs: &Inputs) -> usize {
    inputs.iter().map(|view| usize::from(view.width)).sum()
}

fn slot_width(model: &Model<'_>, slot: u8) -> usize {
    model.description().slots.get(slot).map_or(0, |slot| usize::from(slot.width))
}

/// Rows that stand in a panel, in order; fewer than sixteen are followed by padding.
type Panel = Vec<Row>;

/// A row as it means, without offsets of columns.
#[derive(Debug, Clone, Default)]
struct Row {
    /// Over the inputs, then over the state.
    weights: [Vec<i8>; 2],
    multipliers: [Vec<u8>; 2],
    bias: i32,
    /// What else is in its record.
    rest: [u8; 4],
}

impl Row {
    /// What an offset of all columns adds to its sum.
    fn times(&self, offset: i16, group: usize) -> i32 {
        let mut sum = 0i32;
        for (weights, multipliers) in self.weights.iter().zip(&self.multipliers) {
            for (column, &w) in weights.iter().enumerate() {
                let factor = column.checked_div(group).map_or(1, |at| i32::from(multipliers[at]));
                sum = sum.wrapping_add(i32::from(w) * factor);
            }
        }
        sum.wrapping_mul(i32::from(offset))
    }
}

/// A matrix of the old blob.
struct Matrix<'a> {
    layout: Layout,
    data: &'a [u8],
    record: MatrixRecord,
    /// Columns of the inputs and of the state, without padding.
    columns: [usize; 2],
}

/// Which columns a stream has.
const ALL: [bool; 2] = [true, true];
const INPUTS: [bool; 2] = [true, false];
const STATE: [bool; 2] = [false, true];

/// Where the next stream of an old matrix lies.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    weights: usize,
    rows: usize,
    multipliers: usize,
}

impl<'a> Matrix<'a> {
    fn new(model: &Model<'a>, offset: Offset, inputs: usize, state: usize) -> Self {
        let data = model.data();
        let bytes = data[offset as usize..].first_chunk().expect("the runtime has checked the record");
        let record = MatrixRecord::from_bytes(bytes).expect("as above");
        Self { layout: model.layout(), data, record, columns: [inputs, state] }
    }

    fn groups(&self, columns: usize) -> usize {
        if self.record.group == 0 { 0 } else { columns.div_ceil(usize::from(self.record.group)) }
    }

    /// Reads the next stream.
    fn stream(&self, at: &mut Position, parts: [bool; 2]) -> Vec<Row> {
        let rows = self.layout.rows();
        let real = [0, 1].map(|i| if parts[i] { self.columns[i] } else { 0 });
        let padded = real.map(|columns| self.layout.padded(columns));
        let bytes = self.record.bits.stream_bytes(padded.iter().sum()) / 4 * rows;
        let weights = &self.data[self.record.weights as usize + at.weights..][..bytes];
        let records = &self.data[self.record.rows as usize + 8 * at.rows..][..8 * rows];
        let groups = padded.map(|columns| self.groups(columns));
        let multipliers = &self.data[self.record.multipliers as usize + at.multipliers..];
        at.weights += bytes;
        at.rows += rows;
        at.multipliers += rows * groups.iter().sum::<usize>();
        let weight = |row: usize, column: usize| {
            layout::weight(self.layout, self.record.bits, weights, row, column) as i8
        };
        let offset = self.layout.column_offset();
        (0..rows)
            .map(|row| {
                let [b0, b1, b2, b3, rest @ ..] = records.as_chunks::<8>().0[row];
                let mut new = Row {
                    weights: [
                        (0..real[0]).map(|column| weight(row, column)).collect(),
                        (0..real[1]).map(|column| weight(row, padded[0] + column)).collect(),
                    ],
                    multipliers: [
                        (0..groups[0]).map(|group| multipliers[group * rows + row]).collect(),
                        (0..groups[1]).map(|group| multipliers[(groups[0] + group) * rows + row]).collect(),
                    ],
                    bias: i32::from_le_bytes([b0, b1, b2, b3]),
                    rest,
                };
                new.bias = new.bias.wrapping_add(new.times(offset, usize::from(self.record.group)));
                new
            })
            .collect()
    }

    /// Appends the panels to the data, and what stands behind the record; the offset of the new matrix.
    fn append(&self, data: &mut Vec<u8>, panels: &[Panel], behind: &[u8]) -> Offset {
        let (mut weights, mut records, mut multipliers) = (Vec::new(), Vec::new(), Vec::new());
        let to = Layout::Panels;
        let blank = Row::default();
        for panel in panels {
            let row = |r: usize| panel.get(r).unwrap_or(&blank);
            for part in 0..2 {
                let columns = to.padded(row(0).weights[part].len());
                let start = weights.len();
                let weight = |r: usize, column: usize| row(r).weights[part].get(column).copied().unwrap_or(0);
                weights.resize(start + self.record.bits.stream_bytes(columns) / 4 * PANEL, 0);
                for (at, byte) in weights[start..].iter_mut().enumerate() {
                    let (tile, r, lane) = (at / (4 * PANEL), at / 4 % PANEL, at % 4);
                    *byte = match self.record.bits {
                        Bits::Int8 => weight(r, 4 * tile + lane) as u8,
                        Bits::Int4 => {
                            let [low, high] = [0, 4].map(|half| weight(r, 8 * tile + half + lane) + 8);
                            (low | high << 4) as u8
                        }
                    };
                }
                for group in 0..row(0).multipliers[part].len() {
                    let factor = |r: usize| row(r).multipliers[part].get(group).copied().unwrap_or(0);
                    multipliers.extend((0..PANEL).map(factor));
                }
            }
            for r in 0..PANEL {
                let row = row(r);
                let offset = row.times(to.column_offset(), usize::from(self.record.group));
                records.extend(row.bias.wrapping_sub(offset).to_le_bytes());
                records.extend(row.rest);
            }
        }
        let mut push = |bytes: &[u8]| {
            data.resize(data.len().next_multiple_of(ALIGN), 0);
            let offset = data.len() as Offset;
            data.extend_from_slice(bytes);
            offset
        };
        let record = MatrixRecord {
            weights: push(&weights),
            rows: push(&records),
            multipliers: if self.record.group == 0 { 0 } else { push(&multipliers) },
            ..self.record
        };
        push(&[&record.to_bytes(), behind].concat())
    }
}

/// Rows in their order.
fn linear(old: &Matrix<'_>, rows: usize) -> Vec<Panel> {
    let mut at = Position::default();
    let streams = rows.div_ceil(old.layout.rows());
    let all: Vec<Row> = (0..streams).flat_map(|_| old.stream(&mut at, ALL)).collect();
    all.chunks(PANEL).map(<[Row]>::to_vec).collect()
}

/// Sixteen units' r, then z, `W_n` (where there are inputs), `U_n`.
fn gru(old: &Matrix<'_>, units: usize) -> Vec<Panel> {
    let mut at = Position::default();
    let parts: &[[bool; 2]] =
        if old.columns[0] > 0 { &[ALL, ALL, INPUTS, STATE] } else { &[ALL, ALL, STATE] };
    let mut gates = vec![Vec::new(); parts.len()];
    for start in (0..units).step_by(GRU_GROUP) {
        let streams = GRU_GROUP.min(units - start).div_ceil(old.layout.rows());
        for (gate, parts) in gates.iter_mut().zip(parts) {
            gate.extend((0..streams).flat_map(|_| old.stream(&mut at, *parts)));
        }
    }
    side_by_side(&gates)
}

/// Sixteen units' i, then f, g, o.
fn lstm(old: &Matrix<'_>, units: usize) -> Vec<Panel> {
    let mut at = Position::default();
    let mut gates = vec![Vec::new(); 4];
    for _ in 0..units {
        for (gate, row) in gates.iter_mut().zip(old.stream(&mut at, ALL)) {
            gate.push(row);
        }
    }
    side_by_side(&gates)
}

/// The first panel of every gate, then the second of every gate, ...
fn side_by_side(gates: &[Vec<Row>]) -> Vec<Panel> {
    let panels = gates.first().map_or(0, |rows| rows.len().div_ceil(PANEL));
    let panel = |at: usize, gate: &Vec<Row>| gate.chunks(PANEL).nth(at).unwrap_or(&[]).to_vec();
    (0..panels).flat_map(|at| gates.iter().map(move |gate| panel(at, gate))).collect()
}
