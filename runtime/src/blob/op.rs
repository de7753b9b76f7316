//! Operations as a program's bytes: [`OP_BYTES`] each, read in place at every step.
//!
//! ```text
//!  0     kind: 0 Embed, 1 Linear, 2 Gru, 3 Lstm, 4 Attend (additive), 5 Add, 6 Norm, 7 Attend (dot), 8 Lstm (peepholes)
//!  1     number of inputs, 0 to 4; Add: 1 or 2; Norm: 1
//!  2     Linear: 0 without activation, 1 + shift with tanh, 17 with ReLU; Gru: candidate bits; Lstm: cell bits;
//!        Attend: query bits (additive); Add: the shifts up, a's in the low half; Norm: 0 layer, 1 length
//!  3     shift of the table; Attend: score bits; Add: shift down; Norm: shift
//!  4     u32: matrix; Embed: table; Attend: v (additive); Norm: gains
//!  8     u32: table, 2^32 - 1 for none; Attend: mantissa, first and second shift of the score; Norm: epsilon
//! 12     four views of 5 bytes: slot, start, width (0 in those that are not there)
//! 32     view: to, or out (width 0 for none)
//! 37     slots: hidden and cell; Attend: query, keys, values
//! 39     Lstm (peepholes): their shift
//! 40     u16: Attend: scale of the keys (additive)
//! ```

use super::schema::*;

/// Bytes of an operation.
pub const OP_BYTES: usize = 42;

const NO_TABLE: u32 = u32::MAX;
/// An activation's byte.
const RELU: u8 = 17;
const VIEWS: usize = 12;
const VIEW_BYTES: usize = 5;
const TO: usize = VIEWS + MAX_INPUTS * VIEW_BYTES;
const SLOTS: usize = TO + VIEW_BYTES;
const KEY_SCALE: usize = SLOTS + 3;

impl View {
    fn to_bytes(self) -> [u8; VIEW_BYTES] {
        let [s0, s1] = self.start.to_le_bytes();
        let [w0, w1] = self.width.to_le_bytes();
        [self.slot, s0, s1, w0, w1]
    }

    fn from_bytes([slot, s0, s1, w0, w1]: &[u8; VIEW_BYTES]) -> Self {
        Self { slot: *slot, start: u16::from_le_bytes([*s0, *s1]), width: u16::from_le_bytes([*w0, *w1]) }
    }
}

/// An operation's bytes, and what is read from them.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8; OP_BYTES]);

impl Record<'_> {
    #[inline(never)]
    fn word(self, at: usize) -> u32 {
        self.0.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    #[inline(never)]
    fn view(self, at: usize) -> View {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(View { slot: 0, start: 0, width: 0 }, View::from_bytes)
    }

    fn inputs(self, to: &mut Inputs) -> Option<()> {
        for i in 0..self.0[1] as usize {
            to.push(self.view(VIEWS + i * VIEW_BYTES)).ok()?;
        }
        Some(())
    }

    fn table(self) -> Option<Table> {
        let table = self.word(8);
        (table != NO_TABLE).then_some(Table { table, shift: self.0[3] })
    }

    fn out(self) -> Option<View> {
        Some(self.view(TO)).filter(|view| view.width > 0)
    }

    #[inline(always)]
    fn lstm(self) -> Lstm {
        Lstm {
            inputs: Inputs::new(),
            matrix: self.word(4),
            table: self.table(),
            cell_bits: self.0[2],
            hidden: self.0[SLOTS],
            cell: self.0[SLOTS + 1],
            #[cfg(feature = "peephole")]
            peepholes: None,
            out: self.out(),
        }
    }

    #[inline(always)]
    fn attend(self, energy: Energy) -> Attend {
        let [m0, m1, pre, post] = self.word(8).to_le_bytes();
        Attend {
            query: self.0[SLOTS],
            keys: self.0[SLOTS + 1],
            energy,
            score: Multiplier { mantissa: u16::from_le_bytes([m0, m1]), pre, post },
            score_bits: self.0[3],
            values: self.0[SLOTS + 2],
            to: self.view(TO),
        }
    }
}

impl Op {
    /// The operation that these bytes mean, if any.
    #[inline(never)]
    pub fn from_bytes(bytes: &[u8; OP_BYTES]) -> Option<Self> {
        let record = Record(bytes);
        let (small, matrix) = (bytes[2], record.word(4));
        let mut op = match bytes[0] {
            0 => Self::Embed(Embed { table: matrix, to: record.view(TO) }),
            1 => Self::Linear(Linear {
                inputs: Inputs::new(),
                matrix,
                table: record.table(),
                activation: match small {
                    0 => Activation::None,
                    RELU => Activation::Relu,
                    tanh => Activation::Tanh { shift: tanh - 1 },
                },
                to: record.view(TO),
            }),
            2 => Self::Gru(Gru {
                inputs: Inputs::new(),
                matrix,
                table: record.table(),
                candidate_bits: small,
                hidden: bytes[SLOTS],
                out: record.out(),
            }),
            3 => Self::Lstm(record.lstm()),
            4 => Self::Attend(record.attend(Energy::Additive {
                query_bits: small,
                key_scale: u16::from_le_bytes([bytes[KEY_SCALE], bytes[KEY_SCALE + 1]]),
                v: matrix,
            })),
            #[cfg(feature = "add")]
            5 => Self::Add(Add {
                a: record.view(VIEWS),
                b: match bytes[1] {
                    1 => None,
                    2 => Some(record.view(VIEWS + VIEW_BYTES)),
                    _ => return None,
                },
                up: [small & 15, small >> 4],
                down: bytes[3],
                to: record.view(TO),
            }),
            #[cfg(feature = "norm")]
            6 => Self::Norm(Norm {
                from: record.view(VIEWS),
                form: match small {
                    0 => Form::Layer { gains: matrix, shift: bytes[3], epsilon: record.word(8) },
                    1 => Form::Length,
                    _ => return None,
                },
                to: record.view(TO),
            }),
            #[cfg(feature = "dot")]
            7 => Self::Attend(record.attend(Energy::Dot)),
            #[cfg(feature = "peephole")]
            8 => Self::Lstm(Lstm { peepholes: Some(bytes[SLOTS + 2]), ..record.lstm() }),
            _ => return None,
        };
        // Inputs are read to where they stay.
        if let Self::Linear(Linear { inputs, .. })
        | Self::Gru(Gru { inputs, .. })
        | Self::Lstm(Lstm { inputs, .. }) = &mut op
        {
            record.inputs(inputs)?;
        }
        Some(op)
    }

    /// The bytes of an operation.
    pub fn to_bytes(&self) -> [u8; OP_BYTES] {
        let mut bytes = [0; OP_BYTES];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        let product =
            |put: &mut dyn FnMut(usize, &[u8]), inputs: &Inputs, matrix: Matrix, table: Option<Table>| {
                put(1, &[inputs.len() as u8]);
                put(3, &[table.map_or(0, |t| t.shift)]);
                put(4, &matrix.to_le_bytes());
                put(8, &table.map_or(NO_TABLE, |t| t.table).to_le_bytes());
                for (i, view) in inputs.iter().enumerate() {
                    put(VIEWS + i * VIEW_BYTES, &view.to_bytes());
                }
            };
        match self {
            Self::Embed(op) => {
                put(4, &op.table.to_le_bytes());
                put(TO, &op.to.to_bytes());
            }
            Self::Linear(op) => {
                let activation = match op.activation {
                    Activation::None => 0,
                    Activation::Tanh { shift } => 1 + shift,
                    Activation::Relu => RELU,
                };
                put(0, &[1, 0, activation]);
                product(&mut put, &op.inputs, op.matrix, op.table);
                put(TO, &op.to.to_bytes());
            }
            Self::Gru(op) => {
                put(0, &[2, 0, op.candidate_bits]);
                product(&mut put, &op.inputs, op.matrix, op.table);
                put(TO, &op.out.map_or([0; VIEW_BYTES], View::to_bytes));
                put(SLOTS, &[op.hidden]);
            }
            Self::Lstm(op) => {
                put(0, &[3, 0, op.cell_bits]);
                product(&mut put, &op.inputs, op.matrix, op.table);
                put(TO, &op.out.map_or([0; VIEW_BYTES], View::to_bytes));
                put(SLOTS, &[op.hidden, op.cell]);
                #[cfg(feature = "peephole")]
                if let Some(shift) = op.peepholes {
                    put(0, &[8]);
                    put(SLOTS + 2, &[shift]);
                }
            }
            Self::Attend(op) => {
                match op.energy {
                    Energy::Additive { query_bits, key_scale, v } => {
                        put(0, &[4, 0, query_bits]);
                        put(4, &v.to_le_bytes());
                        put(KEY_SCALE, &key_scale.to_le_bytes());
                    }
                    #[cfg(feature = "dot")]
                    Energy::Dot => put(0, &[7]),
                }
                put(3, &[op.score_bits]);
                put(8, &op.score.mantissa.to_le_bytes());
                put(10, &[op.score.pre, op.score.post]);
                put(TO, &op.to.to_bytes());
                put(SLOTS, &[op.query, op.keys, op.values]);
            }
            #[cfg(feature = "add")]
            Self::Add(op) => {
                put(0, &[5, 1 + op.b.is_some() as u8, op.up[0] | op.up[1] << 4, op.down]);
                put(VIEWS, &op.a.to_bytes());
                put(VIEWS + VIEW_BYTES, &op.b.map_or([0; VIEW_BYTES], View::to_bytes));
                put(TO, &op.to.to_bytes());
            }
            #[cfg(feature = "norm")]
            Self::Norm(op) => {
                put(0, &[6, 1]);
                match op.form {
                    Form::Layer { gains, shift, epsilon } => {
                        put(3, &[shift]);
                        put(4, &gains.to_le_bytes());
                        put(8, &epsilon.to_le_bytes());
                    }
                    Form::Length => put(2, &[1]),
                }
                put(VIEWS, &op.from.to_bytes());
                put(TO, &op.to.to_bytes());
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_as_they_are_written() {
        let view = |slot| View { slot, start: 300 + slot as u16, width: 0x1234 };
        let inputs: Inputs = [view(1), view(2), view(255)].into_iter().collect();
        let table = Some(Table { table: 0xFEDC_BA98, shift: 15 });
        let all = [
            Op::Embed(Embed { table: 77_777, to: view(3) }),
            Op::Linear(Linear {
                inputs: inputs.clone(),
                matrix: 1 << 31,
                table,
                activation: Activation::Tanh { shift: 15 },
                to: view(9),
            }),
            Op::Linear(Linear {
                inputs: Inputs::new(),
                matrix: 5,
                table: None,
                activation: Activation::None,
                to: view(0),
            }),
            Op::Gru(Gru {
                inputs: inputs.clone(),
                matrix: 3,
                table,
                candidate_bits: 12,
                hidden: 200,
                out: Some(view(4)),
            }),
            Op::Lstm(Lstm {
                inputs,
                matrix: 3,
                table: None,
                cell_bits: 15,
                hidden: 200,
                cell: 201,
                #[cfg(feature = "peephole")]
                peepholes: None,
                out: None,
            }),
            Op::Attend(Attend {
                query: 1,
                keys: 2,
                energy: Energy::Additive { query_bits: 12, key_scale: 65_535, v: 9_000_000 },
                score: Multiplier { mantissa: 32_640, pre: 31, post: 23 },
                score_bits: 15,
                values: 3,
                to: view(8),
            }),
        ];
        for op in all {
            assert_eq!(Op::from_bytes(&op.to_bytes()), Some(op));
        }
        assert_eq!(Op::from_bytes(&[9; OP_BYTES]), None);
        assert_eq!(Op::from_bytes(&[255; OP_BYTES]), None);
        let mut five_inputs = [0; OP_BYTES];
        five_inputs[..2].copy_from_slice(&[1, 5]);
        assert_eq!(Op::from_bytes(&five_inputs), None);
    }

    #[test]
    #[cfg(all(feature = "add", feature = "norm", feature = "dot", feature = "peephole"))]
    fn operations_of_features_are_read_as_they_are_written() {
        let view = |slot| View { slot, start: 300 + slot as u16, width: 0x1234 };
        let score = Multiplier { mantissa: 32_640, pre: 31, post: 23 };
        let layer = Form::Layer { gains: 0x1234_5670, shift: 30, epsilon: 0x3FED_CBA9 };
        let all = [
            Op::Linear(Linear {
                inputs: [view(1), view(9)].into_iter().collect(),
                matrix: 16,
                table: None,
                activation: Activation::Relu,
                to: view(9),
            }),
            Op::Lstm(Lstm {
                inputs: [view(1), view(2), view(3), view(4)].into_iter().collect(),
                matrix: 3,
                table: Some(Table { table: 0xFEDC_BA98, shift: 15 }),
                cell_bits: 15,
                hidden: 200,
                cell: 201,
                peepholes: Some(30),
                out: Some(view(6)),
            }),
            Op::Attend(Attend {
                query: 1,
                keys: 2,
                energy: Energy::Dot,
                score,
                score_bits: 15,
                values: 3,
                to: view(8),
            }),
            Op::Add(Add { a: view(1), b: Some(view(2)), up: [13, 1], down: 30, to: view(3) }),
            Op::Add(Add { a: view(1), b: None, up: [0, 0], down: 8, to: view(1) }),
            Op::Norm(Norm { from: view(1), form: layer, to: view(2) }),
            Op::Norm(Norm { from: view(1), form: Form::Length, to: view(255) }),
        ];
        for op in all {
            assert_eq!(Op::from_bytes(&op.to_bytes()), Some(op));
        }
        for wrong in [[1, 5, 0], [5, 0, 0], [5, 3, 0], [6, 1, 2]] {
            let mut bytes = [0; OP_BYTES];
            bytes[..3].copy_from_slice(&wrong);
            assert_eq!(Op::from_bytes(&bytes), None, "{wrong:?}");
        }
    }
}
