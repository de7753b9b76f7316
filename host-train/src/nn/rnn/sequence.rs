//! A layer over whole packed sentences.

use super::{Block, Columns, Input, Layer, State, Trace};
use crate::nn::matrix::add;
use crate::nn::packed::Packed;
use crate::nn::params::Gradients;
use crate::quant::Weights;

impl Layer {
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
