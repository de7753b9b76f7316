//! Blobs of one operation with random weights: what `bench` measures.
//!
//! The encode program fills x from an embedding table at every source position, then runs the operation there. The
//! difference between two source lengths is therefore the cost of a step, decoding of its description included, plus
//! an embedding lookup, which a blob without the operation measures alone.

use kinglet::blob::schema::*;
use kinglet::blob::{ALIGN, MAGIC, PREAMBLE, VERSION, checksum};
use kinglet::kernels::{Bits, Layout};

/// What weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Their size.
    pub bits: Bits,
    /// Columns that share a multiplier; 0 without.
    pub group: u16,
}

/// int8, a scale a row.
pub const INT8: Weights = Weights { bits: Bits::Int8, group: 0 };
/// int4, a scale a row.
pub const INT4: Weights = Weights { bits: Bits::Int4, group: 0 };
/// int4, a multiplier for 32 columns.
pub const INT4_GROUPS: Weights = Weights { bits: Bits::Int4, group: 32 };

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Matrix of `size` rows.
    Matvec(Weights),
    /// LSTM of `size` units.
    Lstm,
    /// GRU of `size` units.
    Gru,
    /// Simple recurrent cell with tanh, of `size` units.
    Elman,
    /// LSTM of `size` units with peepholes.
    Peephole,
    /// Layer normalization of a row of `input`.
    LayerNorm,
    /// A row of `input` brought to unit length.
    UnitLength,
}

/// The blob of an operation with `input` columns of x, or of the embedding alone.
pub fn one_operation(layout: Layout, kernel: Option<Kernel>, input: u16, size: u16) -> Vec<u8> {
    let (x, out, hidden, cell, logits) = (0, 1, 2, 3, 4);
    let mut regions = 0..;
    let mut data = Data::default();
    let whole = |slot, width| View { slot, start: 0, width };
    let mut slot =
        |kind, width| Slot { extent: Extent::Once, kind, region: regions.next().unwrap_or(0), width };
    let inputs: Inputs = [whole(x, input)].into_iter().collect();
    let columns = usize::from(input) + usize::from(size);
    let embed = Op::Embed(Embed { table: data.random(2 * usize::from(input)), to: whole(x, input) });
    let operation = kernel.map(|kernel| match kernel {
        Kernel::Matvec(weights) => Op::Linear(Linear {
            inputs,
            matrix: data.matrix(weights, usize::from(size) * usize::from(input), size.into(), input.into()),
            table: None,
            activation: Activation::None,
            to: whole(out, size),
        }),
        Kernel::Lstm | Kernel::Peephole => {
            let matrix = data.matrix(INT8, 4 * usize::from(size) * columns, 4 * usize::from(size), columns);
            let peepholes = (kernel == Kernel::Peephole).then(|| {
                // Random 16-bit numbers behind the record, which is the last tensor.
                let of_units = data.random(6 * usize::from(size));
                assert_eq!(of_units, matrix + 16);
                14
            });
            Op::Lstm(Lstm { inputs, matrix, table: None, cell_bits: 11, hidden, cell, peepholes, out: None })
        }
        Kernel::Elman => Op::Linear(Linear {
            inputs: [whole(x, input), whole(hidden, size)].into_iter().collect(),
            matrix: data.matrix(INT8, usize::from(size) * columns, size.into(), columns),
            table: None,
            activation: Activation::Tanh { shift: 0 },
            to: whole(hidden, size),
        }),
        Kernel::LayerNorm => Op::Norm(Norm {
            from: whole(x, input),
            form: Form::Layer { gains: data.random(4 * usize::from(input)), shift: 14, epsilon: 0 },
            to: whole(out, input),
        }),
        Kernel::UnitLength => {
            Op::Norm(Norm { from: whole(x, input), form: Form::Length, to: whole(out, input) })
        }
        Kernel::Gru => Op::Gru(Gru {
            inputs,
            matrix: data.matrix(INT8, 3 * usize::from(size) * columns, 4 * usize::from(size), columns),
            table: None,
            candidate_bits: 12,
            hidden,
            out: None,
        }),
    });
    let mut encode = Vec::new();
    let ops: Vec<Op> = [Some(embed), operation].into_iter().flatten().collect();
    encode.extend(Pass { over: Over::Forward, ops: ops.len() as u8 }.to_bytes());
    encode.extend(ops.iter().flat_map(Op::to_bytes));
    let vocabulary = data.vocabulary();
    let slots: Vec<u8> = [
        slot(Kind::I8, input),
        slot(Kind::I16, size),
        slot(Kind::I16, size),
        slot(Kind::I16, size),
        slot(Kind::I16, vocabulary.size),
    ]
    .iter()
    .flat_map(Slot::to_bytes)
    .collect();
    let description = Description {
        name: b"bench",
        source: &vocabulary.to_bytes(),
        target: &vocabulary.to_bytes(),
        max_source: 16,
        max_target: 1,
        slots: Slots(&slots),
        logits,
        logit_bits: 8,
        encode: &encode,
        step: &[],
        task: Task::Transduce,
    };
    seal(layout, &description, data.bytes())
}

/// The blob of a decoder that only has logits, all of them zero, for a target vocabulary of `size`.
pub fn logits(layout: Layout, size: u16) -> Vec<u8> {
    let mut data = Data::default();
    let source = data.vocabulary();
    let target = data.letters(size);
    let slot = Slot { extent: Extent::Once, kind: Kind::I16, region: 0, width: size };
    let description = Description {
        name: b"bench",
        source: &source.to_bytes(),
        target: &target.to_bytes(),
        max_source: 16,
        max_target: 8,
        slots: Slots(&slot.to_bytes()),
        logits: 0,
        logit_bits: 8,
        encode: &[],
        step: &[],
        task: Task::Transduce,
    };
    seal(layout, &description, data.bytes())
}

/// The blob of a decoder as G2P models have one: additive attention of 64 over values of 128, a GRU of 128 units over
/// embedding and context, 72 logits. Its encoder only fills keys and values.
pub fn decoder(layout: Layout, weights: Weights) -> Vec<u8> {
    let (values, keys, hidden, query, embedded, context, logits) = (0, 1, 2, 3, 4, 5, 6);
    let (size, units, attention, embedding) = (72, 128, 64, 32);
    let mut data = Data::default();
    let whole = |slot, width| View { slot, start: 0, width };
    let slots: Vec<u8> = [
        (Extent::Source, Kind::I8, units),
        (Extent::Source, Kind::I8, attention),
        (Extent::Hypothesis, Kind::I16, units),
        (Extent::Once, Kind::I16, attention),
        (Extent::Once, Kind::I8, embedding),
        (Extent::Once, Kind::I8, units),
        (Extent::Once, Kind::I16, size),
    ]
    .into_iter()
    .zip(0..)
    .flat_map(|((extent, kind, width), region)| Slot { extent, kind, region, width }.to_bytes())
    .collect();
    let source = data.vocabulary();
    let target = data.letters(size);
    let mut encode = Pass { over: Over::Forward, ops: 2 }.to_bytes().to_vec();
    for (to, width) in [(values, units), (keys, attention)] {
        let table = data.random(2 * usize::from(width));
        encode.extend(Op::Embed(Embed { table, to: whole(to, width) }).to_bytes());
    }
    let linear = |inputs: &[View], to: View, data: &mut Data| {
        let columns: usize = inputs.iter().map(|view| usize::from(view.width)).sum();
        let rows = usize::from(to.width);
        Op::Linear(Linear {
            inputs: inputs.iter().copied().collect(),
            matrix: data.matrix(weights, rows * columns, rows, columns),
            table: None,
            activation: Activation::None,
            to,
        })
    };
    let table = data.random(usize::from(size) * usize::from(embedding));
    let ask = linear(&[whole(hidden, units)], whole(query, attention), &mut data);
    let attend = Op::Attend(Attend {
        query,
        keys,
        energy: Energy::Additive { query_bits: 12, key_scale: 2048, v: data.random(attention.into()) },
        score: Multiplier { mantissa: 20_000, pre: 6, post: 15 },
        score_bits: 12,
        values,
        to: whole(context, units),
    });
    let columns = usize::from(embedding + units + units);
    let gru = Op::Gru(Gru {
        inputs: [whole(embedded, embedding), whole(context, units)].into_iter().collect(),
        matrix: data.matrix(weights, 3 * usize::from(units) * columns, 4 * usize::from(units), columns),
        table: None,
        candidate_bits: 12,
        hidden,
        out: None,
    });
    let inputs = [whole(hidden, units), whole(context, units), whole(embedded, embedding)];
    let out = linear(&inputs, whole(logits, size), &mut data);
    let embed = Op::Embed(Embed { table, to: whole(embedded, embedding) });
    let mut step = Pass { over: Over::Once, ops: 5 }.to_bytes().to_vec();
    step.extend([embed, ask, attend, gru, out].iter().flat_map(Op::to_bytes));
    let description = Description {
        name: b"bench",
        source: &source.to_bytes(),
        target: &target.to_bytes(),
        max_source: 16,
        max_target: 8,
        slots: Slots(&slots),
        logits,
        logit_bits: 10,
        encode: &encode,
        step: &step,
        task: Task::Transduce,
    };
    seal(layout, &description, data.bytes())
}

/// The blob of a decoder that only attends, with keys and values of `width`, and leaves 4 logits, all zero.
pub fn attention(layout: Layout, dot: bool, width: u16) -> Vec<u8> {
    let (values, keys, query, context, logits) = (0, 1, 2, 3, 4);
    let mut data = Data::default();
    let whole = |slot| View { slot, start: 0, width };
    let slots: Vec<u8> = [
        (Extent::Source, Kind::I8, width),
        (Extent::Source, Kind::I8, width),
        (Extent::Once, Kind::I16, width),
        (Extent::Once, Kind::I8, width),
        (Extent::Once, Kind::I16, 4),
    ]
    .into_iter()
    .zip(0..)
    .flat_map(|((extent, kind, width), region)| Slot { extent, kind, region, width }.to_bytes())
    .collect();
    let source = data.vocabulary();
    let target = data.letters(4);
    let mut encode = Pass { over: Over::Forward, ops: 2 }.to_bytes().to_vec();
    for to in [values, keys] {
        let table = data.random(2 * usize::from(width));
        encode.extend(Op::Embed(Embed { table, to: whole(to) }).to_bytes());
    }
    let v = data.random(width.into());
    let attend = Op::Attend(Attend {
        query,
        keys,
        energy: if dot { Energy::Dot } else { Energy::Additive { query_bits: 12, key_scale: 2048, v } },
        score: Multiplier { mantissa: 20_000, pre: 6, post: 15 },
        score_bits: 12,
        values,
        to: whole(context),
    });
    let mut step = Pass { over: Over::Once, ops: 1 }.to_bytes().to_vec();
    step.extend(attend.to_bytes());
    let description = Description {
        name: b"bench",
        source: &source.to_bytes(),
        target: &target.to_bytes(),
        max_source: 16,
        max_target: 8,
        slots: Slots(&slots),
        logits,
        logit_bits: 8,
        encode: &encode,
        step: &step,
        task: Task::Transduce,
    };
    seal(layout, &description, data.bytes())
}

/// The blob of a decoder whose logits are one product of `columns`: more than kernels add up without a break.
pub fn long(layout: Layout, weights: Weights, columns: u16, logits: u16) -> Vec<u8> {
    let mut data = Data::default();
    let slots: Vec<u8> = [(Kind::I8, columns), (Kind::I16, logits)]
        .into_iter()
        .zip(0..)
        .flat_map(|((kind, width), region)| Slot { extent: Extent::Once, kind, region, width }.to_bytes())
        .collect();
    let source = data.vocabulary();
    let target = data.letters(logits);
    let (rows, inputs) = (usize::from(logits), usize::from(columns));
    let product = Op::Linear(Linear {
        inputs: [View { slot: 0, start: 0, width: columns }].into_iter().collect(),
        matrix: data.matrix(weights, rows * inputs, rows, inputs),
        table: None,
        activation: Activation::None,
        to: View { slot: 1, start: 0, width: logits },
    });
    let mut step = Pass { over: Over::Once, ops: 1 }.to_bytes().to_vec();
    step.extend(product.to_bytes());
    let description = Description {
        name: b"bench",
        source: &source.to_bytes(),
        target: &target.to_bytes(),
        max_source: 16,
        max_target: 8,
        slots: Slots(&slots),
        logits: 1,
        logit_bits: 10,
        encode: &[],
        step: &step,
        task: Task::Transduce,
    };
    seal(layout, &description, data.bytes())
}

/// A data section as it grows.
#[derive(Default)]
pub struct Data {
    bytes: Vec<u8>,
    random: u32,
}

impl Data {
    /// Everything so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a tensor.
    pub fn tensor(&mut self, bytes: &[u8]) -> Offset {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let offset = self.bytes.len() as Offset;
        self.bytes.extend_from_slice(bytes);
        offset
    }

    /// Appends bytes of [-127, 127], evenly distributed.
    pub fn random(&mut self, len: usize) -> Offset {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                // Numerical Recipes' linear congruential generator; its high bits are good enough for weights.
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((self.random >> 16) % 255) as u8
            })
            .map(|byte| byte.wrapping_sub(127))
            .collect();
        self.tensor(&bytes)
    }

    /// Appends a matrix of random weights, and row records that bring random sums over `columns` to a standard deviation
    /// of 1.25 in Q3.12, as a trained gate has.
    pub fn matrix(&mut self, of: Weights, weights: usize, rows: usize, columns: usize) -> Matrix {
        let Weights { bits, group } = of;
        let deviation = match bits {
            Bits::Int8 => 73.6 * 73.6 * (columns as f64).sqrt(),
            Bits::Int4 => 73.6 * 4.3 * (columns as f64).sqrt(),
        };
        let factor = 1.25 * 4096.0 / deviation;
        let post = 15;
        let pre = (32_640.0 / (factor * 32_768.0)).log2().floor().clamp(0.0, 31.0) as u8;
        let mantissa = (factor * 2f64.powi(i32::from(pre) + i32::from(post))).min(32_640.0) as u16;
        let mut record = 0i32.to_le_bytes().to_vec();
        record.extend_from_slice(&mantissa.to_le_bytes());
        record.extend_from_slice(&[pre, 0]);
        let weights = self.random(bits.stream_bytes(weights) / 4);
        let multipliers = match columns.checked_div(group.into()) {
            // All of them one. The state's groups are counted anew, so that its last one may be another.
            Some(groups) => self.tensor(&vec![1; rows * (groups + 2)]),
            None => 0,
        };
        let rows = self.tensor(&record.repeat(rows));
        let matrix = MatrixRecord { weights, rows, multipliers, group, post, bits };
        self.tensor(&matrix.to_bytes())
    }

    /// Appends a vocabulary of so many tokens `a`; the second is the end mark.
    pub fn letters(&mut self, size: u16) -> Vocabulary {
        let starts: Vec<u8> = (0..=u32::from(size)).flat_map(u32::to_le_bytes).collect();
        Vocabulary {
            size,
            sos: 0,
            eos: 1,
            unk: 0,
            tokens: Tokens::Chars,
            start: false,
            starts: self.tensor(&starts),
            text: self.tensor(&vec![b'a'; size.into()]),
            sorted: self.tensor(&(0..size).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
        }
    }

    /// Appends a vocabulary of `b"ab"`.
    pub fn vocabulary(&mut self) -> Vocabulary {
        let starts: Vec<u8> = [0u32, 1, 2].iter().flat_map(|s| s.to_le_bytes()).collect();
        Vocabulary {
            size: 2,
            sos: 0,
            eos: 0,
            unk: 1,
            tokens: Tokens::Chars,
            start: false,
            starts: self.tensor(&starts),
            text: self.tensor(b"ab"),
            sorted: self.tensor(&[0, 0, 1, 0]),
        }
    }
}

/// Appends a value to a program.
pub fn put<T: serde::Serialize>(program: &mut Vec<u8>, value: &T) {
    program.extend(postcard::to_stdvec(value).expect("a vector grows as needed"));
}

/// The finished blob.
pub fn seal(layout: Layout, description: &Description<'_>, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, description);
    body.resize((PREAMBLE + body.len()).next_multiple_of(ALIGN) - PREAMBLE, 0);
    let start = (PREAMBLE + body.len()) as u32;
    body.extend_from_slice(data);
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_le_bytes());
    blob.extend_from_slice(&(layout as u16).to_le_bytes());
    blob.extend_from_slice(&((PREAMBLE + body.len()) as u32).to_le_bytes());
    blob.extend_from_slice(&start.to_le_bytes());
    let crc = checksum(&blob, &body);
    blob.extend_from_slice(&crc.to_le_bytes());
    blob.extend_from_slice(&body);
    blob
}
