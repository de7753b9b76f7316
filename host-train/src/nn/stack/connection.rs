//! What becomes of a layer's states before they are read: the sum with what the layer has read, and normalisation.

use crate::nn::matrix::add;
use crate::nn::norm::{LayerNorm, NormTrace};
use crate::nn::params::Gradients;
use crate::nn::rnn::Input;
use crate::quant::Weights;

/// `norm(h + x)`, or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Connection {
    pub(super) residual: bool,
    pub(super) norm: Option<LayerNorm>,
}

impl Connection {
    /// Whether states are read as they are.
    pub(super) fn is_plain(&self) -> bool {
        !self.residual && self.norm.is_none()
    }

    /// A trace for so many rows.
    pub(super) fn begin(&self, rows: usize, width: usize) -> NormTrace {
        if self.norm.is_some() { NormTrace::new(rows, width) } else { NormTrace::default() }
    }

    /// States `out` [rows, width], the first of which is `first` in the trace, become what is read; `x` is what the layer has
    /// read in all rows.
    pub(super) fn forward(
        &self,
        weights: Weights<'_>,
        x: Input<'_>,
        (first, width): (usize, usize),
        out: &mut [f32],
        trace: &mut NormTrace,
    ) {
        if self.residual {
            for (row, out) in (first..).zip(out.chunks_exact_mut(width)) {
                add(out, x.row(row, width));
            }
        }
        if let Some(norm) = &self.norm {
            norm.forward(weights, out, first, trace);
        }
    }

    /// The gradients of what is read become those of the sum, and so of the states.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        grads: &mut Gradients,
        first: usize,
        d: &mut [f32],
        trace: &NormTrace,
    ) {
        if let Some(norm) = &self.norm {
            norm.backward(weights, grads, d, first, trace);
        }
    }
}
