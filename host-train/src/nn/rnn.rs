//! A recurrent layer over packed sentences, whatever its cell.

use std::ops::Range;

use ndarray::s;

use crate::config::Cell;
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::gemm::Start;
use crate::nn::matrix::{add, add_column_sums, add_product, fill_rows, view, view_mut};
use crate::nn::operand::{Operand, Side};
use crate::nn::packed::Packed;
use crate::nn::params::{Gradients, Init, Layout, ParamId};
use crate::nn::simd::vectorized;
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
    /// The input's parts, each multiplied when it is known.
    parts: Vec<Part>,
    recurrent: Part,
}

/// Some columns of a weight matrix, both ways.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    columns: Range<usize>,
    forward: Operand,
    backward: Operand,
}

impl Part {
    fn declare(layout: &mut Layout, id: ParamId, columns: Range<usize>) -> Self {
        let forward = layout.operand(id, columns.clone(), Side::Forward);
        let backward = layout.operand(id, columns.clone(), Side::Backward);
        Self { columns, forward, backward }
    }
}

/// State of a layer for a block of sentences, or the gradient of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Hidden state, [sentences, hidden].
    pub h: Buffer,
    /// Cell state of an LSTM, [sentences, hidden]; empty otherwise.
    pub c: Buffer,
}

impl State {
    /// Zeros for `sentences` rows.
    pub fn zeros(cell: Cell, sentences: usize, hidden: usize) -> Self {
        let c = if cell == Cell::Lstm { sentences * hidden } else { 0 };
        Self { h: Buffer::zeros(sentences * hidden), c: Buffer::zeros(c) }
    }

    /// The given rows, in the given order.
    pub fn gather(&self, rows: &[usize], hidden: usize) -> Self {
        let pick = |data: &[f32]| {
            let mut picked = Buffer::unspecified(if data.is_empty() { 0 } else { rows.len() * hidden });
            let places = picked.chunks_exact_mut(hidden).zip(rows);
            places.for_each(|(to, &row)| to.copy_from_slice(&data[row * hidden..][..hidden]));
            picked
        };
        Self { h: pick(&self.h), c: pick(&self.c) }
    }

    /// The reverse of [`State::gather`] with a permutation: row `i` of `self` becomes row `rows[i]`.
    pub fn scatter(&self, rows: &[usize], hidden: usize) -> Self {
        let mut inverse = Buffer::<usize>::unspecified(rows.len());
        rows.iter().enumerate().for_each(|(i, &r)| inverse[r] = i);
        self.gather(&inverse, hidden)
    }
}

/// What a layer's forward pass leaves for its backward pass, in the rows of the packed layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// `[gates * hidden]`: what the sums of the input side start from; of an LSTM, of both sides.
    bias: Buffer,
    /// [rows, gates * hidden]: pre-activations, then activations, then (backward) their gradients.
    gates: Buffer,
    /// GRU alone, [rows, 3 hidden]: `W_hh h + b_hh`, then its gradient.
    recurrent: Buffer,
    /// [rows, hidden]: the hidden state before the step.
    prev: Buffer,
    /// LSTM alone, [rows, hidden]: the cell state before the step.
    prev_cell: Buffer,
    /// LSTM alone, [rows, hidden]: the cell state after the step.
    cell: Buffer,
    /// On a grid with a token table, [rows, gates * hidden]: its entries.
    tokens: Buffer,
}

/// Rows of a trace that a step goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// First of them.
    pub first: usize,
    /// How many.
    pub rows: usize,
    /// How many of them come with a state; that of the others is zero, known without a product.
    pub live: usize,
}

impl Block {
    /// Rows that all have states.
    pub fn new(first: usize, rows: usize) -> Self {
        Self { first, rows, live: rows }
    }

    /// Where their vectors of `width` values are.
    fn of(&self, width: usize) -> Range<usize> {
        self.first * width..(self.first + self.rows) * width
    }
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
    /// `bias_ih`, `bias_hh` [gates * hidden], with `_reverse` appended for the reverse direction. `parts` are the widths of
    /// what the input consists of.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        index: usize,
        reverse: bool,
        cell: Cell,
        parts: &[usize],
        hidden: usize,
    ) -> Self {
        let init = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let suffix = if reverse { "_reverse" } else { "" };
        let (rows, inputs) = (gates(cell) * hidden, parts.iter().sum());
        let mut declare = |what: &str, shape: &[usize]| {
            layout.declare(format!("{name}.{what}_l{index}{suffix}"), shape, init)
        };
        let (weight_ih, weight_hh) =
            (declare("weight_ih", &[rows, inputs]), declare("weight_hh", &[rows, hidden]));
        let (bias_ih, bias_hh) = (declare("bias_ih", &[rows]), declare("bias_hh", &[rows]));
        let mut end = 0;
        let part = |&width: &usize| {
            end += width;
            Part::declare(layout, weight_ih, end - width..end)
        };
        let parts = parts.iter().map(part).collect();
        let recurrent = Part::declare(layout, weight_hh, 0..hidden);
        Self { cell, inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh, parts, recurrent }
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

    fn part(&self, columns: &Range<usize>) -> &Part {
        self.parts.iter().find(|part| part.columns == *columns).expect("a declared part of the input")
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

    /// A trace for `rows` packed rows, whose gates are unspecified until the first part of their inputs is multiplied.
    pub fn begin<'a>(&self, weights: impl Into<Weights<'a>>, rows: usize) -> Trace {
        let weights = weights.into();
        let (recurrent, cells) = match self.cell {
            Cell::Gru => (rows * self.rows(), 0),
            Cell::Lstm => (0, rows * self.hidden),
        };
        let (mut bias, mut tokens) = (Buffer::default(), 0);
        match weights.grid() {
            Some(grid) => {
                let token = &grid.product(self.weight_ih).token;
                tokens = if token.as_ref().is_some_and(Token::is_table) { rows * self.rows() } else { 0 };
            }
            None => {
                bias = Buffer::copy(weights.at(self.bias_ih));
                if self.cell == Cell::Lstm {
                    add(&mut bias, weights.at(self.bias_hh));
                }
            }
        }
        Trace {
            bias,
            gates: Buffer::unspecified(rows * self.rows()),
            recurrent: Buffer::unspecified(recurrent),
            prev: Buffer::unspecified(rows * self.hidden),
            prev_cell: Buffer::unspecified(cells),
            cell: Buffer::unspecified(cells),
            tokens: Buffer::unspecified(tokens),
        }
    }

    /// The product of input columns `columns`, a part of the declared ones, with `x` [rows, columns], into the trace's
    /// rows from `first`. The part from column 0 on begins their sums, the others are added.
    pub fn input_product<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        first: usize,
        x: &[f32],
        columns: Range<usize>,
    ) {
        self.embedding_product(weights, trace, first, x, None, columns);
    }

    /// [`Layer::input_product`] of inputs that are the embeddings of `ids`, unchanged, if the columns read embeddings.
    pub fn embedding_product<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        first: usize,
        x: &[f32],
        ids: Option<&[u32]>,
        columns: Range<usize>,
    ) {
        let weights = weights.into();
        let (width, wide, rows) = (columns.len(), self.rows(), x.len() / columns.len());
        let place = first * wide..(first + rows) * wide;
        let gates = &mut trace.gates[place.clone()];
        let (entered, start);
        let x = match weights.grid() {
            None => {
                start = if columns.start == 0 { Start::Row(&trace.bias) } else { Start::Sum };
                x
            }
            Some(grid) => {
                start = if columns.start == 0 { Start::Zero } else { Start::Sum };
                let token = grid.product(self.weight_ih).token.as_ref().filter(|t| t.columns == columns);
                entered = match token {
                    Some(token) if token.is_table() => {
                        let entries = token.entries(weights.at(self.weight_ih), self.inputs, x, ids);
                        trace.tokens[place].copy_from_slice(&entries);
                        if columns.start == 0 {
                            gates.fill(0.0);
                        }
                        return;
                    }
                    Some(token) => token.enter(x),
                    None => grid.enter(x),
                };
                &entered[..]
            }
        };
        let part = self.part(&columns);
        part.forward.product(weights, view_mut(gates, rows, wide), view(x, rows, width), start);
    }

    /// The product of the input's first part with the embeddings `x` of `tokens`, one for each row of the trace.
    pub fn token_product<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        x: &[f32],
        tokens: &Tokens,
    ) {
        if tokens.ids.is_empty() {
            return;
        }
        let (weights, width, wide) = (weights.into(), x.len() / tokens.ids.len(), self.rows());
        let Some(slots) = &tokens.slots else {
            return self.embedding_product(weights, trace, 0, x, Some(&tokens.ids), 0..width);
        };
        let mut table = Buffer::unspecified(tokens.ids.len() * wide);
        let (c, x) = (view_mut(&mut table, tokens.ids.len(), wide), view(x, tokens.ids.len(), width));
        self.part(&(0..width)).forward.product(weights, c, x, Start::Row(&trace.bias));
        for (row, &slot) in trace.gates.chunks_exact_mut(wide).zip(slots.iter()) {
            row.copy_from_slice(&table[slot as usize * wide..][..wide]);
        }
    }

    /// Steps the first rows of `state` through those of `block`.
    pub fn step<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        block: Block,
        state: &mut State,
    ) {
        let weights = weights.into();
        let (hidden, wide, n, live) = (self.hidden, self.rows(), block.rows, block.live);
        let h = &mut state.h[..n * hidden];
        let gates = &mut trace.gates[block.of(wide)];
        let narrow = block.of(hidden);
        trace.prev[narrow.clone()].copy_from_slice(h);
        if let Some(grid) = weights.grid() {
            let cell = grid.product(self.weight_ih);
            let entered = grid.enter(h);
            let entered = view(&entered, n, hidden);
            let tokens = trace.tokens.get(block.of(wide)).unwrap_or_default();
            let product = &self.recurrent.forward;
            match self.cell {
                Cell::Gru => {
                    let recurrent = &mut trace.recurrent[block.of(wide)];
                    product.product(weights, view_mut(recurrent, n, wide), entered, Start::Zero);
                    gru::step_on_grid(cell, hidden, gates, tokens, recurrent, h);
                }
                Cell::Lstm => {
                    let c = &mut state.c[..n * hidden];
                    trace.prev_cell[narrow.clone()].copy_from_slice(c);
                    product.product(weights, view_mut(gates, n, wide), entered, Start::Sum);
                    lstm::step_on_grid(cell, hidden, gates, tokens, c, h);
                    trace.cell[narrow].copy_from_slice(c);
                }
            }
            return;
        }
        let known = view(&h[..live * hidden], live, hidden);
        let product = &self.recurrent.forward;
        match self.cell {
            Cell::Gru => {
                let recurrent = &mut trace.recurrent[block.of(wide)];
                let bias = weights.at(self.bias_hh);
                let (sums, rest) = recurrent.split_at_mut(live * wide);
                product.product(weights, view_mut(sums, live, wide), known, Start::Row(bias));
                fill_rows(rest, bias);
                gru::step(hidden, gates, recurrent, h);
            }
            Cell::Lstm => {
                let c = &mut state.c[..n * hidden];
                trace.prev_cell[narrow.clone()].copy_from_slice(c);
                let sums = &mut gates[..live * wide];
                product.product(weights, view_mut(sums, live, wide), known, Start::Sum);
                lstm::step(hidden, gates, c, h);
                trace.cell[narrow].copy_from_slice(c);
            }
        }
    }

    /// The reverse of [`Layer::step`]: `d` comes with the gradient of the state after the step in its first
    /// rows, and leaves with that of the state before it, for those that came with one; the trace's gates become their
    /// gradients.
    pub fn step_backward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        block: Block,
        d: &mut State,
    ) {
        let (hidden, wide, live) = (self.hidden, self.rows(), block.live);
        let dh = &mut d.h[..block.rows * hidden];
        let gates = &mut trace.gates[block.of(wide)];
        let narrow = block.of(hidden);
        let (sums, start) = match self.cell {
            Cell::Gru => {
                let recurrent = &mut trace.recurrent[block.of(wide)];
                gru::step_backward(hidden, gates, recurrent, &trace.prev[narrow], dh);
                (recurrent, Start::Sum)
            }
            Cell::Lstm => {
                let dc = &mut d.c[..block.rows * hidden];
                let cells = (&trace.prev_cell[narrow.clone()], &trace.cell[narrow]);
                lstm::step_backward(hidden, gates, cells.0, cells.1, dh, dc);
                (gates, Start::Zero)
            }
        };
        let dh = view_mut(&mut dh[..live * hidden], live, hidden);
        let sums = view(&sums[..live * wide], live, wide);
        self.recurrent.backward.product(weights.into(), dh, sums, start);
    }

    /// The gradient of the input columns for the trace's rows from `first`, whose steps have been reversed, added to
    /// `dx` [rows, columns].
    pub fn add_input_gradient<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &Trace,
        first: usize,
        dx: &mut [f32],
        columns: Range<usize>,
    ) {
        let (width, wide, rows) = (columns.len(), self.rows(), dx.len() / columns.len());
        let gates = view(&trace.gates[first * wide..(first + rows) * wide], rows, wide);
        let part = self.part(&columns);
        part.backward.product(weights.into(), view_mut(dx, rows, width), gates, Start::Sum);
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
        self.weight_gradient(grads, &trace.gates, x, columns);
    }

    fn weight_gradient(&self, grads: &mut Gradients, d: &[f32], x: &[f32], columns: Range<usize>) {
        let (width, rows) = (columns.len(), x.len() / columns.len());
        let mut dw = view_mut(grads.at_mut(self.weight_ih), self.rows(), self.inputs);
        let d = view(d, rows, self.rows());
        add_product(dw.slice_mut(s![.., columns]), d.t(), view(x, rows, width));
    }

    /// The reverse of [`Layer::token_product`], once all steps have been reversed: adds the gradient of the input weights,
    /// and that of the tokens' embeddings to `dx`.
    pub fn token_gradients<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        grads: &mut Gradients,
        trace: &Trace,
        x: &[f32],
        tokens: &Tokens,
        dx: &mut [f32],
    ) {
        let (rows, wide) = (tokens.ids.len(), self.rows());
        if rows == 0 {
            return;
        }
        let sums;
        let d = match &tokens.slots {
            None => &trace.gates,
            Some(slots) => {
                sums = sums_of_slots(rows, slots, &trace.gates);
                &sums
            }
        };
        let width = x.len() / rows;
        self.weight_gradient(grads, d, x, 0..width);
        let part = self.part(&(0..width));
        part.backward.product(weights.into(), view_mut(dx, rows, width), view(d, rows, wide), Start::Sum);
    }

    /// Adds the gradients of the recurrent weights and of the biases, once all steps have been reversed. The states before
    /// the first `zeros` rows were zero.
    pub fn recurrent_weight_gradients(&self, grads: &mut Gradients, trace: &Trace, zeros: usize) {
        let (hidden, wide) = (self.hidden, self.rows());
        let rows = trace.prev.len() / hidden - zeros;
        let d = if self.cell == Cell::Gru { &trace.recurrent } else { &trace.gates };
        let dw = view_mut(grads.at_mut(self.weight_hh), wide, hidden);
        let prev = view(&trace.prev[zeros * hidden..], rows, hidden);
        add_product(dw, view(&d[zeros * wide..], rows, wide).t(), prev);
        let mut sums = Buffer::zeros(wide);
        add_column_sums(&mut sums, &trace.gates);
        add(grads.at_mut(self.bias_ih), &sums);
        if self.cell == Cell::Gru {
            sums.fill(0.0);
            add_column_sums(&mut sums, &trace.recurrent);
        }
        add(grads.at_mut(self.bias_hh), &sums);
    }

    /// The rows of step `t`; if all first states are zero, only those that have made a step have one that is not.
    fn block(seq: &Packed, reverse: bool, fresh: bool, t: usize) -> Block {
        let (first, rows) = (seq.offset(t), seq.batch(t));
        let live = match (fresh, reverse) {
            (false, _) => rows,
            (true, false) if t == 0 => 0,
            (true, false) => rows,
            // Backwards, a sentence joins at its own last token.
            (true, true) if t + 1 == seq.steps() => 0,
            (true, true) => seq.batch(t + 1),
        };
        Block { first, rows, live }
    }

    /// Runs over all packed sentences. `input` is what the rows read; `state` goes from before the first step of each
    /// sentence to after its last, and is zero when it is `fresh`; the hidden states are written into `to` of `out`
    /// [rows, width].
    pub fn forward(
        &self,
        weights: Weights<'_>,
        seq: &Packed,
        (reverse, fresh): (bool, bool),
        input: Input<'_>,
        state: &mut State,
        (out, to): (&mut [f32], Columns),
    ) -> Trace {
        let mut trace = self.begin(weights, seq.rows());
        match input {
            Input::Rows(x) => self.input_product(weights, &mut trace, 0, x, 0..self.inputs),
            Input::Tokens(x, tokens) => self.token_product(weights, &mut trace, x, tokens),
        }
        for i in 0..seq.steps() {
            // Backwards, until a sentence joins its row keeps its first state.
            let t = if reverse { seq.steps() - 1 - i } else { i };
            let block = Self::block(seq, reverse, fresh, t);
            self.step(weights, &mut trace, block, state);
            let rows = out[block.of(to.width)].chunks_exact_mut(to.width);
            for (row, h) in rows.zip(state.h.chunks_exact(self.hidden)) {
                row[to.column..to.column + self.hidden].copy_from_slice(h);
            }
        }
        trace
    }

    /// The reverse of [`Layer::forward`]: `d_out` are the gradients of its outputs, `d` comes with those of
    /// the final state and leaves with those of the first, unless that was `fresh`; adds to `grads`, and to `dx`, which is
    /// as long as what was read.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        seq: &Packed,
        (reverse, fresh): (bool, bool),
        input: Input<'_>,
        mut trace: Trace,
        (d_out, from): (&[f32], Columns),
        d: &mut State,
        dx: &mut [f32],
    ) {
        for i in 0..seq.steps() {
            let t = if reverse { i } else { seq.steps() - 1 - i };
            let block = Self::block(seq, reverse, fresh, t);
            let rows = d_out[block.of(from.width)].chunks_exact(from.width);
            for (row, dh) in rows.zip(d.h.chunks_exact_mut(self.hidden)) {
                add(dh, &row[from.column..from.column + self.hidden]);
            }
            self.step_backward(weights, &mut trace, block, d);
        }
        match input {
            Input::Rows(x) => {
                self.input_weight_gradient(grads, &trace, x, 0..self.inputs);
                self.add_input_gradient(weights, &trace, 0, dx, 0..self.inputs);
            }
            Input::Tokens(x, tokens) => self.token_gradients(weights, grads, &trace, x, tokens, dx),
        }
        // Forwards, the first step's rows are those that start.
        let zeros = if fresh && !reverse && seq.steps() > 0 { seq.batch(0) } else { 0 };
        self.recurrent_weight_gradients(grads, &trace, zeros);
    }
}

/// What the rows of a layer read.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A vector each, [rows, inputs].
    Rows(&'a [f32]),
    /// The embeddings of tokens, [tokens, inputs], unchanged.
    Tokens(&'a [f32], &'a Tokens),
}

impl<'a> Input<'a> {
    /// The vectors, each once.
    pub fn values(&self) -> &'a [f32] {
        match self {
            Self::Rows(x) | Self::Tokens(x, _) => x,
        }
    }
}

vectorized! {
    /// The sums of the rows of `data` that have the same slot, [slots, width].
    fn sums_of_slots(count: usize, slots: &[u32], data: &[f32]) -> Buffer {
        let width = data.len() / slots.len();
        let mut sums = Buffer::zeros(count * width);
        for (row, &slot) in data.chunks_exact(width).zip(slots) {
            let sum = &mut sums[slot as usize * width..][..width];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        sums
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
    use crate::nn::params::Params;

    const IN: usize = 3;
    const HID: usize = 4;
    const TO: Columns = Columns { width: HID, column: 0 };

    fn layer(cell: Cell, reverse: bool) -> (Layer, Params) {
        let mut layout = Layout::default();
        let layer = Layer::declare(&mut layout, "rnn", 0, reverse, cell, &[IN], HID);
        (layer, layout.init(5))
    }

    fn state(h: &[f32], c: &[f32]) -> State {
        State { h: Buffer::copy(h), c: Buffer::copy(c) }
    }

    fn run(
        l: &Layer,
        p: &Params,
        seq: &Packed,
        way: (bool, bool),
        x: Input<'_>,
        mut state: State,
    ) -> (Vec<f32>, State, Trace) {
        let mut out = vec![0.0; seq.rows() * HID];
        let trace = l.forward(p.into(), seq, way, x, &mut state, (&mut out, TO));
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
                let way = (reverse, false);
                GradientCheck::new(params, inputs).run(
                    |p, x| {
                        let (out, end, _) =
                            run(&layer, p, &seq, way, Input::Rows(&x[0]), state(&x[1], &x[2]));
                        GradientCheck::weigh(&out, &r)
                            + GradientCheck::weigh(&end.h, &rh)
                            + GradientCheck::weigh(&end.c, &rc)
                    },
                    |p, g, x| {
                        let input = Input::Rows(&x[0]);
                        let (_, _, trace) = run(&layer, p, &seq, way, input, state(&x[1], &x[2]));
                        let mut d = state(&rh, &rc);
                        let mut dx = vec![0.0; x[0].len()];
                        layer.backward(p.into(), g, &seq, way, input, trace, (&r, TO), &mut d, &mut dx);
                        vec![dx, d.h.to_vec(), d.c.to_vec()]
                    },
                );
            }
        }
    }

    #[test]
    fn tokens_and_fresh_states_save_work_and_change_nothing() {
        let seq = Packed::new(vec![4, 3, 1]);
        let (table, slots) = (values(2 * IN, 1), Buffer::copy(&[1, 0, 1, 1, 1, 0, 0, 1]));
        let rows: Vec<f32> = slots.iter().flat_map(|&s| &table[s as usize * IN..][..IN]).copied().collect();
        let tokens = Tokens { ids: Buffer::copy(&[5, 6]), slots: Some(slots.clone()) };
        let r = values(seq.rows() * HID, 5);
        for cell in [Cell::Gru, Cell::Lstm] {
            for reverse in [false, true] {
                let (layer, params) = layer(cell, reverse);
                let all = |fresh: bool, input: Input<'_>| {
                    let way = (reverse, fresh);
                    let (out, end, trace) =
                        run(&layer, &params, &seq, way, input, State::zeros(cell, 3, HID));
                    let (mut d, mut dx) = (State::zeros(cell, 3, HID), vec![0.0; input.values().len()]);
                    let mut g = params.zeros_like();
                    let d_out = (&r[..], TO);
                    layer.backward((&params).into(), &mut g, &seq, way, input, trace, d_out, &mut d, &mut dx);
                    (out, end, dx, g)
                };
                let (out, end, d_rows, g) = all(false, Input::Rows(&rows));
                let (fast, fast_end, d_tokens, fast_g) = all(true, Input::Tokens(&table, &tokens));
                assert_eq!((&out, &end), (&fast, &fast_end));
                let mut expected = vec![0.0; table.len()];
                for (d, &slot) in d_rows.chunks_exact(IN).zip(slots.iter()) {
                    add(&mut expected[slot as usize * IN..][..IN], d);
                }
                let close = |a: &f32, b: &f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
                expected.iter().zip(&d_tokens).for_each(|(a, b)| close(a, b));
                for (a, b) in g.iter().zip(&fast_g) {
                    a.data.iter().zip(&b.data).for_each(|(a, b)| close(a, b));
                }
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
                let way = (reverse, false);
                let (_, both, _) =
                    run(&layer, &params, &seq, way, Input::Rows(&x), State::zeros(cell, 2, HID));
                let mut short = x[IN..2 * IN].to_vec();
                short.extend_from_slice(&x[3 * IN..4 * IN]);
                let zero = State::zeros(cell, 1, HID);
                let (_, alone, _) =
                    run(&layer, &params, &Packed::new(vec![2]), way, Input::Rows(&short), zero);
                assert_eq!(both.h[HID..], alone.h[..]);
            }
        }
    }

    #[test]
    fn scatter_reverses_gather() {
        let state = state(&values(6, 1), &values(6, 2));
        let order = [2, 0, 1];
        assert_eq!(state.gather(&order, 2).scatter(&order, 2), state);
    }
}
