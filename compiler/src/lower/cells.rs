//! Recurrent cells: PyTorch's parameters to the streams of `docs/format.md`.

use kinglet::blob::schema::{Activation, GRU_GROUP, Gru, Linear, Lstm, Op};
use kinglet_train::config::Cell;
use kinglet_train::model::Tensor;

use super::product::{Columns, Input, Row, views};
use super::signal::{Signal, integer_bits, sum};
use super::token::Token;
use super::{Builder, State};
use crate::error::Result;
use crate::quantize::{GATE, Width, power_of_two};
use crate::tiles;

/// Parameters of one layer in one direction.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub w_ih: &'a Tensor,
    pub w_hh: &'a Tensor,
    pub b_ih: &'a Tensor,
    pub b_hh: &'a Tensor,
    /// Of the cell state to the gates i, f and o.
    pub peepholes: Option<[&'a Tensor; 3]>,
}

/// A cell's place in the network.
pub struct CellSpec<'a, 'b> {
    /// Name of its tensors in the report, such as `encoder.rnn.l0`.
    pub name: &'b str,
    pub cell: Cell,
    pub weights: Weights<'a>,
    /// The token that feeds it, if one does.
    pub token: Option<&'b Token<'a>>,
    /// Inputs beside the token, in the order of the float columns.
    pub inputs: Vec<Input<'a>>,
    pub state: State,
    /// Where its new state goes, too: int8.
    pub out: Option<Signal>,
}

impl<'a> Builder<'a> {
    /// Parameters of a layer; `suffix` is such as `l0` or `l1_reverse`.
    pub fn weights(&self, prefix: &str, suffix: &str, cell: Cell) -> Result<Weights<'a>> {
        let get = |part: &str| self.tensor(&format!("{prefix}.rnn.{part}_{suffix}"));
        let peepholes = match cell {
            Cell::Peephole => Some([get("weight_ci")?, get("weight_cf")?, get("weight_co")?]),
            Cell::Gru | Cell::Lstm | Cell::Rnn | Cell::Relu => None,
        };
        Ok(Weights {
            w_ih: get("weight_ih")?,
            w_hh: get("weight_hh")?,
            b_ih: get("bias_ih")?,
            b_hh: get("bias_hh")?,
            peepholes,
        })
    }

    /// One step of a cell, whose state also goes where the specification says.
    pub fn cell(&mut self, spec: CellSpec<'a, '_>) -> Result<Vec<Op>> {
        let looked_up = spec.token.and_then(|token| token.input(spec.weights.w_ih));
        let inputs: Vec<Input<'a>> = looked_up.into_iter().chain(spec.inputs.iter().copied()).collect();
        match spec.cell {
            Cell::Gru => Ok(vec![self.gru(&spec, &inputs)?]),
            Cell::Lstm | Cell::Peephole => Ok(vec![self.lstm(&spec, &inputs)?]),
            Cell::Rnn | Cell::Relu => self.elman(&spec, inputs),
        }
    }

    /// Elman's cell is a linear map of [x; h] to h itself.
    fn elman(&mut self, spec: &CellSpec<'a, '_>, mut inputs: Vec<Input<'a>>) -> Result<Vec<Op>> {
        let Weights { w_ih, w_hh, b_ih, b_hh, .. } = spec.weights;
        let hidden = spec.state.signal();
        let (activation, unit) = match spec.cell {
            Cell::Relu => (Activation::Relu, power_of_two(-hidden.bits)),
            _ => (Activation::Tanh { shift: 0 }, GATE),
        };
        let bias = sums(b_ih, b_hh);
        let table = spec.token.and_then(|token| token.table(self, spec.name, w_ih, &bias, unit));
        let own = |at: usize| if table.is_some() { 0.0 } else { bias[at] };
        inputs.push(Input { view: hidden.view, columns: Columns::state(w_hh, hidden.scale()) });
        let columns: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let row = |&index: &usize| Row { parts: [&columns, &[]], index, bias: own(index), unit };
        let rows: Vec<usize> = (0..bias.len()).collect();
        let streams: Vec<Vec<Row<'_, '_>>> =
            rows.chunks(tiles::ROWS).map(|stream| stream.iter().map(row).collect()).collect();
        let matrix = self.product(spec.name, spec.name, Width::I16, &streams, &[])?;
        let inputs = views(&inputs)?;
        let step = Op::Linear(Linear { inputs, matrix, table, activation, to: hidden.view });
        let copy = spec.out.map(|out| sum(hidden, None, out)).transpose()?;
        Ok([step].into_iter().chain(copy).collect())
    }

    fn gru(&mut self, spec: &CellSpec<'a, '_>, inputs: &[Input<'a>]) -> Result<Op> {
        let Weights { w_ih, w_hh, b_ih, b_hh, .. } = spec.weights;
        let units = w_hh.shape[0] / 3;
        // The reset gate multiplies the candidate's recurrent part, so that its bias stays apart.
        let mut bias = sums(b_ih, b_hh);
        bias[2 * units..].copy_from_slice(&reals(b_ih)[2 * units..]);
        let recurrent_bias = &reals(b_hh)[2 * units..];

        let table = spec.token.and_then(|token| token.table(self, spec.name, w_ih, &bias, GATE));
        if table.is_some() {
            bias.fill(0.0);
        }
        let (candidate_bits, candidate) = self.grid(&format!("{}.candidate", spec.name))?;

        let x: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let h = [Columns::state(w_hh, spec.state.signal().scale())];
        let mut streams: Vec<Vec<Row<'_, '_>>> = Vec::new();
        for start in (0..units).step_by(GRU_GROUP) {
            let group: Vec<usize> = (start..units.min(start + GRU_GROUP)).collect();
            let mut rows = |parts, gate: usize, bias: &[f64], unit| {
                let row = |&i: &usize| Row { parts, index: gate * units + i, bias: bias[i], unit };
                streams.extend(group.chunks(tiles::ROWS).map(|stream| stream.iter().map(row).collect()));
            };
            rows([&x, &h], 0, &bias, GATE);
            rows([&x, &h], 1, &bias[units..], GATE);
            if !x.is_empty() {
                rows([&x, &[]], 2, &bias[2 * units..], GATE);
            }
            rows([&[], &h], 2, recurrent_bias, candidate);
        }
        let matrix = self.product(spec.name, spec.name, Width::I16, &streams, &[])?;
        Ok(Op::Gru(Gru {
            inputs: views(inputs)?,
            matrix,
            table,
            candidate_bits,
            hidden: spec.state.hidden,
            out: spec.out.map(|out| out.view),
        }))
    }

    fn lstm(&mut self, spec: &CellSpec<'a, '_>, inputs: &[Input<'a>]) -> Result<Op> {
        let Weights { w_ih, w_hh, b_ih, b_hh, peepholes } = spec.weights;
        let units = w_hh.shape[0] / 4;
        let mut bias = sums(b_ih, b_hh);
        let table = spec.token.and_then(|token| token.table(self, spec.name, w_ih, &bias, GATE));
        if table.is_some() {
            bias.fill(0.0);
        }
        let x: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let h = [Columns::state(w_hh, spec.state.signal().scale())];
        let row = |index: usize| Row { parts: [&x, &h], index, bias: bias[index], unit: GATE };
        let streams: Vec<Vec<Row<'_, '_>>> =
            (0..units).map(|unit| (0..4).map(|gate| row(gate * units + unit)).collect()).collect();
        let peepholes = peepholes.map(|tensors| self.peepholes(tensors, spec.state.cell_bits));
        let (behind, shift) = peepholes.map_or((Vec::new(), None), |(values, shift)| (values, Some(shift)));
        let matrix = self.product(spec.name, spec.name, Width::I16, &streams, &behind)?;
        Ok(Op::Lstm(Lstm {
            inputs: views(inputs)?,
            matrix,
            table,
            cell_bits: spec.state.cell_bits,
            hidden: spec.state.hidden,
            cell: spec.state.cell.expect("an LSTM's state has a cell slot"),
            peepholes: shift,
            out: spec.out.map(|out| out.view),
        }))
    }

    /// Peepholes p_i, p_f, p_o in 16 bits, and the right shift of one times a cell state to Q3.12.
    fn peepholes(&mut self, tensors: [&Tensor; 3], cell_bits: u8) -> (Vec<i16>, u8) {
        let floats: Vec<f64> = tensors.iter().flat_map(|tensor| reals(tensor)).collect();
        let largest = floats.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        // The shift is 0 to 30.
        let least = (12 - i32::from(cell_bits)).max(0);
        let bits = integer_bits(largest, least + 15).max(least);
        let quantized = |value: &f64| (value * power_of_two(bits)).round().clamp(-32_767.0, 32_767.0);
        let values: Vec<i16> = floats.iter().map(|value| quantized(value) as i16).collect();
        for (tensor, values) in tensors.iter().zip(values.chunks_exact(tensors[0].data.len())) {
            let restored = values.iter().map(|&q| f64::from(q) * power_of_two(-bits));
            self.errors.add(&tensor.name, &reals(tensor), restored);
        }
        (values, (bits + i32::from(cell_bits) - 12) as u8)
    }
}

fn reals(tensor: &Tensor) -> Vec<f64> {
    tensor.data.iter().map(|&v| f64::from(v)).collect()
}

fn sums(a: &Tensor, b: &Tensor) -> Vec<f64> {
    a.data.iter().zip(&b.data).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect()
}
