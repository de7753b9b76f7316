//! A recurrent layer over packed sentences, whatever its cell.

use std::ops::Range;

use ndarray::s;

use crate::config::Cell;
use crate::nn::matrix::{add, add_column_sums, add_product, fill_rows, product, view, view_mut};
use crate::nn::packed::Packed;
use crate::nn::params::{Gradients, Init, Layout, ParamId, Params};
use crate::nn::{gru, lstm};
use crate::quant::{Builder, Token, TokenSource, Weights};

/// One direction of one recurrent layer, with PyTorch's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    cell: Cell,
    inputs: usize,
    hidden: usize,
    weight_ih: ParamId,
    weight_hh: ParamId,
    bias_ih: ParamId,
    bias_hh: ParamId,
}

/// State of a layer for a block of sentences, or the gradient of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Hidden state, [sentences, hidden].
    pub h: Vec<f32>,
    /// Cell state of an LSTM, [sentences, hidden]; empty otherwise.
    pub c: Vec<f32>,
}

impl State {
    /// Zeros for `sentences` rows.
    pub fn zeros(cell: Cell, sentences: usize, hidden: usize) -> Self {
        let c = if cell == Cell::Lstm { sentences * hidden } else { 0 };
        Self { h: vec![0.0; sentences * hidden], c: vec![0.0; c] }
    }

    /// The given rows, in the given order.
    pub fn gather(&self, rows: &[usize], hidden: usize) -> Self {
        let pick = |data: &[f32]| {
            if data.is_empty() {
                return Vec::new();
            }
            rows.iter().flat_map(|&r| &data[r * hidden..(r + 1) * hidden]).copied().collect()
        };
        Self { h: pick(&self.h), c: pick(&self.c) }
    }

    /// The reverse of [`State::gather`] with a permutation: row `i` of `self` becomes row `rows[i]`.
    pub fn scatter(&self, rows: &[usize], hidden: usize) -> Self {
        let mut inverse = vec![0; rows.len()];
        rows.iter().enumerate().for_each(|(i, &r)| inverse[r] = i);
        self.gather(&inverse, hidden)
    }
}

/// What a layer's forward pass leaves for its backward pass, in the rows of the packed layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// [rows, gates * hidden]: pre-activations, then activations, then (backward) their gradients.
    gates: Vec<f32>,
    /// GRU alone, [rows, 3 hidden]: `W_hh h + b_hh`, then its gradient.
    recurrent: Vec<f32>,
    /// [rows, hidden]: the hidden state before the step.
    prev: Vec<f32>,
    /// LSTM alone, [rows, hidden]: the cell state before the step.
    prev_cell: Vec<f32>,
    /// LSTM alone, [rows, hidden]: the cell state after the step.
    cell: Vec<f32>,
    /// On a grid with a token table, [rows, gates * hidden]: its entries.
    tokens: Vec<f32>,
}

impl Trace {
    /// The hidden state before each row's step, [rows, hidden].
    pub fn prev(&self) -> &[f32] {
        &self.prev
    }

    /// The LSTM's cell state after each row's step, [rows, hidden]; empty for a GRU.
    pub fn cell(&self) -> &[f32] {
        &self.cell
    }

    /// The GRU's `W_hh h + b_hh` of each row, [rows, 3 hidden]; empty for an LSTM.
    pub fn recurrent(&self) -> &[f32] {
        &self.recurrent
    }
}

/// Columns `column .. column + hidden` of a matrix of `width` columns, a row for each packed row: where a
/// direction puts its outputs, and finds their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Columns of the whole matrix.
    pub width: usize,
    /// First of the layer's.
    pub column: usize,
}

impl Layer {
    /// Declares `{name}.weight_ih_l{index}` [gates * hidden, inputs], `weight_hh` [gates * hidden, hidden],
    /// `bias_ih`, `bias_hh` [gates * hidden], with `_reverse` appended for the reverse direction.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        index: usize,
        reverse: bool,
        cell: Cell,
        inputs: usize,
        hidden: usize,
    ) -> Self {
        let init = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let suffix = if reverse { "_reverse" } else { "" };
        let rows = gates(cell) * hidden;
        let mut declare = |what: &str, shape: &[usize]| {
            layout.declare(format!("{name}.{what}_l{index}{suffix}"), shape, init)
        };
        Self {
            cell,
            inputs,
            hidden,
            weight_ih: declare("weight_ih", &[rows, inputs]),
            weight_hh: declare("weight_hh", &[rows, hidden]),
            bias_ih: declare("bias_ih", &[rows]),
            bias_hh: declare("bias_hh", &[rows]),
        }
    }

    /// Its cell.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// Units.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    fn rows(&self) -> usize {
        gates(self.cell) * self.hidden
    }

    /// Adds the layer's products to a grid; its columns of `token` read embeddings.
    pub fn quantize(&self, builder: &mut Builder<'_>, name: &str, token: Option<TokenSource>) {
        let ids = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh];
        builder.cell(name, self.cell, ids, (self.inputs, self.hidden), token);
    }

    /// Fraction bits of an LSTM's cell state on the grid; `None` for a GRU and without a grid.
    pub fn cell_bits(&self, weights: Weights<'_>) -> Option<u32> {
        let product = weights.grid()?.product(self.weight_ih);
        (self.cell == Cell::Lstm).then_some(product.bits)
    }

    /// A trace for `rows` packed rows whose gates hold the biases of the input side, ready for
    /// [`Layer::add_input_product`]; on a grid, zeros.
    pub fn begin<'a>(&self, weights: impl Into<Weights<'a>>, rows: usize) -> Trace {
        let weights = weights.into();
        let (recurrent, cells) = match self.cell {
            Cell::Gru => (rows * self.rows(), 0),
            Cell::Lstm => (0, rows * self.hidden),
        };
        let mut gates = vec![0.0; rows * self.rows()];
        let mut tokens = 0;
        match weights.grid() {
            Some(grid) => {
                let token = &grid.product(self.weight_ih).token;
                tokens = if token.as_ref().is_some_and(Token::is_table) { gates.len() } else { 0 };
            }
            None => {
                let mut bias = weights.at(self.bias_ih).to_vec();
                if self.cell == Cell::Lstm {
                    add(&mut bias, weights.at(self.bias_hh));
                }
                fill_rows(&mut gates, &bias);
            }
        }
        Trace {
            gates,
            recurrent: vec![0.0; recurrent],
            prev: vec![0.0; rows * self.hidden],
            prev_cell: vec![0.0; cells],
            cell: vec![0.0; cells],
            tokens: vec![0.0; tokens],
        }
    }

    /// Adds the product of input columns `columns` with `x` [rows, columns] to the trace's rows from `first`.
    pub fn add_input_product<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        first: usize,
        x: &[f32],
        columns: Range<usize>,
    ) {
        self.add_token_product(weights, trace, first, x, None, columns);
    }

    /// [`Layer::add_input_product`] of inputs that are the embeddings of `ids`, unchanged, if the columns read embeddings.
    pub fn add_token_product<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        first: usize,
        x: &[f32],
        ids: Option<&[u32]>,
        columns: Range<usize>,
    ) {
        let weights = weights.into();
        let (width, rows) = (columns.len(), x.len() / columns.len());
        let place = first * self.rows()..(first + rows) * self.rows();
        let entered;
        let (w, x) = match weights.grid() {
            None => (weights.at(self.weight_ih), x),
            Some(grid) => {
                let token = grid.product(self.weight_ih).token.as_ref().filter(|t| t.columns == columns);
                entered = match token {
                    Some(token) if token.is_table() => {
                        let entries = token.entries(weights.at(self.weight_ih), self.inputs, x, ids);
                        trace.tokens[place].copy_from_slice(&entries);
                        return;
                    }
                    Some(token) => token.enter(x),
                    None => grid.enter(x),
                };
                (grid.integers(self.weight_ih), &entered[..])
            }
        };
        let w = view(w, self.rows(), self.inputs).slice_move(s![.., columns]);
        let gates = &mut trace.gates[place];
        add_product(view_mut(gates, rows, self.rows()), view(x, rows, width), w.t());
    }

    /// Steps the first `n` rows of `state` through the trace's rows from `first`.
    pub fn step<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        first: usize,
        n: usize,
        state: &mut State,
    ) {
        let weights = weights.into();
        let (hidden, wide) = (self.hidden, self.rows());
        let h = &mut state.h[..n * hidden];
        let gates = &mut trace.gates[first * wide..(first + n) * wide];
        let narrow = first * hidden..(first + n) * hidden;
        trace.prev[narrow.clone()].copy_from_slice(h);
        if let Some(grid) = weights.grid() {
            let cell = grid.product(self.weight_ih);
            let entered = grid.enter(h);
            let entered = view(&entered, n, hidden);
            let w = view(grid.integers(self.weight_hh), wide, hidden);
            let tokens = trace.tokens.get(first * wide..(first + n) * wide).unwrap_or_default();
            match self.cell {
                Cell::Gru => {
                    let recurrent = &mut trace.recurrent[first * wide..(first + n) * wide];
                    product(view_mut(recurrent, n, wide), entered, w.t());
                    gru::step_on_grid(cell, hidden, gates, tokens, recurrent, h);
                }
                Cell::Lstm => {
                    let c = &mut state.c[..n * hidden];
                    trace.prev_cell[narrow.clone()].copy_from_slice(c);
                    add_product(view_mut(gates, n, wide), entered, w.t());
                    lstm::step_on_grid(cell, hidden, gates, tokens, c, h);
                    trace.cell[narrow].copy_from_slice(c);
                }
            }
            return;
        }
        let w = view(weights.at(self.weight_hh), wide, hidden);
        match self.cell {
            Cell::Gru => {
                let recurrent = &mut trace.recurrent[first * wide..(first + n) * wide];
                fill_rows(recurrent, weights.at(self.bias_hh));
                add_product(view_mut(recurrent, n, wide), view(h, n, hidden), w.t());
                gru::step(hidden, gates, recurrent, h);
            }
            Cell::Lstm => {
                let c = &mut state.c[..n * hidden];
                trace.prev_cell[narrow.clone()].copy_from_slice(c);
                add_product(view_mut(gates, n, wide), view(h, n, hidden), w.t());
                lstm::step(hidden, gates, c, h);
                trace.cell[narrow].copy_from_slice(c);
            }
        }
    }

    /// The reverse of [`Layer::step`]: `d` comes with the gradient of the state after the step in its first
    /// `n` rows, and leaves with that of the state before it; the trace's gates become their gradients.
    pub fn step_backward(&self, params: &Params, trace: &mut Trace, first: usize, n: usize, d: &mut State) {
        let (hidden, wide) = (self.hidden, self.rows());
        let dh = &mut d.h[..n * hidden];
        let gates = &mut trace.gates[first * wide..(first + n) * wide];
        let w = view(params.at(self.weight_hh), wide, hidden);
        let narrow = first * hidden..(first + n) * hidden;
        match self.cell {
            Cell::Gru => {
                let recurrent = &mut trace.recurrent[first * wide..(first + n) * wide];
                gru::step_backward(hidden, gates, recurrent, &trace.prev[narrow], dh);
                add_product(view_mut(dh, n, hidden), view(recurrent, n, wide), w);
            }
            Cell::Lstm => {
                let dc = &mut d.c[..n * hidden];
                lstm::step_backward(
                    hidden,
                    gates,
                    &trace.prev_cell[narrow.clone()],
                    &trace.cell[narrow],
                    dh,
                    dc,
                );
                product(view_mut(dh, n, hidden), view(gates, n, wide), w);
            }
        }
    }

    /// Adds to `dx` [rows, columns] the gradient of the input columns for the trace's rows from `first`,
    /// whose steps have been reversed.
    pub fn add_input_gradient(
        &self,
        params: &Params,
        trace: &Trace,
        first: usize,
        dx: &mut [f32],
        columns: Range<usize>,
    ) {
        let (width, rows) = (columns.len(), dx.len() / columns.len());
        let w = view(params.at(self.weight_ih), self.rows(), self.inputs).slice_move(s![.., columns]);
        let gates = &trace.gates[first * self.rows()..(first + rows) * self.rows()];
        add_product(view_mut(dx, rows, width), view(gates, rows, self.rows()), w);
    }

    /// Adds the gradient of the input weights of `columns`, whose inputs were `x` [rows, columns], once all
    /// steps have been reversed.
    pub fn input_weight_gradient(
        &self,
        grads: &mut Gradients,
        trace: &Trace,
        x: &[f32],
        columns: Range<usize>,
    ) {
        let (width, rows) = (columns.len(), x.len() / columns.len());
        let mut dw = view_mut(grads.at_mut(self.weight_ih), self.rows(), self.inputs);
        let gates = view(&trace.gates, rows, self.rows());
        add_product(dw.slice_mut(s![.., columns]), gates.t(), view(x, rows, width));
    }

    /// Adds the gradients of the recurrent weights and of the biases, once all steps have been reversed.
    pub fn recurrent_weight_gradients(&self, grads: &mut Gradients, trace: &Trace) {
        let rows = trace.prev.len() / self.hidden;
        let d = if self.cell == Cell::Gru { &trace.recurrent } else { &trace.gates };
        let dw = view_mut(grads.at_mut(self.weight_hh), self.rows(), self.hidden);
        add_product(dw, view(d, rows, self.rows()).t(), view(&trace.prev, rows, self.hidden));
        add_column_sums(grads.at_mut(self.bias_hh), d);
        add_column_sums(grads.at_mut(self.bias_ih), &trace.gates);
    }

    /// Runs over all packed sentences; `x` is [rows, inputs] (embeddings of `ids`, if given), `state` goes from before the
    /// first step of each sentence to after its last, and the hidden states are written into `to` of `out` [rows, width].
    pub fn forward(
        &self,
        weights: Weights<'_>,
        seq: &Packed,
        reverse: bool,
        (x, ids): (&[f32], Option<&[u32]>),
        state: &mut State,
        (out, to): (&mut [f32], Columns),
    ) -> Trace {
        let mut trace = self.begin(weights, seq.rows());
        self.add_token_product(weights, &mut trace, 0, x, ids, 0..self.inputs);
        for i in 0..seq.steps() {
            // Backwards, a sentence joins at its own last token; until then its row keeps its first state.
            let t = if reverse { seq.steps() - 1 - i } else { i };
            let (first, n) = (seq.offset(t), seq.batch(t));
            self.step(weights, &mut trace, first, n, state);
            let block = out[first * to.width..(first + n) * to.width].chunks_exact_mut(to.width);
            for (row, h) in block.zip(state.h.chunks_exact(self.hidden)) {
                row[to.column..to.column + self.hidden].copy_from_slice(h);
            }
        }
        trace
    }

    /// The reverse of [`Layer::forward`]: `d_out` are the gradients of its outputs, `d` comes with those of
    /// the final state and leaves with those of the first; adds to `grads`, and to `dx` [rows, inputs].
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        params: &Params,
        grads: &mut Gradients,
        seq: &Packed,
        reverse: bool,
        x: &[f32],
        mut trace: Trace,
        (d_out, from): (&[f32], Columns),
        d: &mut State,
        dx: &mut [f32],
    ) {
        for i in 0..seq.steps() {
            let t = if reverse { i } else { seq.steps() - 1 - i };
            let (first, n) = (seq.offset(t), seq.batch(t));
            let block = d_out[first * from.width..(first + n) * from.width].chunks_exact(from.width);
            for (row, dh) in block.zip(d.h.chunks_exact_mut(self.hidden)) {
                add(dh, &row[from.column..from.column + self.hidden]);
            }
            self.step_backward(params, &mut trace, first, n, d);
        }
        self.input_weight_gradient(grads, &trace, x, 0..self.inputs);
        self.recurrent_weight_gradients(grads, &trace);
        self.add_input_gradient(params, &trace, 0, dx, 0..self.inputs);
    }
}

fn gates(cell: Cell) -> usize {
    match cell {
        Cell::Gru => 3,
        Cell::Lstm => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{GradientCheck, values};

    const IN: usize = 3;
    const HID: usize = 4;

    fn layer(cell: Cell, reverse: bool) -> (Layer, Params) {
        let mut layout = Layout::default();
        let layer = Layer::declare(&mut layout, "rnn", 0, reverse, cell, IN, HID);
        (layer, layout.init(5))
    }

    fn run(l: &Layer, p: &Params, seq: &Packed, reverse: bool, x: &[Vec<f32>]) -> (Vec<f32>, State, Trace) {
        let mut state = State { h: x[1].clone(), c: x[2].clone() };
        let mut out = vec![0.0; seq.rows() * HID];
        let to = Columns { width: HID, column: 0 };
        let trace = l.forward(p.into(), seq, reverse, (&x[0], None), &mut state, (&mut out, to));
        (out, state, trace)
    }

    #[test]
    fn gradients() {
        let seq = Packed::new(vec![4, 3, 1]);
        for cell in [Cell::Gru, Cell::Lstm] {
            for reverse in [false, true] {
                let (layer, params) = layer(cell, reverse);
                let c = if cell == Cell::Lstm { values(3 * HID, 3) } else { vec![] };
                let rc = if cell == Cell::Lstm { values(3 * HID, 4) } else { vec![] };
                let (r, rh) = (values(seq.rows() * HID, 5), values(3 * HID, 6));
                let inputs = vec![values(seq.rows() * IN, 1), values(3 * HID, 2), c];
                GradientCheck::new(params, inputs).run(
                    |p, x| {
                        let (out, state, _) = run(&layer, p, &seq, reverse, x);
                        GradientCheck::weigh(&out, &r)
                            + GradientCheck::weigh(&state.h, &rh)
                            + GradientCheck::weigh(&state.c, &rc)
                    },
                    |p, g, x| {
                        let (_, _, trace) = run(&layer, p, &seq, reverse, x);
                        let mut d = State { h: rh.clone(), c: rc.clone() };
                        let mut dx = vec![0.0; x[0].len()];
                        let from = Columns { width: HID, column: 0 };
                        layer.backward(p, g, &seq, reverse, &x[0], trace, (&r, from), &mut d, &mut dx);
                        vec![dx, d.h, d.c]
                    },
                );
            }
        }
    }

    #[test]
    fn neighbours_in_a_batch_do_not_change_a_sentence() {
        for cell in [Cell::Gru, Cell::Lstm] {
            for reverse in [false, true] {
                let (layer, params) = layer(cell, reverse);
                let seq = Packed::new(vec![4, 2]);
                let x = values(seq.rows() * IN, 1);
                let zero = State::zeros(cell, 2, HID);
                let (_, both, _) = run(&layer, &params, &seq, reverse, &[x.clone(), zero.h, zero.c]);
                let mut short = x[IN..2 * IN].to_vec();
                short.extend_from_slice(&x[3 * IN..4 * IN]);
                let zero = State::zeros(cell, 1, HID);
                let (_, alone, _) =
                    run(&layer, &params, &Packed::new(vec![2]), reverse, &[short, zero.h, zero.c]);
                for (a, b) in both.h[HID..].iter().zip(&alone.h) {
                    assert!((a - b).abs() < 1e-6, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn scatter_reverses_gather() {
        let state = State { h: values(6, 1), c: values(6, 2) };
        let order = [2, 0, 1];
        assert_eq!(state.gather(&order, 2).scatter(&order, 2), state);
    }
}
