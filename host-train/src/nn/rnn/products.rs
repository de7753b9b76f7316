//! A layer's products: with its inputs before steps are taken, and for gradients afterwards.

use std::ops::Range;

use ndarray::s;

use super::{Layer, Trace};
use crate::config::Cell;
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::gemm::Start;
use crate::nn::matrix::{add, add_column_sums, add_product, view, view_mut};
use crate::nn::params::Gradients;
use crate::nn::peephole;
use crate::nn::simd::vectorized;
use crate::quant::Weights;

impl Layer {
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

    /// Adds the gradients of the recurrent weights, of the biases and of peepholes, once all steps have been reversed. The states before
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
        if let Some(ids) = self.peepholes {
            let d = peephole::weight_gradients(hidden, &trace.gates, &trace.prev_cell, &trace.cell);
            ids.into_iter().zip(d).for_each(|(id, d)| add(grads.at_mut(id), &d));
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
