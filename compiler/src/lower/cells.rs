//! Recurrent cells: PyTorch's parameters to the streams of `docs/format.md`.

use kinglet::blob::schema::{GRU_GROUP, Gru, Lstm, Op, View};
use kinglet_train::config::Cell;
use kinglet_train::model::Tensor;

use super::product::{Columns, Input, Row, views};
use super::token::Token;
use super::{Builder, State};
use crate::error::{Error, Result};
use crate::quantize::{GATE, Width};
use crate::tiles;

/// Parameters of one layer in one direction.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub w_ih: &'a Tensor,
    pub w_hh: &'a Tensor,
    pub b_ih: &'a Tensor,
    pub b_hh: &'a Tensor,
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
    pub out: Option<View>,
}

impl<'a> Builder<'a> {
    /// Parameters of a layer; `suffix` is such as `l0` or `l1_reverse`.
    pub fn weights(&self, prefix: &str, suffix: &str) -> Result<Weights<'a>> {
        let get = |part: &str| self.tensor(&format!("{prefix}.rnn.{part}_{suffix}"));
        Ok(Weights {
            w_ih: get("weight_ih")?,
            w_hh: get("weight_hh")?,
            b_ih: get("bias_ih")?,
            b_hh: get("bias_hh")?,
        })
    }

    /// One step of a cell.
    pub fn cell(&mut self, spec: CellSpec<'a, '_>) -> Result<Op> {
        let looked_up = spec.token.and_then(|token| token.input(spec.weights.w_ih));
        let inputs: Vec<Input<'a>> = looked_up.into_iter().chain(spec.inputs.iter().copied()).collect();
        match spec.cell {
            Cell::Gru => self.gru(&spec, &inputs),
            Cell::Lstm => self.lstm(&spec, &inputs),
            Cell::Rnn | Cell::Relu | Cell::Peephole => {
                Err(Error::Model(format!("there is no program yet for the cell of {}", spec.name)))
            }
        }
    }

    fn gru(&mut self, spec: &CellSpec<'a, '_>, inputs: &[Input<'a>]) -> Result<Op> {
        let Weights { w_ih, w_hh, b_ih, b_hh } = spec.weights;
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
        let h = [Columns::whole(w_hh)];
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
        let matrix = self.product(spec.name, spec.name, Width::I16, &streams)?;
        Ok(Op::Gru(Gru {
            inputs: views(inputs)?,
            matrix,
            table,
            candidate_bits,
            hidden: spec.state.hidden,
            out: spec.out,
        }))
    }

    fn lstm(&mut self, spec: &CellSpec<'a, '_>, inputs: &[Input<'a>]) -> Result<Op> {
        let Weights { w_ih, w_hh, b_ih, b_hh } = spec.weights;
        let units = w_hh.shape[0] / 4;
        let mut bias = sums(b_ih, b_hh);
        let table = spec.token.and_then(|token| token.table(self, spec.name, w_ih, &bias, GATE));
        if table.is_some() {
            bias.fill(0.0);
        }
        let x: Vec<Columns<'_>> = inputs.iter().map(|i| i.columns).collect();
        let h = [Columns::whole(w_hh)];
        let row = |index: usize| Row { parts: [&x, &h], index, bias: bias[index], unit: GATE };
        let streams: Vec<Vec<Row<'_, '_>>> =
            (0..units).map(|unit| (0..4).map(|gate| row(gate * units + unit)).collect()).collect();
        let matrix = self.product(spec.name, spec.name, Width::I16, &streams)?;
        Ok(Op::Lstm(Lstm {
            inputs: views(inputs)?,
            matrix,
            table,
            cell_bits: spec.state.cell_bits,
            hidden: spec.state.hidden,
            cell: spec.state.cell.expect("an LSTM's state has a cell slot"),
            peepholes: None,
            out: spec.out,
        }))
    }
}

fn reals(tensor: &Tensor) -> Vec<f64> {
    tensor.data.iter().map(|&v| f64::from(v)).collect()
}

fn sums(a: &Tensor, b: &Tensor) -> Vec<f64> {
    a.data.iter().zip(&b.data).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect()
}
