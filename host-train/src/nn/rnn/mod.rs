//! A recurrent layer over packed sentences, whatever its cell.

mod products;
mod sequence;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod trace;

use std::ops::Range;

use crate::config::Cell;
use crate::nn::operand::{Operand, Side};
use crate::nn::params::{Init, Layout, ParamId};
use crate::quant::{Builder, TokenSource, Weights};

pub use state::State;
pub use trace::{Block, Columns, Input, Trace};

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
    /// Of the input, forget and output gates, for a peephole cell.
    peepholes: Option<[ParamId; 3]>,
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

impl Layer {
    /// Declares `{name}.weight_ih_l{index}` [gates * hidden, inputs], `weight_hh` [gates * hidden, hidden],
    /// `bias_ih`, `bias_hh` [gates * hidden] and, of a peephole cell, `weight_ci`, `weight_cf`, `weight_co` `[hidden]`, with
    /// `_reverse` appended for the reverse direction. `parts` are the widths of what the input consists of.
    pub fn declare(
        layout: &mut Layout,
        name: &str,
        index: usize,
        reverse: bool,
        cell: Cell,
        parts: &[usize],
        hidden: usize,
    ) -> Self {
        let init = Init::uniform(hidden);
        let suffix = if reverse { "_reverse" } else { "" };
        let (rows, inputs) = (cell.gates() * hidden, parts.iter().sum());
        let mut declare = |what: &str, shape: &[usize]| {
            layout.declare(format!("{name}.{what}_l{index}{suffix}"), shape, init)
        };
        let (weight_ih, weight_hh) =
            (declare("weight_ih", &[rows, inputs]), declare("weight_hh", &[rows, hidden]));
        let (bias_ih, bias_hh) = (declare("bias_ih", &[rows]), declare("bias_hh", &[rows]));
        let looks = cell == Cell::Peephole;
        let peepholes = looks.then(|| ["weight_ci", "weight_cf", "weight_co"].map(|w| declare(w, &[hidden])));
        let mut end = 0;
        let part = |&width: &usize| {
            end += width;
            Part::declare(layout, weight_ih, end - width..end)
        };
        let parts = parts.iter().map(part).collect();
        let recurrent = Part::declare(layout, weight_hh, 0..hidden);
        Self { cell, inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, parts, recurrent }
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
        self.cell.gates() * self.hidden
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
}
