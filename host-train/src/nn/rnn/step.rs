//! One step of a layer, and its reverse.

use super::{Block, Layer, State, Trace};
use crate::config::Cell;
use crate::nn::elman::{self, Nonlinearity};
use crate::nn::gemm::Start;
use crate::nn::matrix::{fill_rows, view, view_mut};
use crate::nn::{gru, lstm, peephole};
use crate::quant::{Grid, Weights};

impl Layer {
    /// Steps the first rows of `state` through those of `block`.
    pub fn step<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        trace: &mut Trace,
        block: Block,
        state: &mut State,
    ) {
        let weights = weights.into();
        let (hidden, wide, live) = (self.hidden, self.rows(), block.live);
        let (narrow, wider) = (block.of(hidden), block.of(wide));
        let h = &mut state.h[..block.rows * hidden];
        trace.prev[narrow.clone()].copy_from_slice(h);
        if self.cell.keeps_cell() {
            trace.prev_cell[narrow.clone()].copy_from_slice(&state.c[..block.rows * hidden]);
        }
        if let Some(grid) = weights.grid() {
            self.step_on_grid(weights, grid, trace, block, state);
        } else {
            let gates = &mut trace.gates[wider.clone()];
            let known = view(&h[..live * hidden], live, hidden);
            let product = &self.recurrent.forward;
            if self.cell == Cell::Gru {
                let recurrent = &mut trace.recurrent[wider];
                let bias = weights.at(self.bias_hh);
                let (sums, rest) = recurrent.split_at_mut(live * wide);
                product.product(weights, view_mut(sums, live, wide), known, Start::Row(bias));
                fill_rows(rest, bias);
                gru::step(hidden, gates, recurrent, h);
            } else {
                let sums = &mut gates[..live * wide];
                product.product(weights, view_mut(sums, live, wide), known, Start::Sum);
                let c = state.c.get_mut(..block.rows * hidden).unwrap_or_default();
                match (self.peepholes, self.nonlinearity()) {
                    (_, Some(f)) => elman::step(f, gates, h),
                    (Some(ids), None) => peephole::step(hidden, ids.map(|id| weights.at(id)), gates, c, h),
                    (None, None) => lstm::step(hidden, gates, c, h),
                }
            }
        }
        if self.cell.keeps_cell() {
            trace.cell[narrow].copy_from_slice(&state.c[..block.rows * hidden]);
        }
    }

    /// What an Elman cell does with its sums; `None` for a cell with gates.
    fn nonlinearity(&self) -> Option<Nonlinearity> {
        match self.cell {
            Cell::Rnn => Some(Nonlinearity::Tanh),
            Cell::Relu => Some(Nonlinearity::Relu),
            Cell::Gru | Cell::Lstm | Cell::Peephole => None,
        }
    }

    fn step_on_grid(
        &self,
        weights: Weights<'_>,
        grid: &Grid,
        trace: &mut Trace,
        block: Block,
        state: &mut State,
    ) {
        let (hidden, wide, n) = (self.hidden, self.rows(), block.rows);
        let h = &mut state.h[..n * hidden];
        let gates = &mut trace.gates[block.of(wide)];
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
                product.product(weights, view_mut(gates, n, wide), entered, Start::Sum);
                lstm::step_on_grid(cell, hidden, gates, tokens, c, h);
            }
            Cell::Rnn | Cell::Relu | Cell::Peephole => unreachable!("no grid is built for {:?}", self.cell),
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
        let weights = weights.into();
        let (hidden, wide, live) = (self.hidden, self.rows(), block.live);
        let dh = &mut d.h[..block.rows * hidden];
        let gates = &mut trace.gates[block.of(wide)];
        let narrow = block.of(hidden);
        let (sums, start) = if self.cell == Cell::Gru {
            let recurrent = &mut trace.recurrent[block.of(wide)];
            gru::step_backward(hidden, gates, recurrent, &trace.prev[narrow], dh);
            (recurrent, Start::Sum)
        } else {
            let dc = d.c.get_mut(..block.rows * hidden).unwrap_or_default();
            let cells = (
                trace.prev_cell.get(narrow.clone()).unwrap_or_default(),
                trace.cell.get(narrow).unwrap_or_default(),
            );
            match (self.peepholes, self.nonlinearity()) {
                (_, Some(f)) => elman::step_backward(f, gates, dh),
                (Some(ids), None) => {
                    let peepholes = ids.map(|id| weights.real().at(id));
                    peephole::step_backward(hidden, peepholes, gates, cells, dh, dc);
                }
                (None, None) => lstm::step_backward(hidden, gates, cells.0, cells.1, dh, dc),
            }
            (gates, Start::Zero)
        };
        let dh = view_mut(&mut dh[..live * hidden], live, hidden);
        let sums = view(&sums[..live * wide], live, wide);
        self.recurrent.backward.product(weights, dh, sums, start);
    }
}
