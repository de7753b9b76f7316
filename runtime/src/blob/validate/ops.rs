//! Checks of operations.

use super::*;

/// Most elements of an additive energy, so that the score's sum stays below 2^31.
const MAX_ENERGY: usize = 512;
/// Most elements of a row to be normalized, so that sums of squares and deviations stay in their types.
#[cfg(feature = "norm")]
const MAX_NORM: usize = 2048;

impl Context<'_> {
    /// Width of a 16-bit slot without a row a source position.
    #[inline(never)]
    fn state(&self, slot: u8) -> Check<usize> {
        let slot = self.find(slot)?;
        ensure(slot.kind == Kind::I16 && slot.extent != Extent::Source, Fault::Kind)?;
        Ok(slot.width as usize)
    }

    /// Checks of a cell.
    fn cell(
        &mut self,
        inputs: &Inputs,
        table: &Option<Table>,
        matrix: Matrix,
        hidden: u8,
        gru: bool,
    ) -> Check {
        let units = self.state(hidden)?;
        ensure(!(inputs.is_empty() && table.is_none()), Fault::Width)?;
        let x = self.inputs(inputs)?;
        let h = self.layout.padded(units);
        self.gathers(x + h)?;
        if gru {
            // r and z over [x; h], W_n over x, U_n over h.
            let groups = units.div_ceil(self.layout.rows());
            self.matrix(matrix, 2 * groups, [x, h], [if x == 0 { 0 } else { groups }, groups])?;
        } else {
            // A stream a unit or, of wider streams, four for as many units as they have rows.
            let rows = self.layout.rows();
            let streams = if rows == ROWS { units } else { 4 * units.div_ceil(rows) };
            self.matrix(matrix, streams, [x, h], [0, 0])?;
        }
        self.table(table, units * if gru { 3 } else { 4 })
    }

    #[inline(never)]
    fn out(&self, out: &Option<View>, units: usize) -> Check {
        let Some(out) = *out else { return Ok(()) };
        self.written_i8(out)?;
        ensure(out.width as usize == units, Fault::Width)
    }

    #[inline(never)]
    pub(super) fn operation(&mut self, op: &Op) -> Check {
        match op {
            Op::Embed(op) => {
                self.token()?;
                self.written_i8(op.to)?;
                self.tensor(op.table, self.vocabulary * op.to.width as usize).map(|_| ())
            }
            Op::Linear(op) => {
                if let Activation::Tanh { shift } = op.activation {
                    ensure(shift <= 15, Fault::Range)?;
                }
                let kind = self.written(op.to)?;
                ensure(kind == Kind::I16 || op.activation == Activation::None, Fault::Kind)?;
                let columns = self.inputs(&op.inputs)?;
                self.gathers(columns)?;
                self.matrix(
                    op.matrix,
                    (op.to.width as usize).div_ceil(self.layout.rows()),
                    [columns, 0],
                    [0, 0],
                )?;
                self.table(&op.table, op.to.width as usize)
            }
            Op::Gru(op) => {
                ensure(op.candidate_bits <= 12, Fault::Range)?;
                self.cell(&op.inputs, &op.table, op.matrix, op.hidden, true)?;
                self.out(&op.out, self.find(op.hidden)?.width as usize)
            }
            Op::Lstm(op) => {
                ensure(op.cell_bits <= 15, Fault::Range)?;
                self.cell(&op.inputs, &op.table, op.matrix, op.hidden, false)?;
                #[cfg(feature = "peephole")]
                if let Some(shift) = op.peepholes {
                    ensure(shift <= 30, Fault::Range)?;
                    // Behind the record, which is there.
                    self.tensor(op.matrix + 16, 6 * self.find(op.hidden)?.width as usize)?;
                }
                let (hidden, cell) = (self.find(op.hidden)?, self.find(op.cell)?);
                let same = (hidden.kind, hidden.extent, hidden.width) == (cell.kind, cell.extent, cell.width);
                ensure(same && op.hidden != op.cell, Fault::Kind)?;
                self.out(&op.out, hidden.width as usize)
            }
            Op::Attend(op) => self.attend(op),
            #[cfg(feature = "add")]
            Op::Add(op) => {
                ensure(op.up.iter().all(|&up| up <= 13) && op.down <= 30, Fault::Range)?;
                for view in [Some(op.a), op.b].into_iter().flatten() {
                    self.view(view)?;
                    ensure(view.width == op.to.width, Fault::Width)?;
                }
                self.written(op.to).map(|_| ())
            }
            #[cfg(feature = "norm")]
            Op::Norm(op) => {
                self.view(op.from)?;
                self.written(op.to)?;
                let width = op.to.width;
                ensure(op.from.width == width && width as usize <= MAX_NORM, Fault::Width)?;
                if let Form::Layer { gains, shift, epsilon } = op.form {
                    ensure(shift <= 30 && epsilon < 1 << 30, Fault::Range)?;
                    self.tensor(gains, 4 * width as usize)?;
                }
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn attend(&mut self, op: &Attend) -> Check {
        ensure(op.score_bits <= 15, Fault::Range)?;
        multiplier(&op.score)?;
        let sources = !cfg!(feature = "generate") || self.description.task != Task::Generate;
        ensure(self.step && sources, Fault::Program)?;
        let width = self.state(op.query)?;
        ensure(self.slot(op.keys, Kind::I8, Extent::Source)? == width, Fault::Width)?;
        let values = self.slot(op.values, Kind::I8, Extent::Source)?;
        self.written_i8(op.to)?;
        ensure(op.to.width as usize == values, Fault::Width)?;
        match op.energy {
            Energy::Additive { query_bits, key_scale, v } => {
                ensure(query_bits <= 12 && key_scale > 0, Fault::Range)?;
                ensure(width <= MAX_ENERGY, Fault::Width)?;
                self.tensor(v, width).map(|_| ())
            }
            #[cfg(feature = "dot")]
            Energy::Dot => self.gathers(width.next_multiple_of(4)),
        }
    }
}

#[inline(never)]
fn multiplier(m: &Multiplier) -> Check {
    ensure(m.mantissa <= MAX_MANTISSA && m.pre <= 31 && (1..=23).contains(&m.post), Fault::Range)
}
