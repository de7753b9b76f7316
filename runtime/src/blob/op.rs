//! Operations as a program's bytes: [`OP_BYTES`] each, read in place at every step.
//!
//! ```text
//!  0     kind: 0 Embed, 1 Linear, 2 Gru, 3 Lstm, 4 Attend
//!  1     number of inputs, 0 to 4
//!  2     Linear: 0 without activation, 1 + shift with tanh; Gru: candidate bits; Lstm: cell bits; Attend: query bits
//!  3     shift of the table; Attend: score bits
//!  4     u32: matrix; Embed: table; Attend: v
//!  8     u32: table, 2^32 - 1 for none; Attend: mantissa, first and second shift of the score
//! 12     four views of 5 bytes: slot, start, width (0 in those that are not there)
//! 32     view: to, or out (width 0 for none)
//! 37     slots: hidden and cell; Attend: query, keys, values
//! 40     u16: Attend: scale of the keys
//! ```

use super::schema::*;

/// Bytes of an operation.
pub const OP_BYTES: usize = 42;

const NO_TABLE: u32 = u32::MAX;
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
}

impl Op {
    /// The operation that these bytes mean, if any.
    #[inline(never)]
    pub fn from_bytes(bytes: &[u8; OP_BYTES]) -> Option<Self> {
        let record = Record(bytes);
        let (small, matrix) = (bytes[2], record.word(4));
        let [hidden, cell, values] = [bytes[SLOTS], bytes[SLOTS + 1], bytes[SLOTS + 2]];
        let mut op = match bytes[0] {
            0 => Self::Embed(Embed { table: matrix, to: record.view(TO) }),
            1 => Self::Linear(Linear {
                inputs: Inputs::new(),
                matrix,
                table: record.table(),
                activation: match small.checked_sub(1) {
                    None => Activation::None,
                    Some(shift) => Activation::Tanh { shift },
                },
                to: record.view(TO),
            }),
            2 => Self::Gru(Gru {
                inputs: Inputs::new(),
                matrix,
                table: record.table(),
                candidate_bits: small,
                hidden,
                out: record.out(),
            }),
            3 => Self::Lstm(Lstm {
                inputs: Inputs::new(),
                matrix,
                table: record.table(),
                cell_bits: small,
                hidden,
                cell,
                out: record.out(),
            }),
            4 => Self::Attend(Attend {
                query: hidden,
                query_bits: small,
                keys: cell,
                key_scale: u16::from_le_bytes([bytes[KEY_SCALE], bytes[KEY_SCALE + 1]]),
                v: matrix,
                score: Multiplier {
                    mantissa: u16::from_le_bytes([bytes[8], bytes[9]]),
                    pre: bytes[10],
                    post: bytes[11],
                },
                score_bits: bytes[3],
                values,
                to: record.view(TO),
            }),
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
            }
            Self::Attend(op) => {
                put(0, &[4, 0, op.query_bits, op.score_bits]);
                put(4, &op.v.to_le_bytes());
                put(8, &op.score.mantissa.to_le_bytes());
                put(10, &[op.score.pre, op.score.post]);
                put(TO, &op.to.to_bytes());
                put(SLOTS, &[op.query, op.keys, op.values]);
                put(KEY_SCALE, &op.key_scale.to_le_bytes());
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
                out: None,
            }),
            Op::Attend(Attend {
                query: 1,
                query_bits: 12,
                keys: 2,
                key_scale: 65_535,
                v: 9_000_000,
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
        let mut five_inputs = [0; OP_BYTES];
        five_inputs[..2].copy_from_slice(&[1, 5]);
        assert_eq!(Op::from_bytes(&five_inputs), None);
    }
}
