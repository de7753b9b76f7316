//! What a layer's passes leave, and where their rows are.

use std::ops::Range;

use super::Layer;
use crate::config::Cell;
use crate::nn::buffer::Buffer;
use crate::nn::embedding::Tokens;
use crate::nn::matrix::add;
use crate::quant::{Token, Weights};

/// What a layer's forward pass leaves for its backward pass, in the rows of the packed layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// `[gates * hidden]`: what the sums of the input side start from; of any cell but a GRU, of both sides.
    pub(super) bias: Buffer,
    /// [rows, gates * hidden]: pre-activations, then activations, then (backward) their gradients.
    pub(super) gates: Buffer,
    /// GRU alone, [rows, 3 hidden]: `W_hh h + b_hh`, then its gradient.
    pub(super) recurrent: Buffer,
    /// [rows, hidden]: the hidden state before the step.
    pub(super) prev: Buffer,
    /// With a cell state, [rows, hidden]: the cell state before the step.
    pub(super) prev_cell: Buffer,
    /// With a cell state, [rows, hidden]: the cell state after the step.
    pub(super) cell: Buffer,
    /// On a grid with a token table, [rows, gates * hidden]: its entries.
    pub(super) tokens: Buffer,
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
    pub(super) fn of(&self, width: usize) -> Range<usize> {
        self.first * width..(self.first + self.rows) * width
    }
}

impl Trace {
    /// The hidden state before each row's step, [rows, hidden].
    pub fn prev(&self) -> &[f32] {
        &self.prev
    }

    /// The cell state after each row's step, [rows, hidden]; empty for a cell without one.
    pub fn cell(&self) -> &[f32] {
        &self.cell
    }

    /// The GRU's `W_hh h + b_hh` of each row, [rows, 3 hidden]; empty for another cell.
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

    /// The vector of `width` values that `row` reads.
    pub fn row(&self, row: usize, width: usize) -> &'a [f32] {
        &self.values()[self.slot(row) * width..][..width]
    }

    /// Which of the vectors `row` reads.
    pub fn slot(&self, row: usize) -> usize {
        match self {
            Self::Rows(_) => row,
            Self::Tokens(_, tokens) => tokens.slot(row),
        }
    }
}

impl Layer {
    /// A trace for `rows` packed rows, whose gates are unspecified until the first part of their inputs is multiplied.
    pub fn begin<'a>(&self, weights: impl Into<Weights<'a>>, rows: usize) -> Trace {
        let weights = weights.into();
        let recurrent = if self.cell == Cell::Gru { rows * self.rows() } else { 0 };
        let cells = if self.cell.keeps_cell() { rows * self.hidden } else { 0 };
        let (mut bias, mut tokens) = (Buffer::default(), 0);
        match weights.grid() {
            Some(grid) => {
                let token = &grid.product(self.weight_ih).token;
                tokens = if token.as_ref().is_some_and(Token::is_table) { rows * self.rows() } else { 0 };
            }
            None => {
                bias = Buffer::copy(weights.at(self.bias_ih));
                if self.cell != Cell::Gru {
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
}
